// What is said on every new connection before anyone may use it, and what the answers mean. Pure.
// PING comes last because it is the first command that a server which is still loading, wants a password or has too many clients
// refuses; only a server that Sentinels named has to say beside that that it is a master: they may know it late. When adding a command, also say in `fault(in:)` whether its error matters.

struct Greeting {
  private enum Step { case authenticate, select, name, ping, role }

  private let steps: [Step]
  let commands: [RedisCommand]
  private let password: String

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
    if case .sentinel = configuration.address { steps.append((.role, RedisCommand("ROLE"))) }
    password = configuration.password ?? ""
    self.steps = steps.map(\.0)
    commands = steps.map(\.1)
  }

  /// Whether a reply to the n-th command ends the attempt. A reply after which other commands still work does not.
  func fault(in reply: RedisValue, toCommand index: Int) -> RedisFault? {
    guard steps.indices.contains(index) else { return nil }
    guard let error = reply.error else {
      guard case .role = steps[index] else { return nil }
      return reply.array?.first?.string == "master" ? nil : .notMaster
    }
    if case .authenticate = steps[index] { return .refused(error.hiding(password)) }
    switch error.code {
    case .noAuth, .wrongPass, .loading, .maxClients: return .refused(error)
    default: break
    }
    switch steps[index] {
    case .authenticate, .select: return .refused(error)
    // Whoever may not ask for the role learns it from the first command that is refused as read-only.
    case .name, .role: return nil
    case .ping:
      // A full or read-only server, one without its master or with a busy script answers PING so, and other commands still.
      switch error.code {
      case .noPerm, .misconf, .masterDown, .busy, .readOnly, .clusterDown, .oom: return nil
      default: return .refused(error)
      }
    }
  }
}
