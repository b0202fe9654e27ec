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
      name: "verdicts-\(shard)", stream: Keys.verdicts(shard), batch: 200, mostPutOff: BusLimits.verdictStreamLength / 40,
      flow: flow, finished: flow.finishedEntries(Keys.verdicts(shard)), agent: { $0.agent },
      decode: { try ReportBatch(bytes: $0) },
      commit: { try await collector.commit($0, $1) })
  }

  private func commit(_ all: [ReportBatch], _ fence: Fence) async throws -> Set<AgentID> {
    // Rule `fenced`: after a loss of Redis its fences stand again before any report is taken.
    try await flow.removed.standAgain(fence)
    // Rule `hears`: the send numbers are compared before the first report is judged.
    var waiting = try await flow.compare(Set(all.map(\.agent)), fence)
    // Rule `tomb`: words that nothing was started stand in Redis before they are final.
    let neverStarted = Self.neverStarted(all.filter { [waiting] in !waiting.contains($0.agent) })
    waiting.formUnion(try await entomb(neverStarted, fence))
    let batches = all.filter { [waiting] in !waiting.contains($0.agent) }
    guard !batches.isEmpty else { return waiting }
    let flags = flow.flags(Set(batches.map(\.agent)))
    let (now, deadline) = (WallTime.now().milliseconds, flow.clock.now)
    do {
      let outcomes = try await flow.store.write { db in
        try batches.map { batch in
          try FlowReports.apply(db, batch, now: now, deadline: deadline) { task in
            let flag = flags[batch.agent]
            return (flag?.tombs[task], flag?.denied.contains(task) ?? false)
          }
        }
      }
      flow.committed(outcomes, fence)
      // What was said too late, or again, ends nothing: nobody else would forget them.
      for (agent, tombs) in neverStarted {
        flow.desks.withDesk(agent) { desk in for tomb in tombs { desk.tombs[tomb.id.task] = nil } }
      }
      return waiting
    } catch {
      // Done all the same, perhaps: read again it is stale, and then nobody is told what it said.
      flow.desks.doubt(Set(batches.map(\.agent)), after: error)
      throw error
    }
  }

  /// Returns the agents that have to wait.
  private func entomb(_ neverStarted: [AgentID: [Tomb]], _ fence: Fence) async throws -> Set<AgentID> {
    var wanted: [AgentID: [Tomb]] = [:]
    for (agent, tombs) in neverStarted {
      let known = flow.desks.desk(agent).tombs
      let missing = tombs.filter { known[$0.id.task] == nil }
      if !missing.isEmpty { wanted[agent] = missing }
    }
    return try await flow.entomb(wanted, fence)
  }

  typealias Tomb = (id: AttemptID, cause: EndCause)

  private static func neverStarted(_ batches: [ReportBatch]) -> [AgentID: [Tomb]] {
    var found: [AgentID: [Tomb]] = [:]
    for batch in batches {
      let ids = neverStarted(batch)
      if !ids.isEmpty { found[batch.agent, default: []] += ids }
    }
    return found
  }

  /// Of which attempts it says that they were never started. The store asks for no other's tombstone (`TombstoneWanted`): a batch whose wish
  /// nobody fulfils would be tried again for ever, and hold up everybody behind it.
  static func neverStarted(_ batch: ReportBatch) -> [Tomb] {
    batch.events.compactMap { event in
      guard let id = event.attempt.flatMap({ AttemptID($0) }) else { return nil }
      switch AgentWord(event) {
      case .tombstone(let cause): return (id, cause)
      // Its journal tells that again, whatever the tombstone says.
      case .ended(let state) where state.saysNeverStarted: return (id, state == .expired ? .expired : .cancelled)
      default: return nil
      }
    }
  }
}

/// Commits output frames.
enum OutputCollector {
  static func loop(shard: Int, _ flow: CollectorTools) -> StreamCollector<OutputFrame> {
    StreamCollector(
      name: "output-\(shard)", stream: Keys.output(shard), batch: 32, mostPutOff: BusLimits.outputStreamLength / 16, flow: flow,
      finished: flow.finishedEntries(Keys.output(shard)), agent: { $0.agent }, decode: { try OutputFrame(bytes: $0) },
      commit: { all, fence in
        let waiting = try await flow.compare(Set(all.map(\.agent)), fence)
        let frames = all.filter { !waiting.contains($0.agent) }
        guard !frames.isEmpty else { return waiting }
        let now = WallTime.now().milliseconds
        flow.committed(try await flow.store.write { db in try frames.map { try FlowReports.apply(db, $0, now: now) } }, fence)
        return waiting
      })
  }
}
