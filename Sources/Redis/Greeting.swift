// What is said on every new connection before anyone may use it, and what the answers mean. Pure.
// PING comes last because it is the first command that a server which is still loading, wants a password or has too many clients
// refuses. When adding a command, also say in `fault(in:)` whether its error matters.

struct Greeting {
  private enum Step { case authenticate, select, name, ping }

  private let steps: [Step]
  let commands: [RedisCommand]

  init(_ configuration: RedisConfiguration) {
    var steps: [(Step, RedisCommand)] = []
    if let username = configuration.username {
      steps.append((.authenticate, RedisCommand("AUTH", username, configuration.password ?? "")))
    } else if let password = configuration.password {
      steps.append((.authenticate, RedisCommand("AUTH", password)))
    }
    if configuration.database != 0 { steps.append((.select, RedisCommand("SELECT", configuration.database))) }
    if let name = configuration.clientName { steps.append((.name, RedisCommand("CLIENT", "SETNAME", name))) }
    steps.append((.ping, RedisCommand("PING")))
    self.steps = steps.map(\.0)
    commands = steps.map(\.1)
  }

  /// Whether a reply to the n-th command ends the attempt. A reply after which other commands still work does not.
  func fault(in reply: RedisValue, toCommand index: Int) -> RedisFault? {
    guard let error = reply.error, steps.indices.contains(index) else { return nil }
    switch error.code {
    case .noAuth, .wrongPass, .loading, .maxClients: return .refused(error)
    default: break
    }
    switch steps[index] {
    case .authenticate, .select: return .refused(error)
    case .name: return nil
    case .ping:
      // A full or read-only server, one without its master or with a busy script answers PING so, and other commands still.
      switch error.code {
      case .noPerm, .misconf, .masterDown, .busy, .readOnly, .clusterDown, .oom: return nil
      default: return .refused(error)
      }
    }
  }
}
