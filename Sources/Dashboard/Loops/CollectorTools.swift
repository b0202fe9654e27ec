// What both collectors do alike: read a stream, tell everybody what was committed, acknowledge, delete.
import Logging
import Redis
import Shared

struct CollectorTools: Sendable {
  let store: Store
  let link: RedisLink
  let fleet: Fleet
  let desks: Desks
  let standing: Standing
  let sender: Sender
  let waker: AttemptWaker
  let clock: DeadlineClock
  let health: HealthBoard
  let tally: ReportTally
  let damage: DamageBook
  let removed: RemovedAgents
  let publish: @Sendable (AgentID, [(task: ULID, state: RunState)], _ grown: [(task: ULID, upTo: Int64)]) -> Void
  let logger: Logger

  struct Entry: Sendable {
    var id: String
    var message: [UInt8]
  }

  /// Up to `count` entries after an id; empty after a second without any.
  func read(_ connection: RedisClient, _ stream: String, after: String, count: Int) async throws -> [Entry] {
    let command = RedisCommand("XREAD", "COUNT", count, "BLOCK", 1000, "STREAMS", stream, after)
    let reply = try await connection.blocking(command, for: .seconds(1))
    guard let entries = reply.array?.first?.array?.last?.array else { return [] }
    return entries.compactMap { entry in
      guard let pair = entry.array, pair.count == 2, let id = pair[0].string else { return nil }
      return Entry(id: id, message: pair[1].array?.last?.bytes ?? [])
    }
  }

  func flags(_ agents: Set<AgentID>) -> [AgentID: (tombstoned: Set<ULID>, denied: Set<ULID>)] {
    var flags: [AgentID: (tombstoned: Set<ULID>, denied: Set<ULID>)] = [:]
    for agent in agents {
      let desk = desks.desk(agent)
      flags[agent] = (desk.tombstoned, desk.denied)
    }
    return flags
  }

  /// Writes tombstones and remembers that they stand.
  func entomb(_ wanted: [AgentID: [AttemptID]], _ fence: Fence) async throws {
    guard !wanted.isEmpty else { return }
    let list = wanted.map { (agent: $0.key, ids: $0.value) }
    let numbers = try await store.read { db in try list.map { try AgentRow.number(db, $0.agent) } }
    let replies = try await link.commands.pipeline(
      zip(list, numbers).map { DashboardBus.tombstones($0.agent, fence: fence, number: $1, $0.ids) })
    for (item, reply) in zip(list, replies) {
      if let error = reply.error {
        sender.fenced(error)
        throw error
      }
      desks.withDesk(item.agent) { $0.tombstoned.formUnion(item.ids.map(\.task)) }
    }
  }

  /// After the commit: memory, presence, whoever waits, acknowledgements.
  func committed(_ outcomes: [BatchOutcome], _ fence: Fence) {
    health.set(.collector, nil)
    var acknowledgements: [AgentID: Acknowledgement] = [:]
    var ring: Set<AgentID> = []
    let now = WallTime.now().milliseconds
    tally.add(outcomes)
    damage.found(outcomes.flatMap(\.damaged))
    for outcome in outcomes {
      if outcome.refusedAsRemoved > 0 {
        logger.notice(
          "reports of a removed agent were refused",
          metadata: [
            "agent": "\(outcome.agent)", "journal": "\(outcome.address.journal)", "count": "\(outcome.refusedAsRemoved)",
          ])
      }
      if let acknowledgement = outcome.acknowledgement { acknowledgements[outcome.agent] = acknowledgement }
      guard outcome.applied else { continue }
      // A run that waits for its next attempt is not out.
      let ended = outcome.changed.filter { $0.state.isVerdict || $0.state == .queued }.count
      desks.withDesk(outcome.agent) { desk in
        if let address = desk.address, address != outcome.address { desk.toAsk = nil }
        desk.address = outcome.address
        if let hello = outcome.hello {
          desk.concurrency = max(1, hello.concurrency)
          // It has registered anew: Redis may have forgotten what it was sent. What it does not know is sent again.
          desk.toAsk = nil
        }
        desk.outstanding = max(0, desk.outstanding - ended)
        for task in outcome.heard {
          desk.toAsk?.remove(task)
          desk.asked[task] = nil
          desk.denied.remove(task)
        }
        for change in outcome.changed where change.state.isVerdict { desk.tombstoned.remove(change.task) }
        // What was remembered is about the attempt before.
        for move in outcome.moves {
          desk.tombstoned.remove(move.task)
          desk.marked.removeAll { $0.task == move.task && $0.attempt != move.attempt }
        }
        desk.denied.formUnion(outcome.denied)
        if outcome.restored { desk.toAsk = nil }
      }
      for move in outcome.moves {
        guard let wait = move.wait else { continue }
        waker.wait(outcome.agent, AttemptID(task: move.task, attempt: move.attempt), wait)
      }
      if outcome.saidBye && outcome.hello == nil {
        fleet.left(outcome.agent)
      } else if fleet.spoke(outcome.agent, at: now) {
        // It was away: what was out on it may be unknown here.
        desks.withDesk(outcome.agent) { $0.toAsk = nil }
      }
      if outcome.hello != nil || ended > 0 || !outcome.denied.isEmpty { ring.insert(outcome.agent) }
      if outcome.refused > 0 {
        logger.notice(
          "reports for runs that have their verdict were refused",
          metadata: ["agent": "\(outcome.agent)", "count": "\(outcome.refused)"])
      }
      if outcome.unrecognised > 0,
        desks.withDesk(
          outcome.agent,
          { desk in
            defer { desk.isToldApart = true }
            return !desk.isToldApart
          })
      {
        logger.notice("an agent of a later version says what this one does not know", metadata: ["agent": "\(outcome.agent)"])
      }
      publish(outcome.agent, outcome.changed, outcome.grown)
    }
    if !ring.isEmpty { sender.ring(ring) }
    let commands = acknowledgements.map { DashboardBus.acknowledge($0.key, fence: fence, $0.value) }
    if !commands.isEmpty { inBackground(commands) }
  }

  /// Entries whose content is committed. When this fails they are read again and found stale.
  func finished(_ stream: String, _ ids: [String]) {
    guard !ids.isEmpty else { return }
    inBackground([RedisCommand("XDEL", arguments: [stream] + ids)])
  }

  /// Sent on the shared connection without holding up the reading. What fails is repeated with the next commit.
  private func inBackground(_ commands: [RedisCommand]) {
    let link = link
    let sender = sender
    Task {
      for outcome in await link.commands.outcomes(of: commands) {
        if case .success(.error(let error)) = outcome { sender.fenced(error) }
      }
    }
  }

  func note(_ error: any Error, _ what: String) {
    if error is StoreError {
      health.set(.collector, "\(what) cannot be stored: \(error)")
      waker.lookAgain()
    }
    if case .reply(let refusal)? = error as? RedisError { sender.fenced(refusal) }
    logger.debug("collecting stopped", metadata: ["what": "\(what)", "why": "\(error)"])
  }
}
