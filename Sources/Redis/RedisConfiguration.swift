// Where a Redis server is and how long to be patient with it. A plain value: nothing is opened by making one.
// When adding a field that every new connection must announce, also add it to `Greeting`.

/// How to reach one Redis server.
public struct RedisConfiguration: Sendable {
  public enum Address: Sendable, Hashable, CustomStringConvertible {
    /// A name or a numeric address, and a port.
    case tcp(host: String, port: Int)
    /// The path of a unix socket, at most 107 bytes.
    case unix(path: String)

    public var description: String {
      switch self {
      case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
      case .unix(let path): path
      }
    }
  }

  public var address: Address
  /// For servers with ACLs; nil is Redis's user `default`.
  public var username: String?
  public var password: String?
  public var database: Int
  /// Shown by `CLIENT LIST`; no spaces. A server that forbids naming is not an error.
  public var clientName: String?
  /// Resolving, connecting and the greeting (AUTH, SELECT, …) together.
  public var connectTimeout: Duration
  /// For one call, from the moment it was made until its last reply. A connection that stays silent for this long while replies
  /// are due is given up.
  public var commandTimeout: Duration
  public var backoff: ReconnectBackoff

  public init(
    address: Address = .tcp(host: "127.0.0.1", port: 6379), username: String? = nil, password: String? = nil, database: Int = 0,
    clientName: String? = nil, connectTimeout: Duration = .seconds(5), commandTimeout: Duration = .seconds(5),
    backoff: ReconnectBackoff = ReconnectBackoff()
  ) {
    self.address = address
    self.username = username
    self.password = password
    self.database = database
    self.clientName = clientName
    self.connectTimeout = connectTimeout
    self.commandTimeout = commandTimeout
    self.backoff = backoff
  }
}

/// Never shows the password.
extension RedisConfiguration: CustomStringConvertible, CustomReflectable {
  public var description: String { "\(address)/\(database)" }
  public var customMirror: Mirror { Mirror(self, children: ["address": address, "database": database]) }
}
