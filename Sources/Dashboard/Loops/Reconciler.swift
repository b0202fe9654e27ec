// Looks once a second for runs that want attention (to be ended, silent, or to be put to their agent) and hands them to the `Attendant`.
// What if: a row cannot be read: it is told once (`DamageBook`) and left out, the rest goes on.
import GRDB
import Logging
import Redis
import ServiceLifecycle
import Shared

struct Reconciler: Service {
  let flow: CollectorTools
  let clock: DeadlineClock

  /// Runs read at once.
  private static let limit = 5000
  /// Between two times of forgetting what makes no difference any more.
  private static let looksPerSettling = 10
  private var attendant: Attendant { Attendant(flow: flow) }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      var looks = 0
      while await pause(.seconds(1)) {
        looks += 1
        if looks % Self.looksPerSettling == 0 {
          flow.refusals.settle()
          flow.desks.settle()
        }
        guard let fence = await flow.standing.untilWriting() else { break }
        do {
          try await look(fence)
        } catch { flow.logger.debug("reconciling stopped", metadata: ["why": "\(error)"]) }
      }
    }
  }

  private typealias Page = @Sendable (Database, OpenPage.Cursor?, Int) throws -> OpenPage

  func look(_ fence: Fence) async throws {
    let now = WallTime.now().milliseconds
    let deadline = clock.now
    _ = try await flow.store.write { try FlowEnds.expire($0, deadline: deadline, now: now, limit: Self.limit) }
    try await readWhatToAsk()
    // All of them, page after page: runs of hosts that are away for long must not stand before everybody else's.
    for page: Page in [FlowEnds.toEnd, FlowEnds.unreported] {
      var next: OpenPage.Cursor?
      repeat {
        let after = next
        let open = try await flow.store.read { try page($0, after, Self.limit) }
        flow.damage.found(open.damaged)
        _ = try await attendant.attend(open.runs, fence)
        next = open.next
      } while next != nil
    }
    try await askAgain(fence)
  }

  // MARK: Questions after a new incarnation, process or fence, or when an agent was silent

  private func readWhatToAsk() async throws {
    let agents = flow.desks.agents { $0.toAsk == nil && $0.address != nil && $0.compared }
    guard !agents.isEmpty else { return }
    for part in agents.chunks(of: 500) {
      let found = try await flow.store.read { db in try part.map { ($0, try FlowEnds.out(db, $0)) } }
      for (agent, tasks) in found {
        flow.desks.withDesk(agent) { desk in
          let waiting = Set(desk.marked.map(\.task))
          desk.toAsk = tasks.subtracting(waiting)
          for task in tasks { desk.asked[task] = nil }
        }
      }
    }
  }

  private func askAgain(_ fence: Fence) async throws {
    let agents = flow.desks.agents { !($0.toAsk ?? []).isEmpty }.filter { flow.fleet.isOnline($0) }
    for part in agents.chunks(of: 500) {
      let now = SuspendingClock.now
      let due = part.flatMap { agent in
        flow.desks.withDesk(agent) { desk in
          let due = (desk.toAsk ?? []).filter { task in
            !desk.marked.contains { $0.task == task }
              && (desk.asked[task].map { $0.duration(to: now) >= Attendant.patience } ?? true)
          }
          for task in due { desk.asked[task] = now }
          return due.map { RunID(agent: agent, task: $0) }
        }
      }
      guard !due.isEmpty else { continue }
      let open = try await flow.store.read { try FlowEnds.open($0, due) }
      flow.damage.found(open.damaged)
      var asks: [Attendant.Ask: [AttemptID]] = [:]
      for run in open.runs {
        asks[Attendant.Ask(agent: run.agent, kind: .reconcile), default: []].append(
          AttemptID(task: run.task, attempt: run.attempt))
      }
      let stillOpen = Set(open.runs.map { RunID(agent: $0.agent, task: $0.task) })
      for run in due where !stillOpen.contains(run) {
        flow.desks.withDesk(run.agent) { desk in
          desk.toAsk?.remove(run.task)
          desk.asked[run.task] = nil
        }
      }
      try await attendant.say(asks, fence)
    }
  }
}
