// A master, its replicas and the Sentinels that watch them: real servers with short timeouts.
import Redis

/// One master with replicas and Sentinels; they end with it.
public final class SentinelGroup: Sendable {
  public static let name = "fleet"
  /// All that hold data; the first one begins as master.
  public let servers: [RedisServerProcess]
  public let sentinels: [RedisServerProcess]

  /// How to connect to whoever is the master.
  public var configuration: RedisConfiguration {
    RedisConfiguration(
      address: .sentinel(master: Self.name, sentinels: sentinels.map(\.configuration.address)), commandTimeout: .seconds(20),
      backoff: ReconnectBackoff(cap: .seconds(1))
    )
  }

  /// Starts everything and waits until every Sentinel knows every other, all replicas are in step and each Sentinel could promote any.
  public static func start(replicas: Int = 2, sentinels: Int = 3, sentinelLines: [String] = []) async throws -> SentinelGroup {
    let common = ["--repl-diskless-sync-delay", "0", "--repl-timeout", "5"]
    var servers = [try await RedisServerProcess.start(common)]
    for _ in 0..<replicas {
      servers.append(try await RedisServerProcess.start(common + ["--replicaof", "127.0.0.1 \(servers[0].port)"]))
    }
    let lines = [
      "sentinel monitor \(name) 127.0.0.1 \(servers[0].port) \(sentinels / 2 + 1)",
      // Longer than a loaded machine leaves a server without time.
      "sentinel down-after-milliseconds \(name) 2000",
      "sentinel failover-timeout \(name) 3000", "sentinel parallel-syncs \(name) 2",
    ]
    var watchers: [RedisServerProcess] = []
    for _ in 0..<sentinels { watchers.append(try await RedisServerProcess.startSentinel(lines + sentinelLines)) }
    let group = SentinelGroup(servers, watchers)
    for server in servers.dropFirst() {
      try await eventually("a replica is in step") { try await server.role()[3].string == "connected" }
    }
    guard sentinelLines.isEmpty else { return group }
    for sentinel in watchers {
      var known: [[String: String]] = []
      try await eventually("a Sentinel knows the others and may promote any replica; it knows \(known)") {
        let others = try await sentinel.ask("SENTINEL", "SENTINELS", name).array?.count
        known = try await sentinel.ask("SENTINEL", "REPLICAS", name).array?.map(fields) ?? []
        return others == sentinels - 1 && known.count == replicas && known.allSatisfy(isFitForFailover)
      }
    }
    return group
  }

  /// Field and value in turns, as Sentinels describe a server.
  private static func fields(of description: RedisValue) -> [String: String] {
    let words = description.array?.compactMap(\.string) ?? []
    return Dictionary(stride(from: 0, to: words.count - 1, by: 2).map { (words[$0], words[$0 + 1]) }) { $1 }
  }

  /// Neither down nor disconnected, and asked at least once how it stands: any other is no good replica (`SENTINEL FAILOVER` is refused).
  private static func isFitForFailover(_ replica: [String: String]) -> Bool {
    replica["flags"] == "slave" && replica["info-refresh"] != "0" && replica["master-link-status"] == "ok"
  }

  private init(_ servers: [RedisServerProcess], _ sentinels: [RedisServerProcess]) {
    (self.servers, self.sentinels) = (servers, sentinels)
  }

  /// The server that says it is the master; of several the one that the first Sentinel means.
  public func master() async throws -> RedisServerProcess {
    let words = try await sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self.name).array
    let port = words?.last?.integer.map { Int($0) }
    guard let server = servers.first(where: { $0.port == port }) else { throw TestFailure("no master: \(words ?? [])") }
    return server
  }

  /// Ends everything.
  public func stop() async throws {
    for server in sentinels + servers where server.pid != nil { try await server.kill() }
  }
}

extension RedisServerProcess {
  /// One command over a connection of its own; an error reply is thrown.
  @discardableResult public func ask(_ name: String, _ arguments: any RedisArgument...) async throws -> RedisValue {
    let connection = RedisConnection(configuration)
    do {
      try await connection.connected(within: .seconds(10))
      let value = try await connection.send(RedisCommand(name, arguments: arguments))
      await connection.close()
      return value
    } catch {
      await connection.close()
      throw error
    }
  }

  /// The same with the arguments as a list.
  @discardableResult public func ask(_ name: String, _ arguments: [String]) async throws -> RedisValue {
    let connection = RedisConnection(configuration)
    defer { Task { await connection.close() } }
    try await connection.connected(within: .seconds(10))
    return try await connection.send(RedisCommand(name, arguments: arguments))
  }

  /// What `ROLE` says.
  public func role() async throws -> [RedisValue] { try await ask("ROLE").array ?? [] }
}
