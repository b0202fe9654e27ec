// A Redis Cluster of real servers with short timeouts, and what an operator does to one: moving a slot step by step.
import Redis

/// Masters that share all slots evenly, each with one replica where asked for; they end with it.
public final class ClusterGroup: Sendable {
  public let masters: [RedisServerProcess]
  public let replicas: [RedisServerProcess]

  public var servers: [RedisServerProcess] { masters + replicas }

  /// How to connect, beginning with the first master.
  public var configuration: RedisConfiguration {
    var configuration = RedisConfiguration(commandTimeout: .seconds(20), backoff: ReconnectBackoff(cap: .seconds(1)))
    configuration.cluster = [masters[0].configuration.address]
    return configuration
  }

  /// Starts everything and waits until every node finds the Cluster well.
  public static func start(masters count: Int = 3, withReplicas: Bool = false) async throws -> ClusterGroup {
    var servers: [RedisServerProcess] = []
    var buses: [Int] = []
    for _ in 0..<(withReplicas ? 2 * count : count) {
      let bus = try freePort()
      buses.append(bus)
      servers.append(
        try await RedisServerProcess.start([
          // Short for a failover, and longer than a loaded machine leaves a node without time.
          "--cluster-enabled", "yes", "--cluster-port", "\(bus)", "--cluster-node-timeout", "3000",
          "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
        ]))
    }
    let group = ClusterGroup(Array(servers[..<count]), Array(servers[count...]))
    for (index, master) in group.masters.enumerated() {
      try await master.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
      let (first, next) = (16384 * index / count, 16384 * (index + 1) / count)
      try await master.ask("CLUSTER", "ADDSLOTSRANGE", first, next - 1)
    }
    for (server, bus) in zip(servers, buses).dropFirst() {
      try await servers[0].ask("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
    }
    for server in servers {
      try await eventually("a node knows all others") {
        let rows = try await server.ask("CLUSTER", "NODES").string?.split(separator: "\n").filter { $0.contains(" connected") }
        return rows?.count == servers.count
      }
    }
    for (replica, master) in zip(group.replicas, group.masters) {
      let id = try await master.id()
      try await eventually("a replica follows its master") { (try? await replica.ask("CLUSTER", "REPLICATE", id)) != nil }
    }
    for replica in group.replicas {
      try await eventually("a replica is in step") {
        let role = try await replica.role()
        return role.count > 3 && role[3].string == "connected"
      }
    }
    for server in servers {
      try await eventually("every node finds the Cluster well") {
        let rows = try await server.ask("CLUSTER", "SLOTS").array ?? []
        let isWhole = rows.count == count && rows.allSatisfy { $0.array?.count == (withReplicas ? 4 : 3) }
        let isWell = try await server.ask("CLUSTER", "INFO").string?.contains("cluster_state:ok") ?? false
        return isWhole && isWell
      }
    }
    return group
  }

  private init(_ masters: [RedisServerProcess], _ replicas: [RedisServerProcess]) {
    (self.masters, self.replicas) = (masters, replicas)
  }

  /// The slot of a key, and the server that has it, as a living node says.
  public func owner(of key: String) async throws -> (slot: Int, server: RedisServerProcess) {
    guard let asked = servers.first(where: { $0.pid != nil }) else { throw TestFailure("no node lives") }
    let slot = Int(try await asked.ask("CLUSTER", "KEYSLOT", key).integer ?? -1)
    for row in try await asked.ask("CLUSTER", "SLOTS").array ?? [] {
      guard let fields = row.array, let first = fields[0].integer, let last = fields[1].integer,
        (Int(first)...Int(last)).contains(slot)
      else { continue }
      let port = fields[2].array?[1].integer.map { Int($0) }
      if let server = servers.first(where: { $0.port == port }) { return (slot, server) }
    }
    throw TestFailure("nobody has slot \(slot)")
  }

  /// The first steps of moving a slot: the new owner expects it, the old one sends elsewhere what it does not find.
  public func beginMoving(_ slot: Int, from old: RedisServerProcess, to new: RedisServerProcess) async throws {
    try await new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", try await old.id())
    try await old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", try await new.id())
  }

  /// Moves up to `count` of the slot's keys; returns how many it found.
  @discardableResult public func moveKeys(_ count: Int, of slot: Int, from old: RedisServerProcess, to new: RedisServerProcess)
    async throws -> Int
  {
    let keys = try await old.ask("CLUSTER", "GETKEYSINSLOT", slot, count).array ?? []
    for key in keys { try await old.ask("MIGRATE", "127.0.0.1", new.port, key.bytes ?? [], 0, 5000) }
    return keys.count
  }

  /// The last step, once no key is left.
  public func endMoving(_ slot: Int, from old: RedisServerProcess, to new: RedisServerProcess) async throws {
    let id = try await new.id()
    for server in [new, old] { try await server.ask("CLUSTER", "SETSLOT", slot, "NODE", id) }
  }

  /// Ends everything.
  public func stop() async throws {
    for server in servers where server.pid != nil { try await server.kill() }
  }
}

extension RedisServerProcess {
  /// The node's name in its Cluster.
  public func id() async throws -> String { try await ask("CLUSTER", "MYID").string ?? "" }
}
