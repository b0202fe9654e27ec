// What operators write, and what they are told.

import Glibc
import Testing

@testable import Shared

@Suite struct SettingsLoadingTests {
  let folder: TemporaryFolder
  let surroundings: SettingsSurroundings

  init() throws {
    folder = try TemporaryFolder()
    surroundings = SettingsSurroundings(
      environment: ["HOME": folder.path], workingFolder: folder.path, isRoot: false, systemFolder: folder.file("etc"))
  }

  private func agent(_ text: String, environment: [String: String] = [:]) throws(SettingsProblems) -> AgentSettings {
    var surroundings = surroundings
    surroundings.environment.merge(environment) { $1 }
    do {
      try folder.write(text, to: "agent.json")
    } catch {
      Issue.record(error)
    }
    return try AgentSettings.load(in: surroundings)
  }

  private func problems(_ text: String, environment: [String: String] = [:]) -> [String] {
    do throws(SettingsProblems) {
      _ = try agent(text, environment: environment)
      return []
    } catch {
      return error.problems.map(\.description)
    }
  }

  // MARK: The seed's example

  static let seed = """
    {
        "uuid":"1001001001",
        "tags":"mobile_project",
        "redis":{
            "addr":"127.0.0.1",
            "port":6379
        },
        "task":{
            "path":"/usr/local/agent/task",
            "timeout":1000
        },
        "script":{
            "path":"/usr/local/agent/plugin",
            "timeout":1000
        },
        "log"{
            "path":"/usr/local/agent/log",
            "file":"agent.log"
        }
    }
    """

  @Test func theSeedsExampleAsPrintedSaysWhereItsColonIsMissing() {
    #expect(problems(Self.seed) == ["./agent.json, line 16, column 10: expected ':' after the key \"log\", found '{'"])
  }

  @Test func theSeedsExampleLoadsOnceMended() throws {
    let settings = try agent(Self.seed.split(separator: "\"log\"", maxSplits: 1).joined(separator: "\"log\":"))
    #expect(settings.uuid == "1001001001")
    #expect(settings.tags == ["mobile_project"])
    #expect(settings.redis.place == .tcp(host: "127.0.0.1", port: 6379))
    #expect(settings.task.path == "/usr/local/agent/task")
    #expect(settings.task.timeout == .seconds(1000))
    #expect(settings.script.path == "/usr/local/agent/plugin")
    #expect(settings.script.timeout == .seconds(1000))
    #expect(settings.logFile == "/usr/local/agent/log/agent.log")
    #expect(settings.runsFolder == "/usr/local/agent/log/runs")
    #expect(settings.source.file == "./agent.json")
  }

  // MARK: Defaults and order

  @Test func theDefaultsAreThoseOfTheContract() throws {
    let agent = try AgentSettings.load(in: surroundings)
    #expect(agent.uuid == nil && agent.tags == [] && agent.source.file == nil)
    #expect(agent.redis.place == .tcp(host: "127.0.0.1", port: 6379))
    #expect(agent.state.path == "\(folder.path)/.local/state/muster-agent")
    #expect(agent.task.path == "\(agent.state.path)/task" && agent.script.path == "\(agent.state.path)/plugin")
    #expect(agent.logFile == "\(agent.state.path)/log/agent.log")
    #expect(agent.task.timeout == .seconds(1000) && agent.task.concurrency == 4 && agent.task.grace == .seconds(10))
    #expect(agent.http.listen == HostPort("127.0.0.1:7070") && agent.output.cap == 33_554_432)
    let dashboard = try DashboardSettings.load(in: surroundings)
    #expect(dashboard.http.listen == HostPort("127.0.0.1:8080") && dashboard.redis.place == .embedded)
    #expect(dashboard.data.path == "\(folder.path)/.local/share/muster")
    #expect(dashboard.retention.days == 30 && dashboard.retention.bytes == 10_737_418_240)

    var root = surroundings
    root.isRoot = true
    #expect(try AgentSettings.load(in: root).state.path == "/var/lib/muster-agent")
    #expect(try DashboardSettings.load(in: root).data.path == "/var/lib/muster")
    var xdg = surroundings
    xdg.environment = ["XDG_STATE_HOME": "/x/state", "XDG_DATA_HOME": "/x/data"]
    #expect(try AgentSettings.load(in: xdg).state.path == "/x/state/muster-agent")
    #expect(try DashboardSettings.load(in: xdg).data.path == "/x/data/muster")
    var homeless = surroundings
    homeless.environment = [:]
    #expect(throws: SettingsProblems.self) { try AgentSettings.load(in: homeless) }
    homeless.environment = ["MUSTER_STATE_PATH": "state"]
    #expect(try AgentSettings.load(in: homeless).log.path == "\(folder.path)/state/log")
  }

