// Sends: compares send numbers, marks queued runs within each agent's window, hands marked runs to the send script (DESIGN section 3, step 2).
// Rung after each commit that brought work or room; otherwise it looks every second. One agent's backlog never holds up another's run: each
// agent has its own window, and one pipeline carries the scripts for all of them.
// What if: Redis is away: what is marked stays marked in memory and is sent when it is back; killed between mark and send: the next process
// finds a run that is `sent` and silent, and asks its agent before it sends again (rule `ask`); a script is refused: `Refusals` says whether
// that is its agent's matter alone.
import GRDB
import Logging
import Redis
import ServiceLifecycle
import Shared
import Synchronization

final class Sender: Service {
  let store: Store
  let link: RedisLink
  let fleet: Fleet
  let desks: Desks
  let standing: Standing
  let damage: DamageBook
  let logger: Logger
  /// Told of every committed change that others may wait for.
  let publish: @Sendable (AgentID, [(task: ULID, state: RunState)]) -> Void

  private struct Rung {
    var agents: Set<AgentID> = []
    /// Look into the store also where memory says that a window is full: what it counts may have drifted.
    var recounts = false
  }
  private let rung = Mutex(Rung())
  private let refusals: Refusals
  /// While Redis refuses: nothing is sent before.
  private struct Hold {
    var until: SuspendingClock.Instant?
    var backoff = Backoff(base: .milliseconds(500), cap: .seconds(3))
  }
  private let hold = Mutex(Hold())
  private let bell: AsyncStream<Void>
  private let bellCord: AsyncStream<Void>.Continuation
  /// Bytes of envelopes in one pipeline.
  private static let pipelineBytes = 1 << 20

