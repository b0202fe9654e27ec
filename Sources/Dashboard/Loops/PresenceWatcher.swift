// Looks at every agent's heartbeat once a second (every 2 s above 2,000 agents): one ZRANGE tells whose changed, one pipeline reads those
// leases. Finds agents that the store has never heard and asks them to say hello again. Tells agents how far Redis's clock is ahead of the
// clock for deadlines, whenever that has changed.
// What if: Redis is away, or answers with an error: contact is lost, and silence counts anew from its return; a lease cannot be read: the agent
// stays as it was.
import Logging
import Redis
import ServiceLifecycle
import Shared

struct PresenceWatcher: Service {
  let link: RedisLink
  let fleet: Fleet
  let desks: Desks
  let standing: Standing
  let sender: Sender
  let refusals: Refusals
  let clock: DeadlineClock
  let mood: RedisMood
  let removed: RemovedAgents
  let logger: Logger

  func run() async throws {
    await cancelWhenGracefulShutdown {
      while !Task.isCancelled {
        var count = 0
        do {
          count = try await look()
        } catch {
          fleet.contact(false)
          logger.debug("presence not read", metadata: ["why": "\(error)"])
        }
        if !(await pause(count > 2000 ? .seconds(2) : .seconds(1))) { break }
      }
    }
  }

  private func look() async throws -> Int {
    let asked = SuspendingClock.now
    let replies = try await link.commands.pipeline([
      // The clock that agents go by is that of the server where they say that they are there.
      RedisCommand("ZRANGE", Keys.agents, 0, -1, "WITHSCORES"), RedisCommand("TIME").routed(like: Keys.agents),
      RedisCommand("GET", Keys.clock),
    ])
    if let error = replies[0].error {
      mood.refused(error)
      throw error
    }
    guard let words = replies[0].array else { return 0 }
    // A reading that took long says little.
    if asked.duration(to: .now) < .milliseconds(500) { await tellClock(replies[1], replies[2]) }
    fleet.contact(!mood.silencesAgents)
    var scores: [(AgentID, Double)] = []
    scores.reserveCapacity(words.count / 2)
    for index in stride(from: 0, to: words.count - 1, by: 2) {
      guard let name = words[index].string, let score = words[index + 1].string.flatMap(Double.init) else { continue }
      // Anybody may have put it there by hand: a score that is no time tells nothing but that the name is known, and what is no name is no
      // agent's. In a Cluster one such would spoil every call that its keys are part of.
      guard nameFault(name) == nil else { continue }
      scores.append((AgentID(name), score.isFinite ? min(max(score, 0), 1e15) : 0))
    }
    let changed = fleet.seen(scores)
    var came: [AgentID] = []
    var strangers: [(agent: AgentID, command: RedisCommand)] = []
    for start in stride(from: 0, to: changed.count, by: 1000) {
      let part = changed[start..<min(start + 1000, changed.count)]
      let leases = try await link.commands.pipeline(part.map { RedisCommand("GET", Keys.lease($0)) })
      for (agent, value) in zip(part, leases) {
        let lease = value.bytes.flatMap { Lease(bytes: $0) }
        let wasOnline = fleet.isOnline(agent)
        fleet.lease(agent, lease)
        if lease != nil && !wasOnline { came.append(agent) }
        if let lease, let fence = standing.fence, let greeting = try greeting(agent, lease, fence) {
          strangers.append((agent, greeting))
        }
      }
    }
    let gone = fleet.judgeAbsence()
    for agent in gone.prefix(20) { logger.info("agent is offline", metadata: ["agent": "\(agent)"]) }
    if gone.count > 20 { logger.info("more agents are offline", metadata: ["count": "\(gone.count - 20)"]) }
    // What was out on them may have moved on, or may be unknown: they are asked about all of it.
    for agent in came { desks.withDesk(agent) { $0.toAsk = nil } }
    if !came.isEmpty { sender.ring(came) }
    // Everybody was seen: whether some can be told something says nothing about that.
    do { try await tell(strangers) } catch { logger.debug("agents were not told", metadata: ["why": "\(error)"]) }
    return scores.count
  }

  private func tell(_ strangers: [(agent: AgentID, command: RedisCommand)]) async throws {
    if let fence = standing.fence { try await removed.standAgain(fence, andLacking: true) }
    for part in strangers.chunks(of: 500) { _ = try await refusals.answers(part) }
  }

  /// Both clocks drift against each other; only a step is told.
  private static let clockTolerance: Int64 = 1000

  private func tellClock(_ time: RedisValue, _ told: RedisValue) async {
    // Where what was told cannot be read, nobody knows whether it has changed.
    guard standing.fence != nil, told.error == nil, let parts = time.array, parts.count == 2, let seconds = parts[0].integer,
      let micros = parts[1].integer
    else { return }
    let ahead = seconds * 1000 + micros / 1000 - clock.now
    let before = told.string.flatMap { DeadlineClock.ahead($0) }
    if let before, abs(ahead - before) <= Self.clockTolerance { return }
    // Whether it can be written must not keep anybody from being seen.
    switch await link.commands.outcomes(of: [DashboardBus.clock(ahead: ahead)])[0] {
    case .success(let value):
      if let error = value.error { return mood.refused(error) }
    case .failure: return
    }
    guard let before else { return }
    logger.warning("Redis's clock was set; deadlines stay what they were", metadata: ["milliseconds": "\(ahead - before)"])
  }

  /// An agent that holds a lease but whose words this store has never heard (a new store on an old Redis) says everything again when asked.
  private func greeting(_ agent: AgentID, _ lease: Lease, _ fence: Fence) throws -> RedisCommand? {
    guard desks.desk(agent).address?.incarnation != lease.address.incarnation, lease.beat.count % 2 == 1 else { return nil }
    let message = ControlMessage(.refresh, to: lease.address)
    return try DashboardBus.control(agent, fence: fence, number: .zero, message)
  }
}
