// The master behind Sentinels: real servers, real failovers.
import Glibc
import RedisTestSupport
import Testing

@testable import Redis

@Suite struct SentinelTests {
  private func client(_ group: SentinelGroup) -> RedisClient { RedisClient(group.configuration, home: "k") }

  /// Writes again and again until one is confirmed; returns how many had to be given up.
  private func write(_ client: RedisClient, _ value: Int) async throws {
    try await eventually("a write is confirmed") { (try? await client.send(RedisCommand("SET", "k", value))) != nil }
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
    let error = try await failure { () throws(RedisError) in try await client.connected(within: .milliseconds(700)) }
    #expect(error == .notSent(.notMaster))
    await client.close()
    try await group.stop()
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
    let error = try await failure { () throws(RedisError) in try await stranger.connected(within: .milliseconds(500)) }
    #expect("\(error)".contains("no Sentinel names the master \"another\"") && "\(error)".contains("does not know that name"))
    await stranger.close()
    try await group.stop()
  }
}
