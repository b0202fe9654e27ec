// The agent's settings (API.md, "Settings"). When adding one: a field, a row in `table`, a sample in
// SettingsTableTests; a path also in `settle` and, when the agent makes it, in `prepareFolders`.

import Logging

public struct AgentSettings: ProgramSettings {
  public static let program = "agent"

  /// `nil`: made once and kept in the state folder; see `resolveUUID`.
  public internal(set) var uuid: String?
  /// The projects that this agent belongs to.
  public internal(set) var tags: [String] = []
  public internal(set) var redis = RedisSettings(embedded: false)
  public internal(set) var task = Task()
  public internal(set) var script = Script()
  public internal(set) var log = Log()
  public internal(set) var state = State()
  public internal(set) var http = HTTPSettings(listen: HostPort(host: "127.0.0.1", port: 7070))
  public internal(set) var output = Output()
  public var source = SettingsSource()

  public struct Task: Sendable {
    /// Working folder of runs.
    public internal(set) var path = ""
    /// How long a run may take that does not say so itself; `nil` is no limit.
    public internal(set) var timeout: Duration? = .seconds(1000)
    /// Runs at once.
    public internal(set) var concurrency = 4
    /// Between TERM and KILL.
    public internal(set) var grace: Duration = .seconds(10)
  }

  public struct Script: Sendable {
    /// Where a task name that is a file's name is looked for.
    public internal(set) var path = ""
    /// `task.timeout` for such a file; `nil` is no limit.
    public internal(set) var timeout: Duration? = .seconds(1000)
  }

  public struct Log: Sendable {
    public internal(set) var path = ""
    /// The agent's own log: a name in `path`, or an absolute path.
    public internal(set) var file = "agent.log"
    public internal(set) var level: Logger.Level = .info
  }

  public struct State: Sendable {
    public internal(set) var path = ""
  }

  public struct Output: Sendable {
    /// Bytes kept of one run: its first half and its last.
    public internal(set) var cap = 32 << 20
    /// Bytes on the disk that all runs together may take; past them the oldest go that the dashboard has.
    public internal(set) var quota = 4 << 30
  }

  public init() {}

  public static let table: [Setting<AgentSettings>] =
    [
      Setting("uuid", \.uuid, SettingKind.name.optional, "this agent's name"),
      Setting("tags", \.tags, .names, "its projects: a list, or one string with commas"),
    ] + RedisSettings.rows.map { Setting($0, of: \.redis, under: "redis") } + [
      Setting("task.path", \.task.path, .path, "working folder of runs"),
      Setting("task.timeout", \.task.timeout, .timeout, "seconds that a run may take"),
      Setting("task.concurrency", \.task.concurrency, .integer(1...1024), "runs at once"),
      Setting("task.grace", \.task.grace, .seconds(0...3600), "between TERM and KILL"),
      Setting("script.path", \.script.path, .path, "folder of scripts that tasks may name"),
      Setting("script.timeout", \.script.timeout, .timeout, "seconds that a script may take"),
      Setting("log.path", \.log.path, .path, "folder of logs and of runs' output"),
      Setting("log.file", \.log.file, .path, "the agent's own log"),
      Setting("log.level", \.log.level, .level, "what the log holds: trace … critical"),
      Setting("state.path", \.state.path, .path, "journal, runners' records, pid file, lock, uuid"),
    ] + HTTPSettings.rows(listenFlag: nil).map { Setting($0, of: \.http, under: "http") } + [
      Setting("output.cap", \.output.cap, .integer(4096...1 << 40), "bytes kept of one run's output"),
      Setting(
        "output.quota", \.output.quota, .integer(1 << 20...1 << 50), "bytes that the output of all runs may take on the disk"),
    ]

  public static var siblingEnvironmentNames: [String] { DashboardSettings.table.map(\.environmentName) }

  public mutating func settle(in surroundings: SettingsSurroundings) -> [SettingsProblem] {
    var problems = redis.settle(in: surroundings, source: &source)
    if state.path.isEmpty {
      let own = surroundings.ownFolder(named: "muster-agent", variable: "XDG_STATE_HOME", underHome: ".local/state")
      guard let own else {
        problems.append(SettingsProblem(key: "state.path", "must be set: there is no HOME to put it under"))
        return problems
      }
      state.path = own
    }
    state.path = surroundings.absolute(state.path)
    task.path = task.path.isEmpty ? "\(state.path)/task" : surroundings.absolute(task.path)
    script.path = script.path.isEmpty ? "\(state.path)/plugin" : surroundings.absolute(script.path)
    log.path = log.path.isEmpty ? "\(state.path)/log" : surroundings.absolute(log.path)
    if let problem = Self.selfMembership(uuid: uuid, tags: tags) { problems.append(problem) }
    return problems
  }

  /// An agent and a project of one name would be one Redis key (DESIGN section 4).
  static func selfMembership(uuid: String?, tags: [String]) -> SettingsProblem? {
    guard let uuid, tags.contains(uuid) else { return nil }
    return SettingsProblem(
      key: "tags", "must not contain the agent's own uuid \"\(uuid)\": a project and an agent cannot share a name")
  }
}
