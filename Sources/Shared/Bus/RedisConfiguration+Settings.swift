// From the settings' words to what the client needs.
import Redis

extension RedisConfiguration {
  /// - Parameter embeddedPort: the port of a dashboard's own server.
  public init(_ settings: RedisSettings, embeddedPort: Int? = nil, clientName: String, backoff: ReconnectBackoff) {
    func address(_ place: HostPort) -> Address { .tcp(host: place.host, port: place.port) }
    var nodes: [Address] = []
    let server: Address
    switch settings.place {
    case .tcp(let host, let port): server = .tcp(host: host, port: port)
    case .unix(let path): server = .unix(path: path)
    case .embedded: server = .tcp(host: "127.0.0.1", port: embeddedPort ?? settings.port)
    case .sentinel(let master, let sentinels): server = .sentinel(master: master, sentinels: sentinels.map(address))
    case .cluster(let seeds):
      nodes = seeds.map(address)
      server = nodes.first ?? .tcp(host: "127.0.0.1", port: settings.port)
    }
    // A dashboard's own server knows no users.
    let logsIn = settings.place != .embedded
    self.init(
      address: server, username: logsIn ? settings.username : nil, password: logsIn ? settings.password?.reveal() : nil,
      database: logsIn ? settings.db : 0, clientName: clientName, backoff: backoff)
    cluster = nodes
  }
}
