// What a full Redis refuses, and what it does not: leases, acknowledgements, confirms and kills go on. And what is risky about a Redis.
import Redis
import RedisTestSupport
import Testing

@testable import Shared

@Suite struct FullRedisTests {
  private let agent = AgentID("a")
  private let stranger = AgentID("b")
  private let address = AgentAddress(journal: Nonce.random(), incarnation: Nonce.random())

  @Test func aFullRedisRefusesWorkAndReportsAndNothingElse() async throws {
    let server = try await RedisServerProcess.start()
    let redis = RedisConnection(server.configuration)
    try await redis.connected(within: .seconds(20))
    let lease = Array("\(address) {}".utf8)
    let id = AttemptID(task: ULIDGenerator().next(), attempt: 1)
    let position = JournalPosition(journal: address.journal, count: 1, nonce: Nonce.random())
    func outcomes() async throws -> [String: RedisReplyError.Code?] {
      let commands: [(String, RedisCommand)] = [
        ("takeLease", AgentBus.takeLease(agent, journal: address.journal, lease: lease, checked: "")),
        ("renewLease", AgentBus.renewLease(agent, address, lease: lease)), ("presence", AgentBus.presence(agent)),
        ("presenceWhenFull", AgentBus.presence(agent, whenFull: true)),
        ("confirm", AgentBus.confirm(agent, address, position, [id])),
        (
          "acknowledge",
          DashboardBus.acknowledge(agent, fence: 1, Acknowledgement(incarnation: address.incarnation, reports: 1, output: 1))
        ),
        ("tombstones", DashboardBus.tombstones(agent, fence: 1, number: .zero, [(id, .cancelled)])),
        ("control", try DashboardBus.control(agent, fence: 1, number: .zero, ControlMessage(.bell))),
        ("send", DashboardBus.send(agent, fence: 1, number: SendNumber(fence: 1), [(id: id, envelope: [1])])),
        ("report", AgentBus.report(shard: 0, [[1]])), ("raiseFence", DashboardBus.raiseFence(to: 1)),
        // What a dashboard does that starts meanwhile, before it reads the first report.
        ("raiseFenceWhenFull", DashboardBus.raiseFence(to: 1, whenFull: true)),
        ("takeDashboard", DashboardBus.takeDashboard(store: Nonce(1), process: Nonce(2), fence: 1)),
        ("renewDashboard", DashboardBus.renewDashboard(store: Nonce(1), process: Nonce(2), fence: 1)),
        ("compare", DashboardBus.compare(stranger, fence: 1)),
        ("fenceJournals", DashboardBus.fenceJournals(stranger, fence: 2, number: SendNumber(fence: 2), [Nonce(3)])),
        ("removeAgent", try DashboardBus.removeAgent(stranger, fence: 3, number: SendNumber(fence: 3), [])),
        ("dropDashboard", DashboardBus.dropDashboard(store: Nonce(1), process: Nonce(2), fence: 1)),
      ]
      let values = try await redis.pipeline(commands.map(\.1))
      return Dictionary(uniqueKeysWithValues: zip(commands.map(\.0), values.map { $0.error?.code }))
    }
    _ = try await redis.send(RedisCommand("CONFIG", "SET", "maxmemory", 1))
    let full = try await outcomes()
    #expect(Set(full.filter { $0.value == .oom }.keys) == ["presence", "send", "report", "raiseFence"])
    _ = try await redis.send(RedisCommand("CONFIG", "SET", "maxmemory", 0))
    let roomy = try await outcomes()
    #expect(roomy.allSatisfy { $0.value != .oom })
    await redis.close()
    try await server.stop()
  }

  @Test func risksAreSaidAndAServerThatMayNotBeAskedIsNot() async throws {
    let server = try await RedisServerProcess.start([
      "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--maxclients", "100",
    ])
    let redis = RedisConnection(server.configuration)
    try await redis.connected(within: .seconds(20))
    let risks = RedisRisks(try await redis.pipeline(RedisRisks.questions))
    #expect(risks.eviction?.contains("allkeys-lru") ?? false)
    #expect(risks.persistence?.contains("appendonly") ?? false)
    #expect(risks.maxClients == 100 && risks.memory == nil)
    #expect(risks.clients(agents: 30) == nil)
    #expect(risks.clients(agents: 60)?.contains("raise maxclients") ?? false)
    _ = try await redis.pipeline([
      RedisCommand("CONFIG", "SET", "maxmemory-policy", "noeviction"), RedisCommand("CONFIG", "SET", "appendonly", "yes"),
      RedisCommand("CONFIG", "SET", "maxmemory", "500kb"),
    ])
    let fine = RedisRisks(try await redis.pipeline(RedisRisks.questions))
    #expect(fine.eviction == nil && fine.persistence == nil && fine.memory?.contains("maxmemory") ?? false)
    let refused = RedisValue.error(RedisReplyError(message: "NOPERM this user has no permissions"))
    let unasked = RedisRisks(RedisRisks.questions.map { _ in refused })
    #expect(
      unasked.eviction == nil && unasked.persistence == nil && unasked.memory == nil && unasked.clients(agents: 10_000) == nil)
    await redis.close()
    try await server.kill()
  }
}
