// Tells the truth about runs on silent agents: those that may be out on an agent whose lease lapsed are `unknown`, and `overdue`
// beside it once their time limit has passed. Never a verdict: the agent's next word corrects it.
// What if: an agent comes back while its runs are being marked: it is asked about all of them (`Desk.toAsk`); Redis is away: nobody is judged; a
// row cannot be read: it is told once (`DamageBook`) and left out.
import GRDB
import Logging
import ServiceLifecycle
import Shared

struct LapseKeeper: Service {
  let flow: CollectorTools

  /// Between two looks at memory, which cost nothing while nobody is silent.
  private static let interval: Duration = .milliseconds(300)
  /// Runs in one transaction.
  private static let limit = 2000
  private static let agentsAtOnce = 200

  func run() async throws {
    await cancelWhenGracefulShutdown {
      while await pause(Self.interval) {
        guard flow.standing.fence != nil else { continue }
        do { try await look() } catch { flow.logger.debug("silent agents' runs not looked at", metadata: ["why": "\(error)"]) }
      }
    }
  }

  func look() async throws {
    let lapsed = flow.fleet.lapsed()
    var count = 0
    for part in lapsed.chunks(of: Self.agentsAtOnce) { count += try await mark(part) }
    if count > 0 {
      flow.logger.notice(
        "runs are unknown: their agents are silent", metadata: ["agents": "\(lapsed.count)", "runs": "\(count)"])
    }
    try await judgeDeadlines()
  }

  /// In one transaction after the other. Returns the number of runs.
  private func mark(_ agents: [AgentID]) async throws -> Int {
    var count = 0
    var waiting = agents
    while !waiting.isEmpty {
      // Before the look: whatever is marked as sent to it meanwhile unsettles it again.
      for agent in waiting { flow.fleet.settle(agent) }
      let (agents, fleet) = (waiting, flow.fleet)
      do {
        let lapses = try await flow.store.write { db in try Self.lapse(db, agents, fleet) }
        waiting.removeFirst(lapses.done)
        flow.damage.found(lapses.damaged)
        for (agent, tasks) in lapses.changed {
          count += tasks.count
          flow.publish(agent, tasks.map { ($0, .unknown) }, [])
        }
      } catch {
        for agent in waiting { flow.fleet.unsettle(agent) }
        throw error
      }
    }
    return count
  }

  private struct Lapses {
    var changed: [(agent: AgentID, tasks: [ULID])] = []
    var damaged: [String] = []
    /// So many of the agents are done.
    var done = 0
  }

  /// As many as go into one transaction.
  private static func lapse(_ db: Database, _ agents: [AgentID], _ fleet: Fleet) throws -> Lapses {
    var room = limit
    var lapses = Lapses()
    for (index, agent) in agents.enumerated() {
      // Looked at on the writer's thread: one that spoke meanwhile is asked by the reconciler.
      lapses.done = index + 1
      guard !fleet.isOnline(agent) else { continue }
      let lapse = try FlowLapses.lapse(db, agent, limit: room)
      room -= lapse.tasks.count
      lapses.damaged += lapse.damaged
      if !lapse.tasks.isEmpty { lapses.changed.append((agent, lapse.tasks)) }
      if lapse.more { lapses.done = index }
      if lapse.more || room <= 0 { break }
    }
    return lapses
  }

  private func judgeDeadlines() async throws {
    let now = flow.clock.now
    guard try await flow.store.read({ try FlowLapses.isAnyOverdue($0, deadline: now) }) else { return }
    let runs = try await flow.store.write { try FlowLapses.overdue($0, deadline: now, limit: Self.limit) }
    for run in runs { flow.publish(run.agent, [(run.task, .unknown)], []) }
  }
}
