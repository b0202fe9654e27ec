// `redis.*`: where Redis is and how to log in. The same for both programs, but only a dashboard can bring its own.
// Three ways to say where: one server (`addr`, `port`), Sentinels that know the master (`sentinels`, `master`), nodes of a Cluster
// (`cluster`). Two of them in one place are a problem; in different places the later one counts.

/// Where a Redis is.
public enum RedisPlace: Sendable, Hashable, CustomStringConvertible {
  /// A private `redis-server`, child of the dashboard, on a port that it chooses and keeps.
  case embedded
  case tcp(host: String, port: Int)
  case unix(path: String)
  /// Wherever the Sentinels say that the master of that name is.
  case sentinel(master: String, sentinels: [HostPort])
  /// A Cluster, found by any of these nodes.
  case cluster([HostPort])

  public var description: String {
    switch self {
    case .embedded: "embedded"
    case .tcp(let host, let port): HostPort(host: host, port: port).description
    case .unix(let path): path
    case .sentinel(let master, let sentinels): "\(master) by \(sentinels.map(\.description).joined(separator: ", "))"
    case .cluster(let nodes): "the Cluster of \(nodes.map(\.description).joined(separator: ", "))"
    }
  }
}

/// `redis.cluster`.
public enum RedisCluster: Sendable, Hashable {
  case no
  /// `true`: the server at `redis.addr` is a node of one.
  case atAddress
  case nodes([HostPort])
}

public struct RedisSettings: Sendable {
  /// Whoever names an address or a port does not mean the embedded one; the later of the two words counts.
  private var isEmbedded: Bool
  /// A host, or a unix socket's path when it begins with `/`.
  public private(set) var addr = "127.0.0.1"
  public private(set) var port = 6379
  public private(set) var sentinels: [HostPort] = []
  /// The name that the Sentinels know the master by.
  public internal(set) var master = "mymaster"
  public private(set) var cluster = RedisCluster.no
  public internal(set) var username: String?
  /// From `redis.password` or read from `redis.passwordFile`.
  public internal(set) var password: Secret?
  public internal(set) var passwordFile: String?
  /// 0 to 15, or more where the server was configured so.
  public internal(set) var db = 0

  init(embedded: Bool) {
    isEmbedded = embedded
  }

  public internal(set) var place: RedisPlace {
    get {
      if isEmbedded { return .embedded }
      if !sentinels.isEmpty { return .sentinel(master: master, sentinels: sentinels) }
      switch cluster {
      case .no: break
      case .atAddress: return .cluster([HostPort(host: addr, port: port)])
      case .nodes(let nodes): return .cluster(nodes)
      }
      return addr.hasPrefix("/") ? .unix(path: addr) : .tcp(host: addr, port: port)
    }
    set {
      (sentinels, cluster) = ([], .no)
      switch newValue {
      case .embedded: isEmbedded = true
      case .tcp(let host, let port): (isEmbedded, addr, self.port) = (false, host, port)
      case .unix(let path): (isEmbedded, addr) = (false, path)
      case .sentinel(let name, let sentinels): (isEmbedded, master, self.sentinels) = (false, name, sentinels)
      case .cluster(let nodes): (isEmbedded, cluster) = (false, .nodes(nodes))
      }
    }
  }

  var configuredAddr: String {
    get { addr }
    set { (isEmbedded, addr) = (false, newValue) }
  }

  var configuredSentinels: [HostPort] {
    get { sentinels }
    set { (isEmbedded, sentinels) = (newValue.isEmpty && isEmbedded, newValue) }
  }

  var configuredCluster: RedisCluster {
    get { cluster }
    set { (isEmbedded, cluster) = (newValue == .no && isEmbedded, newValue) }
  }

  var configuredPort: Int {
    get { port }
    set { (isEmbedded, port) = (false, newValue) }
  }
}

