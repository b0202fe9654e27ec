// What the tests of the loops around the streams share: everything that these loops use, and agents that speak by hand.
import Redis
import RedisTestSupport
import Shared

@testable import Dashboard

struct FlowParts {
  static let fence: Fence = 5

  let parts: LoopParts
  let fleet = Fleet()
  let desks = Desks()
  let standing = Standing()
  let refusals: Refusals
  let sender: Sender
  let flow: CollectorTools
  let ids = ULIDGenerator()
  var server: RedisServerProcess { parts.server }
  var store: Store { parts.store }

  init(_ parts: LoopParts) async throws {
    self.parts = parts
    let (store, link, logger) = (parts.store, parts.link, parts.log.logger)
    let damage = DamageBook(health: parts.health, logger: logger)
    let clock = DeadlineClock(continuing: nil, boot: "b")
    refusals = Refusals(
      link: link, standing: standing, desks: desks, mood: parts.mood, health: parts.health, logger: logger)
    sender = Sender(
      store: store, link: link, fleet: fleet, desks: desks, standing: standing, refusals: refusals, damage: damage, logger: logger
    ) { _, _ in }
    let removed = RemovedAgents(
      fenced: try await store.read { try FlowRemoval.fenced($0) }, store: store, link: link, fleet: fleet, desks: desks,
      standing: standing, sender: sender, refusals: refusals, logger: logger
    ) { _, _ in }
    flow = CollectorTools(
      store: store, link: link, fleet: fleet, desks: desks, standing: standing, sender: sender, refusals: refusals,
      waker: AttemptWaker(store: store, desks: desks, sender: sender, clock: clock, logger: logger), clock: clock,
      health: parts.health, tally: ReportTally(), damage: damage, removed: removed, publish: { _, _, _ in }, logger: logger)
    standing.move(to: .writing(Self.fence))
  }

  /// Two agents that use the same stream.
  static let neighbours: (AgentID, AgentID) = {
    let first = AgentID("a")
    let second = (0..<100).lazy.map { AgentID("b\($0)") }.first { Keys.shard($0) == Keys.shard(first) }
    return (first, second ?? first)
  }()

  static func address(_ incarnation: UInt64 = 2) -> AgentAddress {
    AgentAddress(journal: Nonce(1), incarnation: Nonce(incarnation))
  }

  // MARK: Agents

  /// Accepts a run of a task for an agent.
  func accept(_ agent: AgentID, sent: Bool = true) async throws -> ULID {
    try await store.accept(ids.next(), on: agent, sent: sent)
  }

  func batch(_ agent: AgentID, _ events: [ReportEvent], first: UInt64 = 1, incarnation: UInt64 = 2) -> ReportBatch {
    ReportBatch(
      agent: agent, from: Self.address(incarnation), position: JournalPosition(journal: Nonce(1), count: 1, nonce: Nonce(1)),
      first: first, oldest: 1, events: events)
  }

  /// Puts a report into the agent's stream.
  func say(_ agent: AgentID, _ events: [ReportEvent], first: UInt64 = 1, incarnation: UInt64 = 2) async throws {
    let bytes = try batch(agent, events, first: first, incarnation: incarnation).encoded()
    _ = try await parts.link.commands.send(AgentBus.report(shard: Keys.shard(agent), [bytes]))
  }

  func ended(_ task: ULID, _ state: RunState) -> ReportEvent {
    ReportEvent(.ended, attempt: AttemptID(task: task), verdict: Verdict(state: state))
  }

  /// Takes its lease, as an agent does before it says a word.
  func takeLease(_ agent: AgentID, incarnation: UInt64 = 2) async throws {
    let beat = Heartbeat(count: 1, load1: 0, running: 0, waiting: 0, concurrency: 1, health: "healthy", hostname: "h", pid: 1)
    let lease = try Lease(address: Self.address(incarnation), beat: beat).encoded()
    _ = try await parts.link.commands.send(RedisCommand("SET", Keys.lease(agent), lease))
  }

  /// The dashboard has heard it, and it is there.
  func introduce(_ agent: AgentID) {
    desks.withDesk(agent) { $0.address = Self.address() }
    fleet.spoke(agent, at: 0)
  }

  // MARK: What became of it

  func state(_ agent: AgentID, _ task: ULID) async throws -> RunState? {
    try await store.read { db in try RunRow.fetch(db, task: task, agent: agent)?.knowledge.state }
  }

  func waits(_ agent: AgentID, _ task: ULID, for state: RunState, _ what: String) async throws {
    try await eventually("\(what): \(agent)'s run is \(state)", within: .seconds(60)) {
      try await self.state(agent, task) == state
    }
  }

  /// Entries in an agent's verdict stream.
  func entries(_ agent: AgentID) async throws -> Int64 {
    try await server.ask("XLEN", Keys.verdicts(Keys.shard(agent))).integer ?? -1
  }

  // MARK: Loops

  /// Runs the collector of the agent's verdict stream until the body has ended.
  func collecting(_ agent: AgentID, _ body: () async throws -> Void) async throws {
    let collector = ReportCollector.loop(shard: Keys.shard(agent), flow)
    try await running({ try await collector.run() }, body)
  }

  func sending(_ body: () async throws -> Void) async throws { try await running({ [sender] in try await sender.run() }, body) }

  private func running(_ loop: @escaping @Sendable () async throws -> Void, _ body: () async throws -> Void) async throws {
    let running = Task { try await loop() }
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
    running.cancel()
    try await running.value
    try outcome.get()
  }
}

func withFlow(_ body: (FlowParts) async throws -> Void) async throws {
  try await withLoopParts { parts in try await body(try await FlowParts(parts)) }
}
