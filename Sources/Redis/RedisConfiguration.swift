// Where a Redis server is, or who knows, and how long to be patient with it. A plain value: nothing is opened by making one.
// When adding a field that every new connection must announce, also add it to `Greeting`.

/// How to reach a Redis: one server, the master that Sentinels name, or a Cluster.
public struct RedisConfiguration: Sendable {
  public enum Address: Sendable, Hashable, CustomStringConvertible {
    /// A name or a numeric address, and a port.
    case tcp(host: String, port: Int)
    /// The path of a unix socket, at most 107 bytes.
    case unix(path: String)
    /// Wherever these Sentinels say that the master of this name is. Asked before each attempt; taken only where it says itself that it
    /// is a master.
    indirect case sentinel(master: String, sentinels: [Address])

    public var description: String {
      switch self {
      case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
      case .unix(let path): path
      case .sentinel(let master, let sentinels):
        "the master \(master) (Sentinels \(sentinels.map(\.description).joined(separator: ", ")))"
      }
    }
  }

  public var address: Address
  /// Nodes of a Cluster to begin with; `RedisClient` then finds the others and leaves `address` alone. Empty: no Cluster.
  public var cluster: [Address] = []
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
  /// With Sentinels: how often, about, they are asked whether they still mean this master. After a failover that somebody ordered the old
  /// one goes on taking writes for some ten seconds, and all of them are forgotten.
  public var masterCheck: Duration = .seconds(5)

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
  public var description: String {
    cluster.isEmpty ? "\(address)/\(database)" : "the Cluster of \(cluster.map(\.description).joined(separator: ", "))"
  }
  public var customMirror: Mirror { Mirror(self, children: ["address": address, "cluster": cluster, "database": database]) }
}
