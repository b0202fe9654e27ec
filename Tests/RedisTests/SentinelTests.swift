// The master behind Sentinels: real servers, real failovers.
import Glibc
import RedisTestSupport
import Testing

@testable import Redis

@Suite struct SentinelTests {
  private func client(_ group: SentinelGroup) -> RedisClient { RedisClient(group.configuration, home: "k") }

  /// Writes again and again until one is confirmed; returns how many had to be given up.
  private func write(_ client: RedisClient, _ value: Int) async throws {
    try await eventually("a write is confirmed", within: .seconds(60)) {
      (try? await client.send(RedisCommand("SET", "k", value))) != nil
    }
  }

  @Test func theMasterIsFoundAndFollowedThroughACrash() async throws {
    let group = try await SentinelGroup.start()
    // `ROLE` is the one right that Sentinels ask for beside those that a single server does.
    for server in group.servers {
      try await server.ask("ACL", "SETUSER", "least", "on", ">secret", "~*", "-@all", "+ping", "+role", "+set")
    }
    var configuration = group.configuration
    (configuration.username, configuration.password) = ("least", "secret")
    let client = RedisClient(configuration, home: "k")
    try await client.connected(within: .seconds(20))
    #expect(client.server == group.servers[0].configuration.address)
    #expect(client.whereabouts.contains("\(group.servers[0].port), the master \"fleet\" by Sentinel"))
    try await write(client, 1)

    // One Sentinel of three may be away.
    try await group.sentinels[2].kill()
    let epoch = client.epoch
    try await group.servers[0].kill()
    try await write(client, 2)
    let second = try await group.master()
    #expect(second !== group.servers[0])
    #expect(client.server == second.configuration.address)
    #expect(client.epoch > epoch)

    #expect(try await second.ask("GET", "k").string == "2")
    await client.close()
    try await group.stop()
  }