  @Test func filesAreSearchedInOrderAndTheNamedOneAlone() throws {
    #expect(try AgentSettings.load(in: surroundings).source.file == nil)
    try folder.write(#"{"uuid":"system"}"#, to: "etc/agent.json")
    #expect(try AgentSettings.load(in: surroundings).uuid == "system")
    try folder.write(#"{"uuid":"here"}"#, to: "agent.json")
    #expect(try AgentSettings.load(in: surroundings).uuid == "here")
    try folder.write(#"{"uuid":"named"}"#, to: "other.json")
    #expect(try AgentSettings.load(file: "other.json", in: surroundings).uuid == "named")
    let error = #expect(throws: SettingsProblems.self) { try AgentSettings.load(file: "nowhere.json", in: surroundings) }
    #expect(error?.description == "nowhere.json: cannot be read: No such file or directory")
    #expect(try DashboardSettings.load(in: surroundings).source.file == nil)
  }

  @Test func environmentIsOverFileAndFlagsOverBoth() throws {
    try folder.write(#"{"http":{"listen":"127.0.0.1:1"},"redis":{"addr":"10.0.0.1","db":2}}"#, to: "dashboard.json")
    var surroundings = surroundings
    #expect(try DashboardSettings.load(in: surroundings).http.listen.port == 1)
    surroundings.environment["MUSTER_HTTP_LISTEN"] = "127.0.0.1:2"
    #expect(try DashboardSettings.load(in: surroundings).http.listen.port == 2)
    #expect(try DashboardSettings.load(flags: ["listen": "127.0.0.1:3"], in: surroundings).http.listen.port == 3)
    // Where Redis is: the later word counts, whichever form it has.
    #expect(try DashboardSettings.load(in: surroundings).redis.place == .tcp(host: "10.0.0.1", port: 6379))
    #expect(try DashboardSettings.load(flags: ["redis": "embedded"], in: surroundings).redis.place == .embedded)
    surroundings.environment["MUSTER_REDIS"] = "embedded"
    #expect(try DashboardSettings.load(in: surroundings).redis.place == .embedded)
    let loaded = try DashboardSettings.load(flags: ["redis": "[::1]:7"], in: surroundings)
    #expect(loaded.redis.place == .tcp(host: "::1", port: 7) && loaded.redis.db == 2)
    #expect(
      try DashboardSettings.load(flags: ["redis": "/run/r.sock"], in: surroundings).redis.place == .unix(path: "/run/r.sock"))
  }

  @Test func anEmptyVariableIsNoSettingAndARunsOwnVariablesAreNone() throws {
    #expect(try agent("{}", environment: ["MUSTER_UUID": "", "MUSTER_TAGS": ""]).uuid == nil)
    #expect(try agent("{}", environment: ["MUSTER_UUID": "web1"]).uuid == "web1")
    let inRun = ["MUSTER_UUID": "web1", "MUSTER_RUN": "web1-x", "MUSTER_TASK": "x"]
    let settings = try agent("{}", environment: inRun)
    #expect(settings.uuid == nil && settings.source.warnings == [])
  }

  @Test func aVariableThatIsNearlyASettingIsAWarning() throws {
    let settings = try agent("{}", environment: ["MUSTER_REDIS_PROT": "1", "MUSTER_DATA_PATH": "/d", "MUSTER_SOMETHING": "1"])
    #expect(settings.source.warnings == ["the environment's MUSTER_REDIS_PROT is not a setting; did you mean MUSTER_REDIS_PORT?"])
  }

  @Test func thePresentSurroundingsAreThisProcesss() throws {
    let present = SettingsSurroundings.present()
    let path = try #require(getenv("PATH"))
    #expect(present.environment["PATH"] == String(cString: path))
    #expect(present.workingFolder.hasPrefix("/") && Files.exists(present.workingFolder))
    #expect(present.isRoot == (geteuid() == 0))
  }

  // MARK: Values

  @Test func tagsAreAListOrOneStringWithCommas() throws {
    #expect(try agent(#"{"tags":["a","b","a"]}"#).tags == ["a", "b"])
    #expect(try agent(#"{"tags":" a ,b,a"}"#).tags == ["a", "b"])
    #expect(try agent(#"{"tags":[]}"#).tags == [])
    #expect(try agent(#"{"tags":null,"redis":null}"#).tags == [])
  }

  @Test func redisMayBeAUnixSocketAndTimeoutsMayBeNone() throws {
    #expect(try agent(#"{"redis":{"addr":"/run/redis.sock"}}"#).redis.place == .unix(path: "/run/redis.sock"))
    let sentinels = #"{"redis":{"sentinels":["a:1"," b:2 "],"master":"m"}}"#
    let both = [HostPort(host: "a", port: 1), HostPort(host: "b", port: 2)]
    #expect(try agent(sentinels).redis.place == .sentinel(master: "m", sentinels: both))
    #expect(try agent(#"{"redis":{"cluster":"a:1,b:2"}}"#).redis.place == .cluster(both))
    #expect(try agent(#"{"redis":{"cluster":true,"addr":"a","port":1}}"#).redis.place == .cluster([both[0]]))
    #expect(try agent(#"{"redis":{"cluster":false,"addr":"a","port":1}}"#).redis.place == .tcp(host: "a", port: 1))
    // The later place counts.
    #expect(
      try agent(sentinels, environment: ["MUSTER_REDIS_ADDR": "c"]).redis.place == .tcp(host: "c", port: 6379))
    #expect(
      try agent(sentinels, environment: ["MUSTER_REDIS_CLUSTER": "b:2"]).redis.place == .cluster([both[1]]))
    #expect(try agent(#"{"task":{"timeout":-1}}"#).task.timeout == nil)
    #expect(try agent(#"{"task":{"timeout":0.25}}"#).task.timeout == .milliseconds(250))
  }

  static let bad: [(text: String, problem: String)] = [
    (#"[]"#, "./agent.json: must hold a JSON object, it holds a list"),
    (#"{"uuid":"all"}"#, "uuid (./agent.json) must not be the reserved word \"all\""),
    (#"{"uuid":1001001001}"#, "uuid (./agent.json) must be a string: write \"1001001001\" in quotes"),
    (#"{"uuid":""}"#, "uuid (./agent.json) must not be empty"),
    (#"{"tags":"a,,b"}"#, "tags (./agent.json) must not have an empty name"),
    (#"{"tags":["a b"]}"#, "tags (./agent.json) \"a b\" must not contain a space (allowed: A-Z a-z 0-9 _ . -)"),
    (#"{"tags":[1]}"#, "tags (./agent.json) must be a list of strings, it holds a number"),
    (#"{"tags":{}}"#, "tags (./agent.json) must be a list of names or one string with commas, it is an object"),
    (
      #"{"uuid":"a","tags":"b,a"}"#,
      "tags must not contain the agent's own uuid \"a\": a project and an agent cannot share a name"
    ),
    (#"{"redis":"x"}"#, "redis (./agent.json) must be an object, it is a string"),
    (#"{"redis":{"port":"6379"}}"#, "redis.port (./agent.json) must be a whole number from 1 to 65535, it is a string"),
    (#"{"redis":{"port":0}}"#, "redis.port (./agent.json) must be a whole number from 1 to 65535, it is 0"),
    (#"{"redis":{"port":65536}}"#, "redis.port (./agent.json) must be a whole number from 1 to 65535, it is 65536"),
    (#"{"redis":{"port":1.5}}"#, "redis.port (./agent.json) must be a whole number from 1 to 65535, it is 1.5"),
    (
      #"{"redis":{"addr":"h:1"}}"#,
      "redis.addr (./agent.json) must be a host without a port (\"h\"; the port is a setting of its own)"
    ),
    (
      #"{"redis":{"sentinels":"a"}}"#,
      "redis.sentinels (./agent.json) must be a list of HOST:PORT such as 10.0.0.1:26379, it has \"a\""
    ),
    (
      #"{"redis":{"sentinels":["a:1"],"cluster":true}}"#, "redis.cluster and redis.sentinels are both set; keep one of them"
    ),
    (
      #"{"redis":{"sentinels":["a:1"],"port":1}}"#,
      "redis.sentinels and redis.addr or redis.port are both set; keep one of them"
    ),
    (
      #"{"redis":{"cluster":["a:1"],"addr":"b"}}"#,
      "redis.cluster names nodes, and redis.addr or redis.port are set too; keep one of them"
    ),
    (#"{"redis":{"cluster":true,"db":1}}"#, "redis.db must be 0: a Cluster has no other"),
    (
      #"{"redis":{"cluster":true,"addr":"/run/r"}}"#,
      "redis.cluster needs an address that other hosts' nodes have too, not a socket"
    ),
    (#"{"redis":{"prot":1}}"#, "redis.prot (./agent.json) is not a setting; did you mean \"redis.port\"?"),
    (#"{"rediss":{}}"#, "rediss (./agent.json) is not a setting; did you mean \"redis\"?"),
    (#"{"concurrency":1}"#, "concurrency (./agent.json) is not a setting; did you mean \"task.concurrency\"?"),
    (
      #"{"redis.port":1}"#,
      "redis.port (./agent.json) is not a setting; write it as nested objects, not with a dot in the key"
    ),
    (#"{"zzzzzz":1}"#, "zzzzzz (./agent.json) is not a setting"),
    (
      #"{"task":{"timeout":0}}"#,
      "task.timeout (./agent.json) must be a number of seconds above 0, or a negative one for no limit, it is 0"
    ),
    (#"{"task":{"concurrency":1025}}"#, "task.concurrency (./agent.json) must be a whole number from 1 to 1024, it is 1025"),
    (#"{"task":{"grace":-1}}"#, "task.grace (./agent.json) must be a number of seconds from 0 to 3600, it is -1"),
    (#"{"task":{"path":"a\u0000b"}}"#, "task.path (./agent.json) must not contain control characters"),
    (
      #"{"http":{"listen":"7070"}}"#,
      "http.listen (./agent.json) must be HOST:PORT such as 127.0.0.1:8080 or [::1]:0, it is \"7070\""
    ),
    (#"{"http":{"limits":{"bdy":1}}}"#, "http.limits.bdy (./agent.json) is not a setting; did you mean \"http.limits.body\"?"),
    (
      #"{"log":{"level":"loud"}}"#,
      "log.level (./agent.json) must be one of trace, debug, info, notice, warning, error, critical, it is \"loud\""
    ),
    (
      #"{"redis":{"port":1,"port":2}}"#,
      "redis.port (./agent.json, line 1, column 20) the key \"port\" stands twice in one object"
    ),
    (
      #"{"redis":{"passwordFile":"nowhere"}}"#,
      "redis.passwordFile (./agent.json) cannot be read: %/nowhere: No such file or directory"
    ),
    (
      #"{"redis":{"passwordFile":"x","password":"y"}}"#,
      "redis.passwordFile and redis.password are both set; keep one of them"
    ),
  ]

  @Test(arguments: bad)
  func aBadSettingIsNamedWithItsPlaceAndReason(_ text: String, _ problem: String) {
    #expect(problems(text) == [problem.split(separator: "%", omittingEmptySubsequences: false).joined(separator: folder.path)])
  }

  @Test func allProblemsComeAtOnce() {
    let found = problems(
      #"{"uuid":"a b","redis":{"port":0,"x":1},"task":{"concurrency":0}}"#, environment: ["MUSTER_OUTPUT_CAP": "many"])
    #expect(found.count == 5)
    #expect(found.last == "output.cap (MUSTER_OUTPUT_CAP) must be a whole number from 4096 to 1099511627776, it is \"many\"")
    #expect(problems("{", environment: ["MUSTER_REDIS_DB": "x"]).count == 2)
  }

  @Test func anUnknownFlagIsAProblem() {
    #expect(throws: SettingsProblems.self) { try DashboardSettings.load(flags: ["port": "1"], in: surroundings) }
  }

  // MARK: Listening

  static let listens: [(text: String, host: String?, port: Int)] = [
    ("127.0.0.1:8080", "127.0.0.1", 8080), ("127.8.8.8:0", "127.8.8.8", 0), ("[::1]:0", "::1", 0),
    ("localhost:1", "localhost", 1),
    ("[::ffff:127.0.0.1]:5", "::ffff:127.0.0.1", 5), ("[0:0:0:0:0:0:0:1]:65535", "0:0:0:0:0:0:0:1", 65535),
    ("0.0.0.0:80", nil, 0), ("[::]:80", nil, 0), ("10.0.0.1:80", nil, 0), ("example.org:80", nil, 0),
    ("127.0.0.1.evil.org:80", nil, 0),
    ("127.1:80", nil, 0), (":80", nil, 0), ("127.0.0.1", nil, 0), ("127.0.0.1:", nil, 0), ("127.0.0.1:65536", nil, 0),
    ("127.0.0.1:-1", nil, 0), ("127.0.0.1:+1", nil, 0), ("127.0.0.1:x", nil, 0), ("::1:80", nil, 0), ("[::1]", nil, 0),
    ("[::1:80", nil, 0),
    ("[localhost]:80", nil, 0), (" 127.0.0.1:80", nil, 0), ("127.0.0.1:٣", nil, 0), ("127.0.0.1:99999999999999999999", nil, 0),
  ]

  @Test(arguments: listens)
  func onlyLoopbackIsListenedOn(_ text: String, _ host: String?, _ port: Int) {
    do throws(SettingsProblems) {
      let settings = try DashboardSettings.load(flags: ["listen": text], in: surroundings)
      #expect(settings.http.listen.host == host && settings.http.listen.port == port)
      #expect(HostPort(settings.http.listen.description) == settings.http.listen)
    } catch {
      #expect(host == nil, "\(error)")
      #expect(error.problems.map(\.key) == ["http.listen"])
    }
  }

  @Test func aRefusalToListenSaysWhy() {
    let error = #expect(throws: SettingsProblems.self) {
      try DashboardSettings.load(flags: ["listen": "0.0.0.0:8080"], in: surroundings)
    }
    #expect(error?.description.hasPrefix("http.listen (--listen) must be a loopback address") == true)
    #expect(error?.description.contains("without tokens") == true)
  }

  // MARK: Secrets

  @Test func aPasswordIsReadFromItsFileAndNeverPrinted() throws {
    try folder.write("geh€im\r\n", to: "pw")
    let fromFile = try agent(#"{"redis":{"passwordFile":"pw"}}"#)
    #expect(fromFile.redis.password?.reveal() == "geh€im")
    let later = try agent(#"{"redis":{"passwordFile":"pw"}}"#, environment: ["MUSTER_REDIS_PASSWORD": "geh€im2"])
    #expect(later.redis.password?.reveal() == "geh€im2")
    let earlier = try agent(#"{"redis":{"password":"geh€im3"}}"#, environment: ["MUSTER_REDIS_PASSWORDFILE": "pw"])
    #expect(earlier.redis.password?.reveal() == "geh€im")

    for settings in [fromFile, later, earlier] {
      var dumped = ""
      dump(settings, to: &dumped)
      let printed = settings.describe().joined() + "\(settings)" + String(reflecting: settings) + dumped
      #expect(!printed.contains("geh€im"))
      #expect(printed.contains("redis.password = (hidden)") && printed.contains("redis.port = 6379 (default)"))
    }
    let bad = problems(#"{"redis":{"password":["geh€im"],"port":"x"}}"#) + problems(#"{"redis":{"password":12345}}"#)
    #expect(bad.count == 3 && !bad.joined().contains("geh€im") && !bad.joined().contains("12345"))
  }

  @Test(arguments: ["redis://user:geh€im@host:6379", "user:geh€im@host:6379", "geh€im@host:6379", "host:6379?password=geh€im"])
  func aRedisWrittenAsAURLIsAProblemThatDoesNotRepeatItsPassword(_ text: String) {
    let flag = #expect(throws: SettingsProblems.self) { try DashboardSettings.load(flags: ["redis": text], in: surroundings) }
    var said = [flag?.description ?? ""]
    for key in ["SENTINELS", "CLUSTER", "ADDR", "PORT"] {
      said += problems("{}", environment: ["MUSTER_REDIS_\(key)": text])
      #expect(said.last?.contains("(MUSTER_REDIS_\(key)) must be ") == true, "\(said)")
    }
    #expect(!said.joined().contains("geh€im"), "\(said)")
    #expect(said[0].contains("(--redis) must be HOST:PORT") && said[0].contains("user and password have settings of their own"))
  }

  @Test func anEmptyPasswordFileIsAProblem() throws {
    try folder.write("\n", to: "pw")
    #expect(problems(#"{"redis":{"passwordFile":"pw"}}"#) == ["redis.passwordFile names an empty file: \(folder.path)/pw"])
  }

  // MARK: Folders and the uuid

  @Test func missingFoldersAreMadeAndOnesThatCannotBeAreNamed() throws {
    let settings = try agent(#"{"log":{"path":"a/b/logs"}}"#)
    try settings.prepareFolders()
    try settings.prepareFolders()
    for path in [settings.runnersFolder, settings.runsFolder, settings.task.path, settings.script.path] {
      #expect(Files.exists(path))
    }
    var status = stat()
    #expect(stat(settings.state.path, &status) == 0 && status.st_mode & 0o777 == 0o700)

    try folder.write("", to: "file")
    let blocked = try agent(#"{"log":{"path":"file/logs"},"task":{"path":"file"}}"#)
    let error = #expect(throws: SettingsProblems.self) { try blocked.prepareFolders() }
    #expect(error?.problems.map(\.key) == ["log.path", "log.path", "log.file", "task.path"])
    let dashboard = try DashboardSettings.load(flags: ["data": "d"], in: surroundings)
    try dashboard.prepareFolders()
    #expect(Files.exists(folder.file("d/redis")))
  }

  @Test func aUUIDIsMadeOnceAndKept() throws {
    let settings = try agent(#"{"tags":"p"}"#)
    try settings.prepareFolders()
    let name = try settings.resolveUUID()
    #expect(name.count == 36 && nameFault(name) == nil)
    #expect(try settings.resolveUUID() == name)
    #expect(try agent("{\"uuid\":\"\(name)\"}").resolveUUID() == name)

    let other = try agent(#"{"uuid":"web1"}"#)
    let error = #expect(throws: SettingsProblems.self) { try other.resolveUUID() }
    #expect(error?.description.contains("belongs to the agent \"\(name)\"") == true)
    let own = try agent("{\"tags\":\"\(name)\"}")
    #expect(throws: SettingsProblems.self) { try own.resolveUUID() }

    try folder.write("not a name\n", to: ".local/state/muster-agent/uuid")
    #expect(throws: SettingsProblems.self) { try settings.resolveUUID() }
  }

  @Test func aConfiguredUUIDIsKeptToo() throws {
    let settings = try agent(#"{"uuid":"web1","state":{"path":"s"}}"#)
    try settings.prepareFolders()
    #expect(try settings.resolveUUID() == "web1")
    #expect(try folder.text("s/uuid") == "web1\n")
  }
}
