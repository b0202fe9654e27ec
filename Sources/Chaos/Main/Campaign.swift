// One chaos from beginning to end: stand, load and plan, order, settling, a load without faults, evidence, end, check.

import Glibc
import Shared
import Synchronization

struct CampaignSettings: Sendable {
  var seed: UInt64
  var seconds: Int
  var agents: Int
  var runs: Int
  var plan: PlanName
  var programs: String
  var keep: Bool
}

final class Campaign: Sendable {
  private let settings: CampaignSettings
  private let plan: Plan
  private let isInterrupted = Atomic(false)
  private let began = Atomic(Monotonic.milliseconds)

  /// Without any run ended for so long nothing more is expected.
  private static let patience = 90_000
  private static let longestSettling = 420_000
  /// What commands leave behind on purpose is gone by then, and the runners that stayed for it.
  private static let rest = 5000

  init(_ settings: CampaignSettings) {
    self.settings = settings
    plan = Plan(settings.plan, seed: settings.seed, seconds: settings.seconds, agents: settings.agents)
  }

  /// Asks `run` to end soon, and to clean up.
  func interrupt() { isInterrupted.store(true, ordering: .relaxed) }
  private var isOver: Bool { isInterrupted.load(ordering: .relaxed) }

  /// True: no promise was broken (or nobody judges: `unclosable`).
  /// - Throws: `HarnessFault`.
  func run() throws -> Bool {
    let folder = try Folder.makeTemporary()
    Report.say(
      "chaos: seed \(settings.seed), plan \(plan.name.rawValue), \(settings.seconds) s, \(settings.agents) agents, "
        + "\(settings.runs) runs, \(plan.steps.count) steps; in \(folder)")
    let stand = try Stand(
      StandSettings(
        folder: folder, programs: settings.programs, agents: settings.agents, redisForgets: plan.redisForgets,
        faultSeed: settings.seed))
    var isKept = settings.keep
    defer {
      if isKept { Report.say("kept: \(folder) (logs, databases, journals)") } else { Folder.remove(folder) }
    }
    let evidence: Evidence
    do { evidence = try gather(stand) } catch {
      _ = stand.end(patience: 1000)
      isKept = isKept || !isOver
      throw error
    }
    let check = PromiseCheck(evidence)
    Report.summary(evidence, check, plan)
    guard plan.name != .unclosable else { return true }
    if !check.violations.isEmpty {
      isKept = true
      Report.violations(check, plan, began: began.load(ordering: .relaxed))
    }
    return check.violations.isEmpty
  }

  private func gather(_ stand: Stand) throws -> Evidence {
    try stand.begin()
    let ledger = Ledger()
    var evidence = Evidence(
      seed: settings.seed, agents: settings.agents, redisForgets: plan.redisForgets, databaseGoesBack: plan.databaseGoesBack)
    evidence.inheritors.formUnion(ProcessTable.ancestors)
    began.store(Monotonic.milliseconds, ordering: .relaxed)
    let conductor = Conductor(stand, began: began.load(ordering: .relaxed), say: Report.say)
    let load = Load(stand, ledger, seed: settings.seed, runs: settings.runs, milliseconds: settings.seconds * 1000) {
      conductor.results.restores
    }
    conductor.perform(plan.steps) { isOver }
    // Whoever was refused in the chaos is taken now.
    _ = Monotonic.wait(upTo: 10_000) { ledger.acceptedRuns >= settings.runs || isOver }
    load.stopPosting()
    evidence.postings.append(
      Posting(
        when: "while things were killed", wanted: settings.runs, accepted: ledger.acceptedRuns,
        fewest: Posting.fewest(of: settings.runs, within: settings.seconds)))
    stand.restoreOrder()
    evidence.deeds = conductor.results
    try settle(stand, ledger)
    // States are read on meanwhile, and what does not end by itself is killed.
    try loadWithoutFaults(stand, ledger, &evidence)
    load.stop()
    if isOver { throw HarnessFault("interrupted") }
    stand.lookForSurprises()

    let gathering = Gathering(http: stand.http)
    evidence.rows = try gathering.rows()
    evidence.ledger = ledger.contents
    // What has been written so far tells whose output is whose; what stands there in the end is read when nothing is left that could write.
    var soFar = evidence
    soFar.readDisk(stand.grounds)
    let known = soFar
    evidence.attempts = try gathering.attempts(of: evidence.rows.keys.filter { known.task(of: $0)?.retries ?? 0 > 0 })
    (evidence.outputFaults, evidence.outputsChecked) = gathering.outputFaults(evidence.rows.values) { known.task(of: $0.run) }
    evidence.leftBehind = stand.end(patience: 25_000)
    evidence.surprises = stand.surprises
    evidence.readDisk(stand.grounds)
    return evidence
  }

  /// Waits until no run is open and no plain task waits. What is open then is a matter of the check.
  private func settle(_ stand: Stand, _ ledger: Ledger) throws {
    let gathering = Gathering(http: stand.http)
    let start = Monotonic.milliseconds
    var fewest = Int.max
    var progressAt = start
    var toldAt = start
    while !isOver {
      stand.lookForSurprises()
      let now = Monotonic.milliseconds
      let open = try gathering.open() + plainWaiting(stand)
      if open < fewest || open == 1000 { (fewest, progressAt) = (min(open, fewest), now) }
      if open == 0 || now > progressAt + Self.patience || now > start + Self.longestSettling {
        return Report.say("settled after \((now - start) / 1000) s with \(open) open")
      }
      if now > toldAt + 10_000 {
        toldAt = now
        Report.say("settling: \(open) open, \(ledger.acceptedRuns) accepted")
      }
      Monotonic.pause(500)
    }
  }

  private func plainWaiting(_ stand: Stand) -> Int {
    (0..<settings.agents).reduce(0) { sum, index in
      // Where Redis does not answer, it is asked again.
      guard case .integer(let there)? = try? stand.redis("EXISTS", PostedTask.agentName(index)) else { return sum + 1 }
      return sum + there
    }
  }

  /// Everything still works afterwards, and nothing grows with what it does.
  private func loadWithoutFaults(_ stand: Stand, _ ledger: Ledger, _ evidence: inout Evidence) throws {
    guard !isOver else { return }
    let runs = min(400, max(30, settings.runs / 10))
    let programs = stand.everyProgram.filter { $0 != .redis }
    let restores = evidence.deeds.restores
    func wave(_ first: Int) throws {
      let before = ledger.acceptedRuns
      let load = Load(
        stand, ledger, seed: settings.seed, runs: runs, milliseconds: runs * 40, first: first, restores: { restores })
      _ = Monotonic.wait(upTo: 120_000) { ledger.acceptedRuns >= before + runs || isOver }
      load.stop()
      evidence.postings.append(
        Posting(when: "afterwards within 120 s", wanted: runs, accepted: ledger.acceptedRuns - before, fewest: runs))
      try settle(stand, ledger)
      stand.lookForSurprises()
    }
    func holdings() -> [Program: Holding] {
      _ = Monotonic.wait(upTo: Self.rest) { isOver }
      var all: [Program: Holding] = [:]
      for program in programs { all[program] = stand.holding(of: program) }
      return all
    }
    // The first one warms the processes that the plan started last.
    try wave(1_000_000)
    let before = holdings()
    try wave(2_000_000)
    let after = holdings()
    for program in programs {
      if let before = before[program], let after = after[program] {
        evidence.growth.append(Growth(program: program, before: before, after: after))
      }
    }
  }
}
