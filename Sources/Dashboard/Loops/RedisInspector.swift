// Says what is risky about the Redis in use (DESIGN section 4): a policy that may evict keys, no persistence, a version too old. Looked at
// after every reconnect and each minute; a server that refuses CONFIG is asked by INFO alone.
import Logging
import Redis
import ServiceLifecycle
import Shared

struct RedisInspector: Service {
  let link: RedisLink
  let health: HealthBoard
  let logger: Logger

  func run() async throws {
    await cancelWhenGracefulShutdown {
      while !Task.isCancelled {
        do {
          try await link.commands.connected(within: .seconds(3600))
          try await inspect()
        } catch { logger.debug("Redis not inspected", metadata: ["why": "\(error)"]) }
        if !(await pause(.seconds(15))) { break }
      }
    }
  }

  func inspect() async throws {
    // Of a Cluster, every master; one sentence per line is enough, and it names the server.
    var found: [HealthBoard.Line: String] = [:]
    let servers = link.commands.servers()
    for server in servers {
      let name = servers.count > 1 ? server.configuration.address.description : nil
      for (line, sentence) in try await findings(of: server) where found[line] == nil {
        found[line] = name.map { "\($0): \(sentence)" } ?? sentence
      }
    }
    for line in [HealthBoard.Line.eviction, .persistence] { report(line, found[line]) }
  }

  private func findings(of server: RedisConnection) async throws -> [HealthBoard.Line: String] {
    let values = try await server.pipeline([
      RedisCommand("INFO", "memory"), RedisCommand("INFO", "persistence"), RedisCommand("CONFIG", "GET", "save"),
    ])
    var found: [HealthBoard.Line: String] = [:]
    let memory = fields(values[0])
    let persistence = fields(values[1])
    let policy = memory["maxmemory_policy"] ?? "unknown"
    if policy != "noeviction" {
      found[.eviction] = "Redis may evict keys (maxmemory-policy \(policy)): work on its way could be lost; set it to noeviction"
    }
    let saves = values[2].array?.last?.string ?? ""
    let persists = persistence["aof_enabled"] == "1" || !saves.isEmpty || values[2].error != nil
    if !persists {
      found[.persistence] =
        "Redis keeps nothing on disk: after its restart agents and dashboard repair what was on its way, but tasks put into plain keys by hand are lost; turn on appendonly"
    }
    return found
  }

  private func report(_ line: HealthBoard.Line, _ sentence: String?) {
    if let sentence, health.reason(line) != sentence { logger.warning("\(sentence)") }
    health.set(line, sentence)
  }

  private func fields(_ value: RedisValue) -> [String: String] {
    var found: [String: String] = [:]
    for line in (value.string ?? "").split(whereSeparator: \.isNewline) {
      let pair = line.split(separator: ":", maxSplits: 1)
      if pair.count == 2 { found[String(pair[0])] = String(pair[1]) }
    }
    return found
  }
}
