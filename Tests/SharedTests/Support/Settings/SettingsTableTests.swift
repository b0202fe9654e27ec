// One table drives the file, the environment and the flags. These tests prove that they agree, that no field is missing
// from the table, and that no row is missing from the tests.

import Testing

@testable import Shared

/// For each key a value that is not its default: in the file and as text.
private let samples: [String: (json: JSONValue, text: String)] = [
  "uuid": ("1001001001", "1001001001"), "tags": (["a", "b"], "a, b"), "redis": ("10.0.0.9:7000", "10.0.0.9:7000"),
  "redis.addr": ("10.1.2.3", "10.1.2.3"), "redis.port": (6380, "6380"), "redis.username": ("u", "u"),
  "redis.sentinels": (["10.0.0.1:26379", "s2:26379"], "10.0.0.1:26379, s2:26379"), "redis.master": ("m", "m"),
  "redis.cluster": (["10.0.0.1:7000"], "10.0.0.1:7000"), "redis.password": ("p", "p"), "redis.passwordFile": ("secret", "secret"),
  "redis.db": (3, "3"), "task.path": ("/t", "/t"),
  "task.timeout": (1.5, "1.5"), "task.concurrency": (8, "8"), "task.grace": (1, "1"), "script.path": ("/s", "/s"),
  "script.timeout": (-1, "-1"), "log.path": ("/l", "/l"), "log.file": ("x.log", "x.log"), "log.level": ("debug", "debug"),
  "state.path": ("/st", "/st"), "http.listen": ("[::1]:0", "[::1]:0"), "http.limits.requestLine": (4096, "4096"),
  "http.limits.head": (4096, "4096"), "http.limits.fields": (50, "50"), "http.limits.body": (4096, "4096"),
  "http.limits.headTimeout": (1, "1"), "http.limits.bodyIdle": (1, "1"), "http.limits.idle": (1, "1"),
  "http.limits.writeStall": (1, "1"), "http.limits.connections": (10, "10"), "output.cap": (4096, "4096"),
  "output.quota": (1_048_576, "1048576"),
  "data.path": ("/d", "/d"), "retention.days": (7, "7"), "retention.bytes": (1_073_741_824, "1073741824"),
  "public.path": ("/p", "/p"),
]

@Suite struct SettingsTableTests {
  @Test func theTablesHaveTheKeysOfTheContract() {
    // API.md, "Settings", and after them those of our own.
    let shared = [
      "http.listen", "redis.addr", "redis.port", "redis.sentinels", "redis.master", "redis.cluster", "redis.username",
      "redis.password", "redis.passwordFile", "redis.db",
    ]
    let limits = ["requestLine", "head", "fields", "body", "headTimeout", "bodyIdle", "idle", "writeStall", "connections"]
    let own = limits.map { "http.limits.\($0)" } + ["log.level"]
    let agent = [
      "uuid", "tags", "task.path", "task.timeout", "task.concurrency", "script.path", "script.timeout", "log.path", "log.file",
      "state.path", "output.cap", "output.quota",
    ]
    #expect(Set(AgentSettings.table.map(\.key)) == Set(shared + agent + own + ["task.grace"]))
    let dashboard = ["data.path", "redis", "retention.days", "retention.bytes"]
    #expect(Set(DashboardSettings.table.map(\.key)) == Set(shared + dashboard + own + ["public.path"]))
    #expect(AgentSettings.table.compactMap(\.flag) == [])
    #expect(Set(DashboardSettings.table.compactMap(\.flag)) == ["listen", "data", "redis", "public"])
  }

  @Test func everyFieldStandsInTheTable() {
    #expect(fields(of: AgentSettings()) == Set(AgentSettings.table.map(\.key)))
    #expect(fields(of: DashboardSettings()) == Set(DashboardSettings.table.map(\.key)).subtracting(["redis"]))
  }

  private func fields(of settings: some ProgramSettings) -> Set<String> {
    var found: Set<String> = []
    func visit(_ value: Any, _ path: String) {
      for child in Mirror(reflecting: value).children {
        guard let label = child.label, label != "source", label != "isEmbedded" else { continue }
        let key = path.isEmpty ? label : "\(path).\(label)"
        switch child.value {
        case is HTTPSettings, is HTTPLimitSettings, is RedisSettings, is AgentSettings.Task, is AgentSettings.Script,
          is AgentSettings.Log, is AgentSettings.State, is AgentSettings.Output, is DashboardSettings.Data,
          is DashboardSettings.Retention, is DashboardSettings.Public, is DashboardSettings.Log:
          visit(child.value, key)
        default: found.insert(key)
        }
      }
    }
    visit(settings, "")
    return found
  }

  @Test func fileEnvironmentAndFlagsAgreeForEverySetting() throws {
    try check(AgentSettings.self)
    try check(DashboardSettings.self)
  }

  private func check<Root: ProgramSettings>(_ type: Root.Type) throws {
    let folder = try TemporaryFolder()
    try folder.write("from file\n", to: "secret")
    let plain = SettingsSurroundings(
      environment: ["HOME": folder.path], workingFolder: folder.path, isRoot: false, systemFolder: folder.file("none"))
    let defaults = try Root.load(in: plain)

    for row in Root.table {
      let sample = try #require(samples[row.key], "no sample for \(row.key)")
      let untouched = row.show(defaults)

      var value = sample.json
      for part in row.key.split(separator: ".").reversed() {
        value = .object(JSONObject([.init(key: String(part), value: value)]))
      }
      let file = try folder.write(String(decoding: value.bytes(), as: UTF8.self), to: "\(row.key).json")
      let fromFile = try Root.load(file: file, in: plain)
      #expect(row.show(fromFile) != untouched, "\(row.key) in the file changes nothing")
      #expect(fromFile.source.places[row.key] == file)

      var surroundings = plain
      surroundings.environment[row.environmentName] = sample.text
      let fromEnvironment = try Root.load(in: surroundings)
      #expect(row.show(fromEnvironment) == row.show(fromFile))
      #expect(fromEnvironment.source.places[row.key] == row.environmentName)

      if let flag = row.flag {
        let fromFlag = try Root.load(flags: [flag: sample.text], in: plain)
        #expect(row.show(fromFlag) == row.show(fromFile))
        #expect(fromFlag.source.places[row.key] == "--\(flag)")
      }

      // Alone: no other row than those about the same thing may have changed.
      for other in Root.table where other.key != row.key && !sameThing(other.key, row.key) {
        #expect(other.show(fromFile) == other.show(defaults), "\(row.key) changes \(other.key)")
      }
    }
  }

  /// Settings that follow from one another: where Redis is, its password, and paths under another path.
  private func sameThing(_ left: String, _ right: String) -> Bool {
    let groups: [Set<String>] = [
      ["redis", "redis.addr", "redis.port", "redis.sentinels", "redis.cluster"], ["redis.password", "redis.passwordFile"],
      ["state.path", "task.path", "script.path", "log.path"],
    ]
    return groups.contains { $0.contains(left) && $0.contains(right) }
  }

  @Test func environmentNamesAreDistinctAndAsTheContractSays() {
    for table in [AgentSettings.table.map(\.environmentName), DashboardSettings.table.map(\.environmentName)] {
      #expect(Set(table).count == table.count)
      #expect(table.contains("MUSTER_REDIS_PORT"))
    }
  }
}
