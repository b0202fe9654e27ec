// What is risky about a Redis, told from what INFO and CONFIG say. Pure. Both programs look at it when they have connected; one that may not
// ask (ACL) says nothing.
// When adding a risk, also: docs/operations.md.
import Redis

public struct RedisRisks: Sendable {
  /// What to ask, in this order.
  public static let questions = [
    RedisCommand("INFO", "memory"), RedisCommand("INFO", "persistence"), RedisCommand("INFO", "clients"),
    RedisCommand("CONFIG", "GET", "save"),
  ]

  /// It may drop keys.
  public var eviction: String?
  /// It forgets everything when it is restarted.
  public var persistence: String?
  /// Clients that it takes at once; nil: it does not say.
  public var maxClients: Int?
  public var connectedClients: Int?
  /// Memory in use and what it may use, bytes; nil: it does not say, or there is no limit.
  public var usedMemory: Int?
  public var maxMemory: Int?

  public init(_ answers: [RedisValue]) {
    guard answers.count == Self.questions.count else { return }
    let memory = Self.fields(answers[0])
    if let policy = memory["maxmemory_policy"], policy != "noeviction" {
      eviction = "Redis may evict keys (maxmemory-policy \(policy)): work on its way could be lost; set it to noeviction"
    }
    usedMemory = memory["used_memory"].flatMap { Int($0) }
    maxMemory = memory["maxmemory"].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
    let persists = Self.fields(answers[1])["aof_enabled"] != "0"
    if !persists, let saves = answers[3].array?.last?.string, saves.isEmpty {
      persistence =
        "Redis keeps nothing on disk: after its restart agents and dashboard repair what was on its way, but tasks put into plain keys by hand are lost; turn on appendonly"
    }
    let clients = Self.fields(answers[2])
    maxClients = clients["maxclients"].flatMap { Int($0) }
    connectedClients = clients["connected_clients"].flatMap { Int($0) }
  }

  /// A dashboard's connections: one for commands, one for each stream's reader, and a few for whoever looks with redis-cli.
  static let dashboardClients = 1 + 2 * Keys.shards + 16

  /// Connections that a fleet may need: each agent one, and a second one while it has something to tell.
  public static func clientsNeeded(agents: Int) -> Int { 2 * agents + dashboardClients }

  /// Too few connections for a fleet of that size.
  public func clients(agents: Int) -> String? {
    guard let maxClients, maxClients < Self.clientsNeeded(agents: agents) else { return nil }
    return
      "Redis takes \(maxClients) clients, and \(agents) agents with their dashboard may need \(Self.clientsNeeded(agents: agents)): raise maxclients (and its limit of open files)"
  }

  /// Nearly full.
  public var memory: String? {
    guard let usedMemory, let maxMemory, usedMemory >= maxMemory / 10 * 9 else { return nil }
    return
      "Redis uses \(usedMemory >> 20) of the \(maxMemory >> 20) MiB that it may (maxmemory): when it is full nothing is sent or reported; raise it"
  }

  private static func fields(_ value: RedisValue) -> [String: String] {
    var found: [String: String] = [:]
    for line in (value.string ?? "").split(whereSeparator: \.isNewline) {
      let pair = line.split(separator: ":", maxSplits: 1)
      if pair.count == 2 { found[String(pair[0])] = String(pair[1]) }
    }
    return found
  }
}
