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
  let refusals: Refusals
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

  func flags(_ agents: Set<AgentID>) -> [AgentID: (tombs: [ULID: EndCause], denied: Set<ULID>)] {
    var flags: [AgentID: (tombs: [ULID: EndCause], denied: Set<ULID>)] = [:]
    for agent in agents {
      let desk = desks.desk(agent)
      flags[agent] = (desk.tombs, desk.denied)
    }
    return flags
  }

  /// Rule `hears`: compares those that were not. Returns the agents that have to wait.
  func compare(_ agents: Set<AgentID>, _ fence: Fence) async throws -> Set<AgentID> {
    let strangers = agents.filter { !desks.desk($0).compared }
    guard !strangers.isEmpty else { return [] }
    try await sender.compare(strangers, fence)
    return strangers.filter { !desks.desk($0).compared }
  }

  /// Writes tombstones and remembers what stands. Returns the agents that have to wait: theirs do not.
  func entomb(_ wanted: [AgentID: [(id: AttemptID, cause: EndCause)]], _ fence: Fence) async throws -> Set<AgentID> {
    guard !wanted.isEmpty else { return [] }
    let list = wanted.map { (agent: $0.key, tombs: $0.value) }
    let numbers = try await store.read { db in try list.map { try AgentRow.number(db, $0.agent) } }
    let replies = try await refusals.answers(
      zip(list, numbers).map { ($0.agent, DashboardBus.tombstones($0.agent, fence: fence, number: $1, $0.tombs)) })
    var waiting: Set<AgentID> = []
    for (item, reply) in zip(list, replies) {
      guard let causes = reply.flatMap({ DashboardBus.causes($0, count: item.tombs.count) }) else {
        waiting.insert(item.agent)
        continue
      }
      desks.withDesk(item.agent) { desk in
        for (tomb, cause) in zip(item.tombs, causes) { desk.tombs[tomb.id.task] = cause }
      }
    }
    return waiting
  }

  /// Takes out of the inboxes what nobody is to start any more.
  func withdraw(_ unwanted: [AgentID: [AttemptID]], _ fence: Fence) async throws {
    guard !unwanted.isEmpty else { return }
    let list = Array(unwanted)
    let replies: [RedisValue?]
    do {
      replies = try await refusals.answers(list.map { ($0.key, DashboardBus.withdraw($0.key, fence: fence, $0.value)) })
    } catch let error where error is RedisReplyError || error is RedisError {
      // Agents have to be asked all the same, those of other nodes among them; `health` says what Redis does not do.
      logger.debug("runs that nobody wants stay in the inbox", metadata: ["why": "\(error)"])
      guard (error as? RedisReplyError)?.isRefusedRight == true else { return }
      // It will not be given soon: the agents' word is all that there is.
      replies = list.map { _ in .integer(0) }
    }
    for case (let item, .some) in zip(list, replies) {
      desks.withDesk(item.key) { desk in
        for id in item.value { desk.unwanted[id]?.isWithdrawn = true }
      }
    }
  }

  /// After the commit: memory, presence, whoever waits, acknowledgements.
  func committed(_ outcomes: [BatchOutcome], _ fence: Fence) {
    health.set(.collector, nil)
    var acknowledgements: [AgentID: Acknowledgement] = [:]
    var ring: Set<AgentID> = []
    var unseen: Set<AgentID> = []
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
        // Output has a sequence of its own: a frame may be a former process's, whose reports are not heard any more.
        if !outcome.isOutput {
          if let address = desk.address, address != outcome.address { desk.toAsk = nil }
          desk.address = outcome.address
        }
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
        for change in outcome.changed where change.state.isVerdict {
          desk.tombs[change.task] = nil
          desk.stopped[change.task] = nil
        }
        // What was remembered is about the attempt before.
        for move in outcome.moves {
          desk.tombs[move.task] = nil
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
      } else if fleet.isOnline(outcome.agent) {
        fleet.spoke(outcome.agent, at: now)
      } else {
        unseen.insert(outcome.agent)
      }
      if outcome.hello != nil || ended > 0 || !outcome.denied.isEmpty { ring.insert(outcome.agent) }
      if outcome.refused > 0 {
        logger.notice(
          "reports for runs that have their verdict were refused",
          metadata: ["agent": "\(outcome.agent)", "count": "\(outcome.refused)"])
      }
      if outcome.restored {
        logger.warning(
          "the store is a restored copy, as its agent says: asking before sending again", metadata: ["agent": "\(outcome.agent)"])
      }
      if let why = outcome.passedOver.first,
        desks.withDesk(
          outcome.agent,
          { desk in
            defer { desk.isToldApart = true }
            return !desk.isToldApart
          })
      {
        logger.notice(
          "something that an agent says is passed over: it is of a later version, or nobody can have meant it",
          metadata: ["agent": "\(outcome.agent)", "why": "\(why)"])
      }
      publish(outcome.agent, outcome.changed, outcome.grown)
    }
    if !ring.isEmpty { sender.ring(ring) }
    if !unseen.isEmpty { Task { [unseen] in await look(for: unseen) } }
    let commands = acknowledgements.map { (agent: $0.key, command: DashboardBus.acknowledge($0.key, fence: fence, $0.value)) }
    if !commands.isEmpty { Task { await acknowledge(commands) } }
  }

  /// Sent without holding up the reading. What fails is repeated with the next commit, or when the agent says it again.
  private func acknowledge(_ commands: [(agent: AgentID, command: RedisCommand)]) async {
    do { _ = try await refusals.answers(commands) } catch {
      logger.debug("reports are not acknowledged", metadata: ["why": "\(error)"])
    }
  }

  /// Whoever spoke and is not known to be there has just come, or is gone: what it said may have waited for long while no dashboard read it. Its
  /// lease tells; it is taken before the first word.
  private func look(for agents: Set<AgentID>) async {
    let agents = Array(agents)
    let outcomes = await link.commands.outcomes(of: agents.map { RedisCommand("GET", Keys.lease($0)) })
    let now = WallTime.now().milliseconds
    var came: [AgentID] = []
    // Where Redis does not say, `PresenceWatcher` asks it again.
    for case (let agent, .success(let value)) in zip(agents, outcomes) {
      guard value.bytes.flatMap({ Lease(bytes: $0) }) != nil, fleet.spoke(agent, at: now) else { continue }
      // It was away: what was out on it may be unknown here.
      desks.withDesk(agent) { $0.toAsk = nil }
      came.append(agent)
    }
    if !came.isEmpty { sender.ring(came) }
  }

  func finishedEntries(_ stream: String) -> FinishedEntries { FinishedEntries(stream, link: link, refusals: refusals) }

  /// - Returns: how long to rest before it is tried again.
  func note(_ error: any Error, _ what: String) -> Duration {
    var rest = Duration.milliseconds(200)
    if let error = error as? StoreError {
      health.set(.collector, "\(what) cannot be stored: \(error)")
      // A write that the disk had no room for is known to have left nothing.
      if case .full = error {} else { waker.lookAgain() }
      rest = .seconds(1)
    }
    if case .reply(let refusal)? = error as? RedisError { refusals.met(refusal) }
    logger.debug("collecting stopped", metadata: ["what": "\(what)", "why": "\(error)"])
    return rest
  }
}