extension RedisSettings {
  static let rows: [Setting<RedisSettings>] = [
    Setting("addr", \.configuredAddr, .hostOrSocket, "host, address or unix socket of Redis"),
    Setting("port", \.configuredPort, .port, "port of Redis"),
    Setting("sentinels", \.configuredSentinels, .nodes, "Sentinels that know the master: HOST:PORT, a list"),
    Setting("master", \.master, .text, "the name that the Sentinels know the master by"),
    Setting("cluster", \.configuredCluster, .cluster, "true, or nodes of a Cluster: HOST:PORT, a list"),
    Setting("username", \.username, SettingKind.text.optional, "user of Redis"),
    Setting("password", \.password, SettingKind.secret.optional, "password of Redis"),
    Setting("passwordFile", \.passwordFile, SettingKind.path.optional, "file with the password of Redis"),
    Setting("db", \.db, .integer(0...65535), "database number in Redis"),
  ]

  mutating func settle(in surroundings: SettingsSurroundings, source: inout SettingsSource) -> [SettingsProblem] {
    settlePlace(source) + settlePassword(in: surroundings, source)
  }

  /// One way to say where Redis is: the one that was said last.
  private mutating func settlePlace(_ source: SettingsSource) -> [SettingsProblem] {
    func layer(_ keys: String...) -> Int { keys.compactMap { source.layers["redis.\($0)"] }.max() ?? 0 }
    var problems: [SettingsProblem] = []
    var (usesSentinels, usesCluster) = (!sentinels.isEmpty, cluster != .no)
    let address = layer("addr", "port")
    if usesSentinels, usesCluster {
      if layer("sentinels") == layer("cluster") {
        return [SettingsProblem(key: "redis.cluster", "and redis.sentinels are both set; keep one of them")]
      }
      (usesSentinels, usesCluster) = (layer("sentinels") > layer("cluster"), layer("cluster") > layer("sentinels"))
    }
    if usesSentinels, address > 0 {
      if address == layer("sentinels") {
        problems.append(SettingsProblem(key: "redis.sentinels", "and redis.addr or redis.port are both set; keep one of them"))
      }
      if address > layer("sentinels") { usesSentinels = false }
    }
    if usesCluster, cluster != .atAddress, address > 0 {
      if address == layer("cluster") {
        problems.append(
          SettingsProblem(key: "redis.cluster", "names nodes, and redis.addr or redis.port are set too; keep one of them"))
      }
      if address > layer("cluster") { usesCluster = false }
    }
    if !usesSentinels { sentinels = [] }
    if !usesCluster { cluster = .no }
    if usesCluster, db != 0 {
      problems.append(SettingsProblem(key: "redis.db", "must be 0: a Cluster has no other"))
    }
    if cluster == .atAddress, addr.hasPrefix("/") {
      problems.append(SettingsProblem(key: "redis.cluster", "needs an address that other hosts' nodes have too, not a socket"))
    }
    return problems
  }

  /// Reads the password's file. When both the password and its file are set, the later place counts; both in the same
  /// place is a problem.
  private mutating func settlePassword(in surroundings: SettingsSurroundings, _ source: SettingsSource) -> [SettingsProblem] {
    guard let file = passwordFile else { return [] }
    let key = "redis.passwordFile"
    let layer = source.layers[key] ?? 0
    if let other = source.layers["redis.password"] {
      if other > layer { return [] }
      if other == layer { return [SettingsProblem(key: key, "and redis.password are both set; keep one of them")] }
    }
    let path = surroundings.absolute(file)
    passwordFile = path
    do throws(FileError) {
      var bytes = try Files.read(path, limit: 64 << 10)
      while bytes.last == UInt8(ascii: "\n") || bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
      guard !bytes.isEmpty else { return [SettingsProblem(key: key, "names an empty file: \(path)")] }
      guard let text = String(validating: bytes, as: UTF8.self) else {
        return [SettingsProblem(key: key, "names a file that is not UTF-8 text: \(path)")]
      }
      password = Secret(text)
      return []
    } catch {
      return [SettingsProblem(key: key, place: source.places[key], "cannot be read: \(path): \(error.reason)")]
    }
  }
}
