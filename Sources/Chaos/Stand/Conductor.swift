// Does the steps of a plan, each at its time. What takes a while (waiting for an end before the next start) is done by a thread per program,
// so that one slow program does not hold up what happens to the others.

import Glibc
import Shared
import Synchronization

/// What was done, for the check: whose runners were killed and when, and which stretch of history the database forgot.
struct Deeds: Sendable {
  struct RunnerKill: Sendable {
    let agent: Int
    let pid: pid_t
    let at: Int
  }
  struct Restore: Sendable {
    let copiedAt: Int
    let restoredAt: Int
  }
  var runnerKills: [RunnerKill] = []
  var restores: [Restore] = []
  var kills = 0
  var done: [(at: Int, what: String)] = []
}

final class Conductor: Sendable {
  private let stand: Stand
  private let began: Int
  private let deeds = Mutex(Deeds())
  private let workers: [Program: Worker]
  private let copiedAt = Mutex<Int?>(nil)
  private let say: @Sendable (String) -> Void

  /// - Parameter began: the time that the plan's times count from.
  init(_ stand: Stand, began: Int, say: @escaping @Sendable (String) -> Void) {
    (self.stand, self.began, self.say) = (stand, began, say)
    workers = Dictionary(uniqueKeysWithValues: stand.everyProgram.map { ($0, Worker()) })
  }

  var results: Deeds { deeds.withLock { $0 } }

  /// Returns when every step is done, or `isOver` says so.
  func perform(_ steps: [Step], isOver: () -> Bool) {
    for step in steps {
      while Monotonic.milliseconds < began + step.at {
        if isOver() { break }
        Monotonic.pause(min(20, max(1, began + step.at - Monotonic.milliseconds)))
        stand.lookForSurprises()
      }
      if isOver() { break }
      say("\(step)")
      dispatch(step.action)
    }
    for worker in workers.values { worker.finish() }
  }

  private func dispatch(_ action: Action) {
    let program: Program
    switch action {
    // These wait for nobody.
    case .link, .blow: return perform(action)
    case .kill(let one), .terminate(let one), .start(let one, _), .hold(let one), .release(let one): program = one
    case .killRunner(let agent, _), .killAgentAndRunners(let agent), .holdRunner(let agent, _), .releaseRunners(let agent):
      program = .agent(agent)
    case .flushRedis, .wipeRedis: program = .redis
    case .copyDatabase, .restoreDatabase: program = .dashboard
    }
    workers[program]?.add { [self] in perform(action) }
  }

  private func note(_ what: String, kills: Int = 0) {
    deeds.withLock {
      $0.done.append((Monotonic.milliseconds, what))
      $0.kills += kills
    }
  }

  private func perform(_ action: Action) {
    switch action {
    case .kill(let program):
      stand.end(program)
      note("killed \(program)", kills: 1)
    case .terminate(let program):
      let start = Monotonic.milliseconds
      stand.terminate(program)
      note("terminated \(program) in \(Monotonic.milliseconds - start) ms")
    case .start(let program, let faults):
      stand.start(program, faults: faults)
      note("started \(program)")
    case .hold(let program): signal(program, SIGSTOP)
    case .release(let program): signal(program, SIGCONT)
    case .killRunner(let agent, let pick):
      let runners = stand.runners(ofAgent: agent)
      if !runners.isEmpty { kill(runner: runners[pick % runners.count], of: agent) }
    case .killAgentAndRunners(let agent):
      // Held first, so that it starts no other meanwhile.
      stand.process(.agent(agent))?.signal(SIGSTOP)
      for pid in stand.runners(ofAgent: agent) { kill(runner: pid, of: agent) }
      stand.end(.agent(agent))
      note("killed agent \(agent)", kills: 1)
    case .holdRunner(let agent, let pick):
      let runners = stand.runners(ofAgent: agent)
      if !runners.isEmpty { Glibc.kill(runners[pick % runners.count], SIGSTOP) }
    case .releaseRunners(let agent): for pid in stand.runners(ofAgent: agent) { Glibc.kill(pid, SIGCONT) }
    case .link(let program, let mode): stand.proxy(of: program)?.set(mode)
    case .blow(let program, let blow): stand.proxy(of: program)?.strike(blow)
    case .flushRedis:
      let answer = Result { try stand.redis("FLUSHALL") }
      note("FLUSHALL: \(answer)")
    case .wipeRedis:
      stand.end(.redis)
      Folder.remove("\(stand.settings.folder)/redis", itself: false)
      note("wiped Redis", kills: 1)
    case .copyDatabase: copyDatabase()
    case .restoreDatabase: restoreDatabase()
    }
  }

  private func signal(_ program: Program, _ number: Int32) {
    stand.process(program)?.signal(number)
    note("\(number == SIGSTOP ? "held" : "released") \(program)")
  }

  private func kill(runner pid: pid_t, of agent: Int) {
    // Before the deed: whoever sees the verdict can then find what explains it.
    deeds.withLock { $0.runnerKills.append(Deeds.RunnerKill(agent: agent, pid: pid, at: Monotonic.milliseconds)) }
    Glibc.kill(pid, SIGKILL)
    note("killed runner \(pid) of agent \(agent)", kills: 1)
  }

  // MARK: The dashboard's database: copied and put back only while nobody has it open

  private static let databaseFiles = ["muster.sqlite", "muster.sqlite-wal"]

  private func copyDatabase() {
    stand.end(.dashboard)
    let folder = stand.settings.folder
    Folder.remove("\(folder)/copy", itself: false)
    for name in Self.databaseFiles { Folder.copy("\(folder)/data/\(name)", to: "\(folder)/copy/\(name)") }
    copiedAt.withLock { $0 = Monotonic.milliseconds }
    note("copied the database", kills: 1)
  }

  private func restoreDatabase() {
    guard let copied = copiedAt.withLock({ $0 }) else { return }
    stand.end(.dashboard)
    let folder = stand.settings.folder
    for name in Self.databaseFiles + ["muster.sqlite-shm"] { unlink("\(folder)/data/\(name)") }
    for name in Self.databaseFiles { Folder.copy("\(folder)/copy/\(name)", to: "\(folder)/data/\(name)") }
    deeds.withLock { $0.restores.append(Deeds.Restore(copiedAt: copied, restoredAt: Monotonic.milliseconds)) }
    note("restored the database", kills: 1)
  }
}

/// Deeds to one program, one after the other.
private final class Worker: Sendable {
  private struct Guarded {
    var waiting: [@Sendable () -> Void] = []
    var isOver = false
  }
  private let guarded = Mutex(Guarded())
  private let thread = Mutex<Background?>(nil)

  init() { thread.withLock { $0 = Background { [self] in run() } } }

  func add(_ deed: @escaping @Sendable () -> Void) { guarded.withLock { $0.waiting.append(deed) } }

  /// Waits until everything that was added is done.
  func finish() {
    guarded.withLock { $0.isOver = true }
    thread.withLock {
      $0?.join()
      $0 = nil
    }
  }

  private func run() {
    while true {
      let (deed, isOver) = guarded.withLock { state -> ((@Sendable () -> Void)?, Bool) in
        (state.waiting.isEmpty ? nil : state.waiting.removeFirst(), state.isOver)
      }
      if let deed { deed() } else if isOver { return } else { Monotonic.pause(2) }
    }
  }
}