  init(
    store: Store, link: RedisLink, fleet: Fleet, desks: Desks, standing: Standing, refusals: Refusals, damage: DamageBook,
    logger: Logger,
    publish: @escaping @Sendable (AgentID, [(task: ULID, state: RunState)]) -> Void
  ) {
    self.store = store
    self.link = link
    self.fleet = fleet
    self.desks = desks
    self.standing = standing
    self.refusals = refusals
    self.damage = damage
    self.logger = logger
    self.publish = publish
    (bell, bellCord) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  /// There may be something to do for these agents.
  func ring(_ agents: some Collection<AgentID>) {
    rung.withLock { $0.agents.formUnion(agents) }
    bellCord.yield()
  }

  // MARK: Accepting

  /// Asked inside the accepting transaction: the send number under which a fresh run may be inserted as `sent`, or nil: it is queued.
  /// Only where nothing waits before it. May be called again for the same run when a transaction is redone; the room is recounted later.
  func admit(_ agent: AgentID, in db: Database, now: Int64) throws -> SendMark? {
    guard standing.fence != nil, fleet.isOnline(agent) else { return nil }
    let free = desks.withDesk(agent) { desk in
      guard desk.compared, desk.address != nil, !desk.backlog, desk.room > 0 else { return false }
      desk.outstanding += 1
      return true
    }
    return free ? try FlowMarks.next(db, agent, now: now) : nil
  }

  /// The accepting transaction is committed.
  func accepted(_ agent: AgentID, marked: MarkedRun?) {
    desks.withDesk(agent) { desk in
      if let marked { desk.marked.append(marked) } else { desk.backlog = true }
    }
  }

  // MARK: The loop

  func run() async throws {
    await cancelWhenGracefulShutdown {
      await withTaskGroup(of: Void.self) { group in
        group.addTask {
          while await pause(.seconds(1)) {
            self.rung.withLock { $0.recounts = true }
            self.ring(self.desks.agents(where: \.wantsSending))
          }
        }
        for await _ in self.bell {
          guard !Task.isCancelled else { break }
          guard let fence = await self.standing.untilWriting() else { break }
          let due = self.rung.withLock { rung in
            defer { rung = Rung() }
            return rung
          }
          guard self.hold.withLock({ $0.until.map { $0 <= .now } ?? true }) else { continue }
          do {
            try await self.serve(due, fence)
            self.hold.withLock { $0 = Hold() }
          } catch {
            if error is RedisReplyError { self.hold.withLock { $0.until = .now + $0.backoff.next() } }
            // Whatever was not sent is still marked or queued; the next look takes it up.
            self.logger.debug("sending stopped", metadata: ["why": "\(error)"])
          }
        }
        group.cancelAll()
      }
    }
  }

  private func serve(_ due: Rung, _ fence: Fence) async throws {
    let living = Array(due.agents).filter { fleet.isOnline($0) }
    try await compare(living.filter { !desks.desk($0).compared }, fence)
    let ready = living.filter { agent in
      let desk = desks.desk(agent)
      return desk.compared && desk.address != nil
    }
    // What is left of the last time first: as long as that cannot be sent, nothing is added to it.
    try await send(
      ready.filter { agent in
        let desk = desks.desk(agent)
        return !desk.marked.isEmpty || !desk.denied.isEmpty
      }, fence)
    var hungry = ready.filter { agent in
      let desk = desks.desk(agent)
      return desk.backlog && desk.marked.isEmpty && (desk.room > 0 || due.recounts)
    }[...]
    while !hungry.isEmpty {
      let part = Array(hungry.prefix(500))
      let served = try await mark(part)
      try await send(Array(part.prefix(served)), fence)
      hungry = hungry.dropFirst(served)
    }
  }

  /// Rules `before`, `raises`, `pair`: once under this fence, before an agent's first mark, send, end or judged report. One that cannot be
  /// compared now stays as it was (`Desk.compared`).
  func compare(_ agents: some Collection<AgentID>, _ fence: Fence) async throws {
    let agents = Array(agents)
    for start in stride(from: 0, to: agents.count, by: 500) {
      let part = Array(agents[start..<min(start + 500, agents.count)])
      let replies = try await refusals.answers(part.map { ($0, DashboardBus.compare($0, fence: fence)) })
      var known: [(AgentID, SendNumber)] = []
      for (agent, reply) in zip(part, replies) {
        guard let reply else { continue }
        let sends = reply.string.flatMap { SendNumber($0) }
        if sends?.isCredible != true {
          logger.error(
            "Redis holds a send number that no dashboard gave out: it is passed over",
            metadata: ["agent": "\(agent)", "value": "\(reply.string ?? "\(reply)")"])
        }
        known.append((agent, sends ?? .zero))
      }
      let now = WallTime.now().milliseconds
      let numbers = known
      let (results, damaged) = try await store.write { db in
        var damaged: [String] = []
        let results = try numbers.compactMap { agent, sends -> (AgentID, Bool, Int)? in
          do {
            var row = try AgentRow.fetch(db, agent, now: now)
            let restored = try row.compare(db, sends, under: fence, now: now)
            try row.saveNumber(db)
            return (agent, restored, try FlowMarks.outstanding(db, agent))
          } catch let fault as StoredFault {
            damaged.append(fault.description)
            return nil
          }
        }
        return (results, damaged)
      }
      damage.found(damaged)
      for (agent, restored, outstanding) in results {
        if restored {
          logger.warning("the store is a restored copy: asking before sending again", metadata: ["agent": "\(agent)"])
        }
        desks.withDesk(agent) { desk in
          desk.compared = true
          desk.outstanding = outstanding
          desk.toAsk = nil
        }
        if restored { fleet.unsettle(agent) }
      }
    }
  }

  /// - Returns: how many of them were served, at least one: the more their tasks weigh, the fewer.
  private func mark(_ agents: [AgentID]) async throws -> Int {
    // Cleared before the look: a run that is accepted while we look sets it again.
    let rooms = agents.map { agent in
      desks.withDesk(agent) { desk in
        desk.backlog = false
        return desk.concurrency + BusLimits.windowBeyondSlots
      }
    }
    let now = WallTime.now().milliseconds
    do {
      let results = try await store.write { db in
        let shelf = SpecShelf()
        var results: [(AgentID, Marking, Int)] = []
        for (agent, window) in zip(agents, rooms) where !shelf.isFull {
          let outstanding = try FlowMarks.outstanding(db, agent)
          let marking = try FlowMarks.mark(db, agent, limit: window - outstanding, now: now, shelf: shelf)
          results.append((agent, marking, outstanding + marking.marked.count))
        }
        return results
      }
      for (agent, marking, outstanding) in results {
        let marked = marking.marked
        damage.found(marking.damaged)
        desks.withDesk(agent) { desk in
          desk.marked += marked
          desk.outstanding = outstanding
          if marking.more { desk.backlog = true }
        }
        if !marked.isEmpty { publish(agent, marked.map { ($0.task, .sent) }) }
        // It may have been judged absent between our look and the commit.
        if !marked.isEmpty { fleet.unsettle(agent) }
      }
      for agent in agents[results.count...] { desks.withDesk(agent) { $0.backlog = true } }
      return results.count
    } catch {
      for agent in agents { desks.withDesk(agent) { $0.backlog = true } }
      desks.doubt(agents, after: error)
      throw error
    }
  }

  private func send(_ agents: [AgentID], _ fence: Fence) async throws {
    var batch: [(agent: AgentID, runs: [MarkedRun], command: RedisCommand)] = []
    var bytes = 0
    for agent in agents {
      let denied = desks.desk(agent).denied
      if !denied.isEmpty {
        let loaded = try await store.read { try FlowMarks.load($0, agent, tasks: denied) }
        damage.found(loaded.damaged)
        desks.withDesk(agent) { desk in
          desk.denied.subtract(denied)
          let waiting = Set(desk.marked.map(\.task))
          desk.marked += loaded.marked.filter { !waiting.contains($0.task) }
        }
      }
      let (runs, address) = desks.withDesk(agent) { desk in
        defer { desk.marked = [] }
        // Nobody is to start those (docs/decisions/0018).
        return (desk.marked.filter { desk.stopped[$0.task] == nil && desk.unwanted[$0.id] == nil }, desk.address)
      }
      guard !runs.isEmpty else { continue }
      guard let address else {
        desks.withDesk(agent) { $0.marked = runs + $0.marked }
        continue
      }
      for part in runs.chunks(of: 64) {
        do {
          let (command, size) = try encode(agent, part, address, fence)
          batch.append((agent, part, command))
          bytes += size
        } catch {
          for run in part { desks.withDesk(agent) { $0.marked.append(run) } }
          throw error
        }
      }
      if bytes > Self.pipelineBytes {
        try await flush(&batch)
        bytes = 0
      }
    }
    try await flush(&batch)
  }

  private func encode(_ agent: AgentID, _ runs: [MarkedRun], _ address: AgentAddress, _ fence: Fence) throws -> (
    RedisCommand, Int
  ) {
    // Redis is raised to a number that covers every mark of this batch.
    let number = runs.map(\.mark.number).max() ?? .zero
    var size = 0
    let entries = try runs.map { run -> (id: AttemptID, envelope: [UInt8]) in
      let envelope = run.envelope(for: agent, at: address, number: number)
      let bytes = try envelope.encoded()
      size += bytes.count
      return (envelope.id, bytes)
    }
    return (DashboardBus.send(agent, fence: fence, number: number, entries), size)
  }

  private func flush(_ batch: inout [(agent: AgentID, runs: [MarkedRun], command: RedisCommand)]) async throws {
    guard !batch.isEmpty else { return }
    let sending = batch
    batch = []
    // Before the sending: a short run may be heard of, and be done with, before the answer is read here.
    let now = SuspendingClock.now
    for item in sending { desks.withDesk(item.agent) { desk in for run in item.runs { desk.asked[run.task] = now } } }
    var failure: (any Error)?
    var isServed = false
    var fenced: [AgentID: RedisReplyError] = [:]
    var tombstoned: [AgentID: [ULID]] = [:]
    let outcomes = await link.commands.outcomes(of: sending.map(\.command))
    for (item, outcome) in zip(sending, outcomes) {
      switch refusals.judge(item.agent, outcome) {
      case .value(let value):
        isServed = true
        desks.withDesk(item.agent) { desk in
          // Taken out before it was put in.
          for run in item.runs { desk.unwanted[run.id]?.isWithdrawn = false }
        }
        for (run, status) in zip(item.runs, value.array ?? []) where status.integer == DashboardBus.Sent.tombstoned.rawValue {
          tombstoned[item.agent, default: []].append(run.task)
        }
      case .fenced(let error):
        fenced[item.agent] = error
        keep(item.runs, of: item.agent)
      case .waits: keep(item.runs, of: item.agent)
      case .refused(let error):
        failure = error
        guard case .outcomeUnknown? = error as? RedisError else {
          keep(item.runs, of: item.agent)
          continue
        }
        // Maybe sent, maybe not: only the agent can tell (rule `ask`); it is asked as soon as Redis answers.
        desks.withDesk(item.agent) { desk in
          desk.ask(item.runs.map(\.task))
          for run in item.runs { desk.asked[run.task] = nil }
        }
      }
    }
    for (agent, tasks) in tombstoned { try await heed(agent, tasks) }
    try await refusals.heed(fenced)
    // Where others are served, it is some node's matter, and nobody else waits for that.
    if let failure, !isServed { throw failure }
  }

  /// They were not sent: the next look takes them up.
  private func keep(_ runs: [MarkedRun], of agent: AgentID) {
    desks.withDesk(agent) { desk in
      desk.marked = runs + desk.marked
      for run in runs { desk.asked[run.task] = nil }
    }
  }

  private func heed(_ agent: AgentID, _ tasks: [ULID]) async throws {
    let now = WallTime.now().milliseconds
    try await store.write { db in for task in tasks { try FlowMarks.refused(db, agent, task, now: now) } }
    logger.warning(
      "found a tombstone instead of sending: cancelled before", metadata: ["agent": "\(agent)", "runs": "\(tasks.count)"])
  }
}

extension Array {
  /// Consecutive parts of at most `size` elements.
  func chunks(of size: Int) -> [[Element]] {
    stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
  }
}
