// `redis.*`: where Redis is and how to log in. The same for both programs, but only a dashboard can bring its own.

/// Where a Redis is.
public enum RedisPlace: Sendable, Hashable, CustomStringConvertible {
  /// A private `redis-server`, child of the dashboard, on a port that it chooses and keeps.
  case embedded
  case tcp(host: String, port: Int)
  case unix(path: String)

  public var description: String {
    switch self {
    case .embedded: "embedded"
    case .tcp(let host, let port): HostPort(host: host, port: port).description
    case .unix(let path): path
    }
  }
}

public struct RedisSettings: Sendable {
  /// Whoever names an address or a port does not mean the embedded one; the later of the two words counts.
  private var isEmbedded: Bool
  /// A host, or a unix socket's path when it begins with `/`.
  public private(set) var addr = "127.0.0.1"
  public private(set) var port = 6379
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
      return addr.hasPrefix("/") ? .unix(path: addr) : .tcp(host: addr, port: port)
    }
    set {
      switch newValue {
      case .embedded: isEmbedded = true
      case .tcp(let host, let port): (isEmbedded, addr, self.port) = (false, host, port)
      case .unix(let path): (isEmbedded, addr) = (false, path)
      }
    }
  }

  var configuredAddr: String {
    get { addr }
    set { (isEmbedded, addr) = (false, newValue) }
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
    Setting("username", \.username, SettingKind.text.optional, "user of Redis"),
    Setting("password", \.password, SettingKind.secret.optional, "password of Redis"),
    Setting("passwordFile", \.passwordFile, SettingKind.path.optional, "file with the password of Redis"),
    Setting("db", \.db, .integer(0...65535), "database number in Redis"),
  ]

  /// Reads the password's file. When both the password and its file are set, the later place counts; both in the same
  /// place is a problem.
  mutating func settle(in surroundings: SettingsSurroundings, source: inout SettingsSource) -> [SettingsProblem] {
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
