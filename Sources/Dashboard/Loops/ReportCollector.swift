// Reads one verdict stream: batches in order, one transaction for what was read, and only then acknowledged and deleted (DESIGN section 3,
// step 7). Everything is idempotent, so after a crash anywhere the next process simply reads again what was not deleted.
// A plain XREAD from the beginning serves one reader as well as a consumer group and leaves no pending list to repair
// (docs/decisions/0002).
// What if: Redis is away: reads begin again at the first undeleted entry; the store is full: the batch is kept and tried again, nothing is
// deleted, agents hold back when the stream is full; an entry cannot be read: it is logged, counted and deleted, for it will never be readable.
import Logging
import Redis
import ServiceLifecycle
import Shared

struct ReportCollector: Service {
  let shard: Int
  let flow: CollectorTools
  private static let batch = 200

  func run() async throws {
    await cancelWhenGracefulShutdown {
      let connection = flow.link.reader("verdicts-\(shard)")
      while !Task.isCancelled {
        guard await flow.standing.untilWriting() != nil else { break }
        do {
          try await collect(connection)
        } catch {
          if Task.isCancelled { break }
          flow.note(error, "reports")
          if !(await pause(.milliseconds(200))) { break }
        }
      }
      await connection.close()
    }
  }

  /// Reads and commits until something fails. Begins with the oldest entry that was not deleted.
  private func collect(_ connection: RedisConnection) async throws {
    try await connection.connected(within: .seconds(3600))
    var after = "0-0"
    while !Task.isCancelled, let fence = flow.standing.fence {
      let entries = try await flow.read(connection, Keys.verdicts(shard), after: after, count: Self.batch)
      guard let last = entries.last else { continue }
      var batches: [ReportBatch] = []
      for entry in entries {
        do { batches.append(try ReportBatch(bytes: entry.message)) } catch {
          flow.logger.error("a report that nobody can read was dropped", metadata: ["entry": "\(entry.id)", "why": "\(error)"])
        }
      }
      try await commit(batches, fence)
      flow.finished(Keys.verdicts(shard), entries.map(\.id))
      after = last.id
    }
  }

  private func commit(_ batches: [ReportBatch], _ fence: Fence) async throws {
    guard !batches.isEmpty else { return }
    // Rule `hears`: the send numbers are compared before the first report is judged.
    let strangers = Set(batches.map(\.agent)).filter { !flow.desks.desk($0).compared }
    if !strangers.isEmpty { try await flow.sender.compare(strangers, fence) }
    // Rule `tomb`: words that nothing was started stand in Redis before they are final.
    try await entomb(batches, fence)
    let flags = flow.flags(Set(batches.map(\.agent)))
    let now = WallTime.now().milliseconds
    let outcomes = try await flow.store.write { db in
      try batches.map { batch in
        try FlowReports.apply(db, batch, now: now) { task in
          let flag = flags[batch.agent]
          return (flag?.tombstoned.contains(task) ?? false, flag?.denied.contains(task) ?? false)
        }
      }
    }
    flow.committed(outcomes, fence)
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

/// Reads one output stream, the same way. Losing output never blocks or changes a verdict: it is another loop with another sequence.
struct OutputCollector: Service {
  let shard: Int
  let flow: CollectorTools
  private static let batch = 32

  func run() async throws {
    await cancelWhenGracefulShutdown {
      let connection = flow.link.reader("output-\(shard)")
      while !Task.isCancelled {
        guard await flow.standing.untilWriting() != nil else { break }
        do {
          try await collect(connection)
        } catch {
          if Task.isCancelled { break }
          flow.note(error, "output")
          if !(await pause(.milliseconds(200))) { break }
        }
      }
      await connection.close()
    }
  }

  private func collect(_ connection: RedisConnection) async throws {
    try await connection.connected(within: .seconds(3600))
    var after = "0-0"
    while !Task.isCancelled, let fence = flow.standing.fence {
      let entries = try await flow.read(connection, Keys.output(shard), after: after, count: Self.batch)
      guard let last = entries.last else { continue }
      var frames: [OutputFrame] = []
      for entry in entries {
        do { frames.append(try OutputFrame(bytes: entry.message)) } catch {
          flow.logger.error("output that nobody can read was dropped", metadata: ["entry": "\(entry.id)", "why": "\(error)"])
        }
      }
      let strangers = Set(frames.map(\.agent)).filter { !flow.desks.desk($0).compared }
      if !strangers.isEmpty { try await flow.sender.compare(strangers, fence) }
      let now = WallTime.now().milliseconds
      let reading = frames
      let outcomes = try await flow.store.write { db in try reading.map { try FlowReports.apply(db, $0, now: now) } }
      flow.committed(outcomes, fence)
      flow.finished(Keys.output(shard), entries.map(\.id))
      after = last.id
    }
  }
}
