// One setting as a row of its program's table: its path in the file, its environment name, its flag, how it is read and
// shown. AgentSettings.swift and DashboardSettings.swift hold the tables; everything else about loading is driven by
// them, so a setting that stands in the table is known everywhere, and one that does not is known nowhere.
//
// When adding a setting: a field in the settings type, a row in its table, a sample in SettingsTableTests.

/// A row of a program's settings table.
public struct Setting<Root>: Sendable {
  /// The path in the file: `redis.port`.
  public let key: String
  /// The command line flag without its dashes: `listen`.
  public let flag: String?
  /// What it is for, in a few words.
  public let summary: String

  let apply: @Sendable (inout Root, SettingInput) throws(BadSetting) -> Void
  let show: @Sendable (Root) -> String

  init<Value>(
    _ key: String, _ field: WritableKeyPath<Root, Value> & Sendable, _ kind: SettingKind<Value>, flag: String? = nil,
    _ summary: String
  ) {
    self.key = key
    self.flag = flag
    self.summary = summary
    apply = { (root, input) throws(BadSetting) in root[keyPath: field] = try kind.read(input) }
    show = { kind.show($0[keyPath: field]) }
  }

  /// A row of a part's table as one of the whole's: `port` of `redis` is `redis.port`.
  init<Part>(_ row: Setting<Part>, of part: WritableKeyPath<Root, Part> & Sendable, under prefix: String) {
    key = "\(prefix).\(row.key)"
    flag = row.flag
    summary = row.summary
    apply = { (root, input) throws(BadSetting) in try row.apply(&root[keyPath: part], input) }
    show = { row.show($0[keyPath: part]) }
  }

  /// `redis.port` is `MUSTER_REDIS_PORT`, `http.limits.headTimeout` is `MUSTER_HTTP_LIMITS_HEADTIMEOUT`.
  public var environmentName: String {
    "MUSTER_" + String(key.map { $0 == "." ? "_" : $0 }).uppercased()
  }
}

/// What somebody wrote for a setting: a value in the file, or text in the environment or on the command line.
enum SettingInput: Sendable {
  case json(JSONValue)
  case text(String)

  var kindName: String {
    switch self {
    case .json(let value): value.kindName
    case .text(let text): text.isEmpty ? "empty" : "\"\(text)\""
    }
  }
}

/// Why a setting cannot be taken, as the rest of a sentence: "must be …".
struct BadSetting: Error {
  let reason: String

  init(_ reason: String) {
    self.reason = reason
  }
}

/// How a kind of setting is read and shown.
struct SettingKind<Value>: Sendable {
  let read: @Sendable (SettingInput) throws(BadSetting) -> Value
  let show: @Sendable (Value) -> String

  init(
    _ read: @escaping @Sendable (SettingInput) throws(BadSetting) -> Value, show: @escaping @Sendable (Value) -> String
  ) {
    self.read = read
    self.show = show
  }

  /// The same kind for a field that may be unset.
  var optional: SettingKind<Value?> {
    SettingKind<Value?>({ (input) throws(BadSetting) in try read(input) }, show: { $0.map(show) ?? "-" })
  }
}
