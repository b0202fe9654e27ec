// Says what is risky about the Redis in use (DESIGN section 4; `RedisRisks`): a policy that may evict keys, no persistence, too few clients for
// the fleet, nearly no memory left. Looked at every 15 s; what may not be asked (ACL) is not said.
import Logging
import Redis
import ServiceLifecycle
import Shared

struct RedisInspector: Service {
  let link: RedisLink
  let fleet: Fleet
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
      let risks = RedisRisks(try await server.pipeline(RedisRisks.questions))
      let lines: [(HealthBoard.Line, String?)] = [
        (.eviction, risks.eviction), (.persistence, risks.persistence), (.clients, risks.clients(agents: fleet.count)),
        (.memory, risks.memory),
      ]
      for case (let line, let sentence?) in lines where found[line] == nil {
        found[line] = name.map { "\($0): \(sentence)" } ?? sentence
      }
    }
    for line in [HealthBoard.Line.eviction, .persistence, .clients, .memory] { report(line, found[line]) }
  }

  private func report(_ line: HealthBoard.Line, _ sentence: String?) {
    // The numbers in it change; that it is so is said once.
    if let sentence, health.reason(line) == nil { logger.warning("\(sentence)") }
    health.set(line, sentence)
  }
}