  @Test func anOrderedFailoverIsFollowed() async throws {
    let group = try await SentinelGroup.start(replicas: 1, sentinels: 1)
    var configuration = group.configuration
    configuration.masterCheck = .milliseconds(200)
    let client = RedisClient(configuration, home: "k")
    try await client.connected(within: .seconds(20))
    try await write(client, 1)
    try await group.sentinels[0].ask("SENTINEL", "FAILOVER", SentinelGroup.name)
    let new = group.servers[1].configuration.address
    try await eventually("the client is at the new master") {
      let answers = await client.outcomes(of: [RedisCommand("SET", "k", 2), RedisCommand("GET", "k")])
      // No call is broken off by that.
      for case .failure(let error) in answers { #expect(error.nothingWasSent) }
      return client.server == new
    }
    // The Sentinels have not told the old one yet: without asking them, its clients would write there for ten seconds more.
    #expect(try await group.servers[0].role().first?.string == "master")
    #expect(client.epoch > 1)
    try await write(client, 3)
    #expect(try await group.servers[1].ask("GET", "k").string == "3")
    await client.close()
    try await group.stop()
  }

  @Test func aMasterThatBecameAReplicaDidNothingOfWhatItRefusedAndIsLeft() async throws {
    let group = try await SentinelGroup.start(replicas: 1, sentinels: 1)
    let client = client(group)
    try await client.connected(within: .seconds(20))
    let (old, new) = (group.servers[0], group.servers[1])
    // By hand, so that nobody closes the client's connection.
    try await group.sentinels[0].ask("SENTINEL", "REMOVE", SentinelGroup.name)
    try await new.ask("REPLICAOF", "NO", "ONE")
    try await old.ask("REPLICAOF", "127.0.0.1", new.port)
    try await group.sentinels[0].ask("SENTINEL", "MONITOR", SentinelGroup.name, "127.0.0.1", new.port, 1)
    let outcomes = await client.outcomes(of: [
      RedisCommand("SET", "a", 1), RedisCommand("GET", "a"), RedisCommand("SET", "b", 1),
    ])
    #expect(outcomes[0] == .failure(.notSent(.notMaster)) && outcomes[2] == .failure(.notSent(.notMaster)))
    try await eventually("the client is at the new master") { client.server == new.configuration.address }
    try await write(client, 1)
    #expect(try await new.ask("GET", "a") == .null)
    await client.close()
    try await group.stop()
  }

  @Test func aServerThatIsNoMasterIsNotTakenForOne() async throws {
    let group = try await SentinelGroup.start(replicas: 1, sentinels: 1)
    // A Sentinel that is late: it still names what is a replica now.
    try await group.sentinels[0].ask("SENTINEL", "REMOVE", SentinelGroup.name)
    try await group.sentinels[0].ask("SENTINEL", "MONITOR", SentinelGroup.name, "127.0.0.1", group.servers[0].port, 2)
    try await group.servers[1].ask("REPLICAOF", "NO", "ONE")
    try await group.servers[0].ask("REPLICAOF", "127.0.0.1", group.servers[1].port)
    let client = client(group)
    var said: RedisError?
    try await eventually("it says that it found no master, but: \(String(describing: said))") {
      said = try await failure { () throws(RedisError) in try await client.connected(within: .milliseconds(100)) }
      return said == .notSent(.notMaster)
    }
    await client.close()
    try await group.stop()
  }

  /// A Sentinel that watches a server and knows nothing of others.
  private func sentinel(_ server: RedisServerProcess) async throws -> RedisServerProcess {
    try await RedisServerProcess.startSentinel([
      "sentinel monitor \(SentinelGroup.name) 127.0.0.1 \(server.port) 2",
      "sentinel down-after-milliseconds \(SentinelGroup.name) 600000",
    ])
  }

  private func configuration(_ sentinels: [RedisConfiguration.Address]) -> RedisConfiguration {
    RedisConfiguration(
      address: .sentinel(master: SentinelGroup.name, sentinels: sentinels), commandTimeout: .seconds(20),
      backoff: ReconnectBackoff(cap: .seconds(1)))
  }

  /// Where so many new connections go, each of which begins with any Sentinel.
  private func expectAll(_ configuration: RedisConfiguration, at server: RedisServerProcess) async throws {
    for _ in 0..<12 {
      let client = RedisClient(configuration, home: "k")
      try await client.connected(within: .seconds(60))
      #expect(client.server == server.configuration.address)
      await client.close()
    }
  }

  @Test func aSentinelThatIsCutOffWithAnOldMasterIsOutvoted() async throws {
    let (old, new) = (try await RedisServerProcess.start(), try await RedisServerProcess.start())
    var sentinels: [RedisServerProcess] = []
    for _ in 0..<3 { sentinels.append(try await sentinel(old)) }
    var configuration = configuration(sentinels.map(\.configuration.address))
    configuration.masterCheck = .milliseconds(100)
    // Some of them began with the first Sentinel.
    let clients = (0..<6).map { _ in RedisClient(configuration, home: "k") }
    for client in clients {
      try await client.connected(within: .seconds(60))
      #expect(client.server == old.configuration.address)
    }
    for other in sentinels[1...] {
      try await other.ask("SENTINEL", "REMOVE", SentinelGroup.name)
      try await other.ask("SENTINEL", "MONITOR", SentinelGroup.name, "127.0.0.1", new.port, 2)
    }
    try await eventually("all are at the new master", within: .seconds(60)) {
      clients.allSatisfy { $0.server == new.configuration.address }
    }
    try await expectAll(configuration, at: new)
    for client in clients { await client.close() }
    for server in sentinels + [old, new] { try await server.kill() }
  }

  @Test func ofTwoSentinelsTheOneThatKnowsTheNewerFailoverIsBelieved() async throws {
    let stale = try await RedisServerProcess.start()
    let late = try await sentinel(stale)
    let group = try await SentinelGroup.start(replicas: 1, sentinels: 1)
    try await group.sentinels[0].ask("SENTINEL", "FAILOVER", SentinelGroup.name)
    try await eventually("the failover is over", within: .seconds(60)) {
      guard try await group.master() === group.servers[1] else { return false }
      return try await group.servers[1].role().first?.string == "master"
    }
    try await expectAll(configuration([late, group.sentinels[0]].map(\.configuration.address)), at: group.servers[1])
    for server in [late, stale] { try await server.kill() }
    try await group.stop()
  }

  @Test func silentSentinelsLeaveTimeForTheMasterThatAnotherOneNames() async throws {
    let server = try await RedisServerProcess.start()
    let sentinel = try await sentinel(server)
    let silent = try (0..<2).map { _ in try Listener { connection, _ in readToEnd(connection) } }
    var configuration = configuration(silent.map { $0.configuration().address } + [sentinel.configuration.address])
    configuration.connectTimeout = .seconds(12)
    let connection = RedisConnection(configuration)
    // Its first attempt.
    try await connection.connect()
    #expect(connection.server == server.configuration.address)
    await connection.close()
    for server in [sentinel, server] { try await server.kill() }
  }

  @Test func eachAddressOfANameHasItsShareOfTheTime() async throws {
    let server = try await RedisServerProcess.start()
    let silent = try Listener { connection, _ in readToEnd(connection) }
    let query = SentinelQuery(
      master: "fleet", sentinels: [], order: [], username: nil, password: nil, deadline: .now + .seconds(60))
    let addresses = [silent.port, server.port].flatMap { SocketAddress.numeric(host: "127.0.0.1", port: $0) ?? [] }
    let answer = await withCheckedContinuation { (continuation: CheckedContinuation<Result<[RedisValue], RedisFault>, Never>) in
      // It blocks.
      let code = BackgroundThread.start(name: "asking") {
        let answer: Result<[RedisValue], RedisFault>
        do throws(RedisFault) {
          answer = .success(try query.ask([RedisCommand("PING")], at: addresses, within: .seconds(6)))
        } catch {
          answer = .failure(error)
        }
        continuation.resume(returning: answer)
      }
      if code != 0 { continuation.resume(returning: .failure(.system(operation: "pthread_create", errno: code))) }
    }
    #expect(answer == .success([.status("PONG")]))
    try await server.kill()
  }

  @Test func aSentinelMayWantThePasswordAndAnUnknownNameIsSaid() async throws {
    let group = try await SentinelGroup.start(replicas: 0, sentinels: 1, sentinelLines: ["requirepass secret"])
    var configuration = group.configuration
    configuration.password = "secret"
    // The server itself has no password: AUTH is refused there, so the password goes to a user who has it.
    try await group.servers[0].ask("ACL", "SETUSER", "default", "on", ">secret", "~*", "+@all")
    let client = RedisClient(configuration, home: "k")
    try await client.connected(within: .seconds(20))
    #expect(client.server == group.servers[0].configuration.address)
    await client.close()

    configuration.address = .sentinel(master: "another", sentinels: group.sentinels.map(\.configuration.address))
    let stranger = RedisClient(configuration, home: "k")
    var said = ""
    try await eventually("it says that nobody knows that name, but: \(said)") {
      said = "\(try await failure { () throws(RedisError) in try await stranger.connected(within: .milliseconds(100)) })"
      return said.contains("no Sentinel names the master \"another\"") && said.contains("does not know that name")
    }
    await stranger.close()
    try await group.stop()
  }
}
