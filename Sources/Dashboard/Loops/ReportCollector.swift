// What is done with a batch of agents' reports, and with a batch of their output frames. Losing output never blocks or changes a verdict: it has
// streams, loops and a sequence of its own.
import Redis
import Shared

/// Commits reports: verdicts, states, hellos.
struct ReportCollector: Sendable {
  let flow: CollectorTools

  static func loop(shard: Int, _ flow: CollectorTools) -> StreamCollector<ReportBatch> {
    let collector = ReportCollector(flow: flow)
    return StreamCollector(
      name: "verdicts-\(shard)", stream: Keys.verdicts(shard), batch: 200, flow: flow, decode: { try ReportBatch(bytes: $0) },
      commit: { try await collector.commit($0, $1) })
  }

  private func commit(_ batches: [ReportBatch], _ fence: Fence) async throws {
    // Rule `fenced`: after a loss of Redis its fences stand again before any report is taken.
    try await flow.removed.standAgain(fence)
    // Rule `hears`: the send numbers are compared before the first report is judged.
    let strangers = Set(batches.map(\.agent)).filter { !flow.desks.desk($0).compared }
    if !strangers.isEmpty { try await flow.sender.compare(strangers, fence) }
    // Rule `tomb`: words that nothing was started stand in Redis before they are final.
    try await entomb(batches, fence)
    let flags = flow.flags(Set(batches.map(\.agent)))
    let (now, deadline) = (WallTime.now().milliseconds, flow.clock.now)
    do {
      let outcomes = try await flow.store.write { db in
        try batches.map { batch in
          try FlowReports.apply(db, batch, now: now, deadline: deadline) { task in
            let flag = flags[batch.agent]
            return (flag?.tombstoned.contains(task) ?? false, flag?.denied.contains(task) ?? false)
          }
        }
      }
      flow.committed(outcomes, fence)
    } catch {
      // Done all the same, perhaps: read again it is stale, and then nobody is told what it said.
      flow.desks.doubt(Set(batches.map(\.agent)), after: error)
      throw error
    }
  }

  private func entomb(_ batches: [ReportBatch], _ fence: Fence) async throws {
    var wanted: [AgentID: [AttemptID]] = [:]
    for batch in batches {
      let known = flow.desks.desk(batch.agent).tombstoned
      for event in batch.events where event.kind == .ended && (event.verdict?.state.saysNeverStarted ?? false) {
        guard let id = event.attempt.flatMap({ AttemptID($0) }), !known.contains(id.task) else { continue }
        wanted[batch.agent, default: []].append(id)
      }
    }
    try await flow.entomb(wanted, fence)
  }
}

/// Commits output frames.
enum OutputCollector {
  static func loop(shard: Int, _ flow: CollectorTools) -> StreamCollector<OutputFrame> {
    StreamCollector(
      name: "output-\(shard)", stream: Keys.output(shard), batch: 32, flow: flow, decode: { try OutputFrame(bytes: $0) },
      commit: { frames, fence in
        let strangers = Set(frames.map(\.agent)).filter { !flow.desks.desk($0).compared }
        if !strangers.isEmpty { try await flow.sender.compare(strangers, fence) }
        let now = WallTime.now().milliseconds
        flow.committed(try await flow.store.write { db in try frames.map { try FlowReports.apply(db, $0, now: now) } }, fence)
      })
  }
}
