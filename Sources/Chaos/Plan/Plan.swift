// A plan: every step of a chaos, made from a seed alone. The same seed, duration and number of agents give the same plan.
//
// Invariants: at the end of a plan everything runs again, nothing is held and every link is as it was; a program is never killed, held or
// started by two overlapping faults. What DESIGN calls not closable is in no plan but `unclosable`: a plan either lets Redis lose what it
// held, or restores the dashboard's database, never both.
// When adding a fault: a case in `Fault`, its weight in `faults(for:)`, its steps in `PlanMaking.add`.

enum PlanName: String, CaseIterable {
  /// By the seed: odd ones `redis`, even ones `restore`.
  case main
  /// Redis may lose everything: killed (appendfsync everysec), flushed, its files deleted.
  case redis
  /// The database may go back to a copy; Redis may be killed, and forgets nothing (appendfsync always).
  case restore
  /// Both, which no rule can make good: shown, not judged.
  case unclosable
}

struct Plan {
  let name: PlanName
  let seed: UInt64
  let steps: [Step]
  /// Where SIGKILL may cost Redis its last writes.
  var redisForgets: Bool { name != .restore }
  var databaseGoesBack: Bool { name != .redis }

  init(_ name: PlanName, seed: UInt64, seconds: Int, agents: Int) {
    self.seed = seed
    self.name = name == .main ? (seed % 2 == 1 ? .redis : .restore) : name
    var making = PlanMaking(name: self.name, seed: seed, milliseconds: seconds * 1000, agents: agents)
    steps = making.make()
  }

  var kills: Int { steps.reduce(0) { $0 + $1.action.kills } }
}

/// What happens to one program, or between it and Redis, for a time.
enum Fault: CaseIterable {
  case agentKilled, dashboardKilled, redisKilled, everythingKilled
  case agentTerminated, dashboardTerminated
  case runnerKilled, agentAndRunnersKilled
  case agentHeld, dashboardHeld, redisHeld, runnerHeld
  case linkBlow, linkMode, linkAway
  case flush, wipe
  case copy, restore
}

struct PlanMaking {
  let name: PlanName
  let milliseconds: Int
  let agents: Int
  private var dice: Dice
  private var steps: [Step] = []
  /// Until when nothing else may happen to it.
  private var busy: [Program: Int] = [:]
  private var linkBusy: [Program: Int] = [:]
  private var copied = false

  init(name: PlanName, seed: UInt64, milliseconds: Int, agents: Int) {
    (self.name, self.milliseconds, self.agents) = (name, milliseconds, agents)
    dice = Dice(seed: seed, use: "plan \(name.rawValue)")
  }

  mutating func make() -> [Step] {
    // A little peace first, so that every program has something to lose.
    var now = min(3000, milliseconds / 4)
    let faults = faults
    var wanted = wantedFaults
    while now < milliseconds {
      if let next = wanted.first, now >= next.at, add(next.fault, at: now) {
        wanted.removeFirst()
      } else {
        add(dice.weighted(faults), at: now)
      }
      now += 60 + dice.below(700) + (dice.below(6) == 0 ? dice.below(4000) : 0)
    }
    return steps.enumerated().sorted { ($0.element.at, $0.offset) < ($1.element.at, $1.offset) }.map(\.element)
  }

  /// What a plan is named for happens in each one, as soon after that time as its program is free.
  private var wantedFaults: [(at: Int, fault: Fault)] {
    var wanted: [(Int, Fault)] = []
    if name != .restore { wanted += [(30, .flush), (65, .wipe)] }
    if name != .redis { wanted += [(15, .copy), (35, .restore), (55, .copy), (80, .restore)] }
    if isLong { wanted.append((20, .linkAway)) }
    return wanted.sorted { $0.0 < $1.0 }.map { (milliseconds / 100 * $0.0, $0.1) }
  }

  /// Half a minute fits into it.
  private var isLong: Bool { milliseconds >= 60_000 }

  private var faults: [(weight: Int, value: Fault)] {
    var faults: [(weight: Int, value: Fault)] = [
      (12, .agentKilled), (8, .dashboardKilled), (5, .redisKilled), (2, .everythingKilled),
      (3, .agentTerminated), (2, .dashboardTerminated),
      (12, .runnerKilled), (6, .agentAndRunnersKilled),
      (7, .agentHeld), (4, .dashboardHeld), (4, .redisHeld), (4, .runnerHeld),
      (14, .linkBlow), (9, .linkMode), (isLong ? 1 : 0, .linkAway),
    ]
    if name != .restore { faults += [(2, .flush), (2, .wipe)] }
    if name != .redis { faults += [(2, .copy), (3, .restore)] }
    return faults
  }

