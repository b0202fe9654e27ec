// The dashboard's settings (API.md, "Settings"). When adding one: a field, a row in `table`, a sample in
// SettingsTableTests.

import Logging

public struct DashboardSettings: ProgramSettings {
  public static let program = "dashboard"

  public internal(set) var http = HTTPSettings(listen: HostPort(host: "127.0.0.1", port: 8080))
  public internal(set) var data = Data()
  /// Embedded unless an address or a port is set.
  public internal(set) var redis = RedisSettings(embedded: true)
  public internal(set) var retention = Retention()
  public internal(set) var `public` = Public()
  public internal(set) var log = Log()
  public var source = SettingsSource()

  public struct Data: Sendable {
    /// SQLite, embedded Redis, keys.
    public internal(set) var path = ""
  }

  public struct Retention: Sendable {
    public internal(set) var days = 30
    /// Of the whole history; output goes first.
    public internal(set) var bytes = 10 << 30
  }

  public struct Public: Sendable {
    /// A folder that is served instead of the pages that are compiled in.
    public internal(set) var path: String?
  }

  public struct Log: Sendable {
    public internal(set) var level: Logger.Level = .info
  }

  public init() {}

  public static let table: [Setting<DashboardSettings>] =
    HTTPSettings.rows(listenFlag: "listen").map { Setting($0, of: \.http, under: "http") } + [
      Setting("data.path", \.data.path, .path, flag: "data", "SQLite, embedded Redis, keys"),
      Setting("redis", \.redis.place, .redisPlace, flag: "redis", "HOST:PORT, a socket's path, or embedded"),
    ] + RedisSettings.rows.map { Setting($0, of: \.redis, under: "redis") } + [
      Setting("retention.days", \.retention.days, .integer(1...36_500), "days that history is kept"),
      Setting("retention.bytes", \.retention.bytes, .integer(1 << 20...1 << 50), "bytes that history may take"),
      Setting(
        "public.path", \.public.path, SettingKind.path.optional, flag: "public", "folder to serve instead of the built-in pages"),
      Setting("log.level", \.log.level, .level, "what the log holds: trace … critical"),
    ]

  public static var siblingEnvironmentNames: [String] { AgentSettings.table.map(\.environmentName) }

  public mutating func settle(in surroundings: SettingsSurroundings) -> [SettingsProblem] {
    let problems = redis.settle(in: surroundings, source: &source)
    if data.path.isEmpty {
      let own = surroundings.ownFolder(named: "muster", variable: "XDG_DATA_HOME", underHome: ".local/share")
      guard let own else {
        return problems + [SettingsProblem(key: "data.path", "must be set: there is no HOME to put it under")]
      }
      data.path = own
    }
    data.path = surroundings.absolute(data.path)
    `public`.path = `public`.path.map(surroundings.absolute)
    return problems
  }

  /// Holds the embedded Redis: its append-only file, and the file `port` with the number that agents on this machine need.
  public var redisFolder: String { "\(data.path)/redis" }

  /// Makes the folders that are missing.
  ///
  /// - Throws: a problem for each that can neither be found nor made.
  public func prepareFolders() throws(SettingsProblems) {
    var folders: [(key: String, path: String, mode: UInt32)] = [("data.path", data.path, 0o700)]
    if case .embedded = redis.place { folders.append(("data.path", redisFolder, 0o700)) }
    try makeFolders(folders)
  }
}
