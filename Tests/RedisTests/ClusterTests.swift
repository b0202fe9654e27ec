// A Cluster as one server: real nodes, a slot on its way, a master that is killed.
import Glibc
import RedisTestSupport
import Synchronization
import Testing

@testable import Redis

@Suite struct ClusterTests {
  @Test(arguments: [
    ("123456789", 0x31C3), ("foo", 12182), ("", 0), ("foo{}{bar}", 8363), ("foo{{bar}}zap", 4015), ("foo{bar}{zap}", 5061),
    ("{bar}", 5061), ("bar", 5061), ("muster:{bar}:inbox", 5061),
  ])
  func aKeysSlotIsThatOfItsHashTag(key: String, slot: Int) {
    #expect(HashSlot.of(key.utf8) == slot)
  }

  @Test func theKeyThatDecidesWhereACommandGoesIsFound() {
    let script = RedisScript(name: "s", source: "return 1")
    let table: [(RedisCommand, String?)] = [
      (RedisCommand("GET", "k"), "k"), (RedisCommand("set", "", 1), ""), (RedisCommand("TIME"), nil), (RedisCommand("PING"), nil),
      (RedisCommand("XREAD", "COUNT", 5, "BLOCK", 1000, "STREAMS", "s", "0-0"), "s"), (RedisCommand("SCAN", "0"), nil),
      (RedisCommand("INFO", "memory"), nil), (script.call(keys: ["a", "b"], ["c"]), "a"), (script.call(keys: [], ["c"]), nil),
      (RedisCommand("TIME").routed(like: "k"), "k"), (RedisCommand("BLPOP", "l\r\n$", 1), "l\r\n$"), (RedisCommand("GET"), nil),
    ]
    for (command, key) in table { #expect(command.routingKey == key.map { Array($0.utf8) }, "\(command.name)") }
  }

  private func client(_ group: ClusterGroup, home: String = "home", watchesAll: Bool = false, user: String? = nil) async throws
    -> RedisClient
  {
    var configuration = group.configuration
    if let user { (configuration.username, configuration.password) = (user, "secret") }
    let client = RedisClient(configuration, home: home, watchesAll: watchesAll)
    try await client.connected(within: .seconds(20))
    return client
  }

  @Test func commandsGoToTheirNodesAndASlotMayMoveUnderThem() async throws {
    let group = try await ClusterGroup.start()
    // With no more rights than its own commands and the two that docs/redis.md names for a Cluster.
    for master in group.masters {
      try await master.ask(
        "ACL", "SETUSER", "least", "on", ">secret", "~*", "-@all", "+ping", "+cluster|slots", "+asking", "+get", "+set", "+mget",
        "+incr",
        "+rpush", "+llen", "+blpop", "+eval", "+evalsha")
    }
    let client = try await client(group, user: "least")
    #expect(client.epoch == 1 && client.isCluster)

    // Pipelines are split, the replies come in order.
    let keys = (0..<300).map { "key-\($0)" }
    let written = try await client.pipeline(keys.enumerated().map { RedisCommand("SET", $1, $0) })
    #expect(written.allSatisfy { $0 == .status("OK") })
    #expect(try await client.pipeline(keys.map { RedisCommand("GET", $0) }).map(\.integer) == (0..<300).map { Int64($0) })
    #expect(client.servers().count == 3)
    var sizes = 0
    for master in group.masters { sizes += Int(try await master.ask("DBSIZE").integer ?? 0) }
    #expect(sizes == 300)
    let crossing = try await client.pipeline([RedisCommand("MGET", "key-1", "key-2"), RedisCommand("GET", "key-1")])
    #expect(crossing[0].error?.code == .crossSlot && crossing[1].integer == 1)
    let refused = await client.outcomes(of: [RedisCommand("MULTI"), RedisCommand("EXEC")])
    #expect(refused.allSatisfy { if case .failure(.notSent(.unsupported)) = $0 { true } else { false } })

    try await followsASlot(group, client)
    await client.close()
    try await group.stop()
  }

  /// Adds to two keys of one slot, by one script; KEYS counter, list.
  private static let count = RedisScript(
    name: "count",
    source: """
      redis.call('RPUSH', KEYS[2], ARGV[1])
      return redis.call('INCR', KEYS[1])
      """)

  private func followsASlot(_ group: ClusterGroup, _ client: RedisClient) async throws {
    let (slot, old) = try await group.owner(of: "{moving}")
    let new = try #require(group.masters.first { $0 !== old })
    let epoch = client.epoch
    for index in 0..<30 { _ = try await client.send(RedisCommand("SET", "{moving}-\(index)", index)) }
    // Whoever writes while the slot moves: every call is done once or says that it was not done.
    let isOver = Mutex(false)
    async let writer: Int = {
      var done = 0
      for number in 0..<100_000 {
        if isOver.withLock({ $0 }) { break }
        let call = Self.count.call(keys: ["{moving}count", "{moving}list"], [number])
        switch await client.outcomes(of: [call])[0] {
        case .success(.integer): done += 1
        case .failure(let error) where error.nothingWasSent: break
        case let other: Issue.record("\(other)")
        }
      }
      return done
    }()
    // Waits on a list of that slot, and is called there wherever the slot is by then.
    let waiter = try await self.client(group)
    let waiting = Task { () async throws -> RedisValue in
      try await waiter.blocking(RedisCommand("BLPOP", "{moving}bell", 120), for: .seconds(120))
    }
    try await group.beginMoving(slot, from: old, to: new)
    try await group.moveKeys(7, of: slot, from: old, to: new)
    // Some keys here, some there.
    let half = try await client.pipeline((0..<30).map { RedisCommand("GET", "{moving}-\($0)") })
    #expect(half.map(\.integer) == (0..<30).map { Int64($0) })
    while try await group.moveKeys(10, of: slot, from: old, to: new) > 0 {}
    try await group.endMoving(slot, from: old, to: new)
    let whole = try await client.pipeline((0..<30).map { RedisCommand("GET", "{moving}-\($0)") })
    #expect(whole.map(\.integer) == (0..<30).map { Int64($0) })
    let before = try await client.send(RedisCommand("LLEN", "{moving}list")).integer ?? 0
    try await eventually("the writer goes on at the new node") {
      try await client.send(RedisCommand("LLEN", "{moving}list")).integer ?? 0 > before + 5
    }
    isOver.withLock { $0 = true }
    let done = await writer
    #expect(try await client.send(RedisCommand("GET", "{moving}count")).integer == Int64(done))
    #expect(try await client.send(RedisCommand("LLEN", "{moving}list")).integer == Int64(done))
    _ = try await client.send(RedisCommand("RPUSH", "{moving}bell", "x"))
    #expect(try await waiting.value.array?.last?.string == "x")
    await waiter.close()
    try await eventually("whoever registered something is told to do it again") { client.epoch > epoch }
    let isConnected = if case .connected = client.state { true } else { false }
    #expect(isConnected, "\(client.state)")
  }

  @Test func afterAMasterWasKilledItsSlotsAreServedByItsReplica() async throws {
    let group = try await ClusterGroup.start(withReplicas: true)
    let victim = try await group.owner(of: "home").server
    let client = try await client(group)
    let all = try await self.client(group, watchesAll: true)
    let elsewhere = try #require(
      ["a", "b", "c", "d", "e", "f"].first { HashSlot.of($0.utf8) / 5462 != HashSlot.of("home".utf8) / 5462 })
    _ = try await client.pipeline([RedisCommand("SET", "home", 1), RedisCommand("SET", elsewhere, 1)])
    let (epoch, epochOfAll) = (client.epoch, all.epoch)
    let states = all.states()
    try await victim.kill()
    try await eventually("writes are confirmed again", within: .seconds(60)) {
      (try? await client.send(RedisCommand("SET", "home", 2))) != nil
    }
    #expect(client.server != victim.configuration.address)
    #expect(client.epoch > epoch)
    try await all.connected(within: .seconds(60))
    #expect(all.epoch > epochOfAll)
    #expect(all.whereabouts.contains("a Cluster of") && !all.whereabouts.contains("\(victim.port)"))
    var wasDown = false
    for await state in states {
      if case .down = state { wasDown = true }
      if case .connected(let now) = state, now > epochOfAll { break }
    }
    #expect(wasDown)
    // It comes back as a replica of its replica; nobody is lost by that.
    try await victim.restart()
    try await eventually("the old master is a replica") { try await victim.role().first?.string == "slave" }
    #expect(try await client.pipeline([RedisCommand("GET", "home"), RedisCommand("GET", elsewhere)]).map(\.integer) == [2, 1])
    await client.close()
    await all.close()
    try await group.stop()
  }

  @Test func aServerThatIsNoClusterIsNamed() async throws {
    let server = try await RedisServerProcess.start()
    var configuration = server.configuration
    configuration.cluster = [server.configuration.address]
    let client = RedisClient(configuration, home: "k")
    var said = ""
    try await eventually("it is named, but: \(said)") {
      said = "\(try await failure { () throws(RedisError) in try await client.connected(within: .milliseconds(100)) })"
      return said.contains("\(server.port)") && said.contains("cluster support disabled")
    }
    await client.close()
    try await server.stop()
  }
}