  /// False where nothing came of it, because its program is busy with another fault.
  @discardableResult
  private mutating func add(_ fault: Fault, at now: Int) -> Bool {
    switch fault {
    case .agentKilled: return down(anyAgent(), at: now, for: [20, 300, 1000, 3000, 8000, 18_000]) { .kill($0) }
    case .dashboardKilled: return down(.dashboard, at: now, for: [0, 300, 1000, 4000, 9000]) { .kill($0) }
    case .redisKilled: return down(.redis, at: now, for: [0, 300, 1500, 5000, 12_000]) { .kill($0) }
    case .agentTerminated: return down(anyAgent(), at: now, for: [0, 500, 3000]) { .terminate($0) }
    case .dashboardTerminated: return down(.dashboard, at: now, for: [0, 500, 3000]) { .terminate($0) }
    case .everythingKilled:
      for program in [.dashboard, .redis] + (0..<agents).map(Program.agent) {
        down(program, at: now, for: [0, 500, 2000, 5000]) { .kill($0) }
      }
    case .runnerKilled: steps.append(Step(at: now, action: .killRunner(agent: dice.below(agents), pick: dice.below(64))))
    case .agentAndRunnersKilled:
      return down(anyAgent(), at: now, for: [20, 300, 2000, 6000]) {
        if case .agent(let index) = $0 { .killAgentAndRunners(agent: index) } else { .kill($0) }
      }
    case .agentHeld: return hold(anyAgent(), at: now, for: [15, 300, 2000, 6000, 16_500, 21_000])
    case .dashboardHeld: return hold(.dashboard, at: now, for: [15, 300, 2000, 8000, 16_500])
    case .redisHeld: return hold(.redis, at: now, for: [40, 400, 2000, 6000, 16_000])
    case .runnerHeld:
      let agent = dice.below(agents)
      steps.append(Step(at: now, action: .holdRunner(agent: agent, pick: dice.below(64))))
      steps.append(Step(at: now + dice.one(of: [50, 700, 4000]), action: .releaseRunners(agent: agent)))
    case .linkBlow: steps.append(Step(at: now, action: .blow(anyLink(), dice.one(of: LinkBlow.all))))
    case .linkMode: return changeLink(at: now)
    // Longer than every lease, silence and rest that a program knows.
    case .linkAway: return change(anyLink(), to: dice.one(of: [.refuse, .silent]), at: now, for: dice.one(of: [33_000, 40_000]))
    case .flush: steps.append(Step(at: now, action: .flushRedis))
    case .wipe: return down(.redis, at: now, for: [0, 500, 4000]) { _ in .wipeRedis }
    case .copy:
      guard down(.dashboard, at: now, for: [0, 1000], { _ in .copyDatabase }) else { return false }
      copied = true
    case .restore:
      // Nothing to go back to yet: then this is the copy.
      guard copied else { return add(.copy, at: now) }
      return down(.dashboard, at: now, for: [0, 1000]) { _ in .restoreDatabase }
    }
    return true
  }

  private mutating func anyAgent() -> Program { .agent(dice.below(agents)) }
  private mutating func anyLink() -> Program { dice.below(3) == 0 ? .dashboard : anyAgent() }

  @discardableResult
  private mutating func down(_ program: Program, at now: Int, for times: [Int], _ action: (Program) -> Action) -> Bool {
    let time = now + dice.one(of: times)
    let faults = program == .dashboard && dice.below(2) == 0 ? dice.one(of: [2, 10, 40]) : 0
    guard busy[program, default: 0] <= now else { return false }
    // Usually some time at work before it is its turn again; sometimes none, so that its start is hit as well.
    busy[program] = time + dice.one(of: [50, 400, 1500, 2500, 4000])
    steps.append(Step(at: now, action: action(program)))
    steps.append(Step(at: time, action: .start(program, faults: faults)))
    return true
  }

  private mutating func hold(_ program: Program, at now: Int, for times: [Int]) -> Bool {
    let time = now + dice.one(of: times)
    guard busy[program, default: 0] <= now else { return false }
    busy[program] = time + 300
    steps.append(Step(at: now, action: .hold(program)))
    steps.append(Step(at: time, action: .release(program)))
    return true
  }

  private mutating func changeLink(at now: Int) -> Bool {
    let program = anyLink()
    switch dice.below(4) {
    case 0: return change(program, to: .silent, at: now, for: dice.one(of: [300, 2000, 6000, 17_000]))
    case 1: return change(program, to: .refuse, at: now, for: dice.one(of: [300, 2000, 9000]))
    default:
      let delay = LinkMode.delay(milliseconds: dice.one(of: [5, 50, 200, 900]))
      return change(program, to: delay, at: now, for: dice.one(of: [1000, 4000, 10_000]))
    }
  }

  private mutating func change(_ program: Program, to mode: LinkMode, at now: Int, for time: Int) -> Bool {
    guard linkBusy[program, default: 0] <= now else { return false }
    linkBusy[program] = now + time + 500
    steps.append(Step(at: now, action: .link(program, mode)))
    steps.append(Step(at: now + time, action: .link(program, .pass)))
    return true
  }
}
