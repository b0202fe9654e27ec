// A dashboard, its agents and what a user does to them.
import Foundation
import Glibc
import RedisTestSupport

final class Stand: @unchecked Sendable {  // used by one test, which awaits each call
  let folder: URL
  let redis: String  // "embedded" or HOST:PORT
  /// `redis` of both programs' settings where that says more than an address.
  let redisSettings: [String: Any]?
  private(set) var dashboard: Running
  private(set) var port: Int
  private var agents: [String: Running] = [:]
  private let environment: [String: String]

  private static let started = Atomic()
  /// Added to the dashboard's, for stands that are made meanwhile: `Stand.$environment.withValue(…)`.
  @TaskLocal static var environment: [String: String] = [:]

  /// - Parameters:
  ///   - environment: the dashboard's, beside what the tests themselves have.
  ///   - disk: the dashboard's data lie on a disk of their own, of so many MiB.
  static func start(
    redis: String = "embedded", redisSettings: [String: Any]? = nil, environment: [String: String] = [:], disk: Int? = nil
  ) async throws -> Stand {
    let number = started.next()
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("muster-e2e-\(getpid())-\(number)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let port = try freePort()
    if let disk { try SmallDisk.mount(folder.appendingPathComponent("data"), megabytes: disk) }
    let dashboard = try Stand.launch(folder, port, redis, redisSettings, environment)
    let stand = Stand(folder, redis, redisSettings, dashboard, port, environment)
    do { try await stand.ready() } catch {
      try await stand.stop()
      throw error
    }
    return stand
  }

  private init(
    _ folder: URL, _ redis: String, _ redisSettings: [String: Any]?, _ dashboard: Running, _ port: Int,
    _ environment: [String: String]
  ) {
    self.environment = environment
    self.folder = folder
    self.redis = redis
    self.redisSettings = redisSettings
    self.dashboard = dashboard
    self.port = port
  }

  private static func launch(
    _ folder: URL, _ port: Int, _ redis: String, _ redisSettings: [String: Any]?, _ environment: [String: String]
  ) throws -> Running {
    var place = ["--redis", redis]
    if let redisSettings {
      let file = folder.appendingPathComponent("dashboard.json")
      try JSONSerialization.data(withJSONObject: ["redis": redisSettings]).write(to: file)
      place = ["-f", file.path]
    }
    return try Running(
      try Binaries.url("dashboard"),
      ["--listen", "127.0.0.1:\(port)", "--data", folder.appendingPathComponent("data").path] + place, in: folder,
      log: "dashboard", environment: Stand.environment.merging(environment) { $1 })
  }

  private func ready() async throws {
    _ = try await eventually("the dashboard answers", within: 60) {
      guard self.dashboard.isRunning else { throw StandFault("the dashboard ended: \(self.dashboard.text)") }
      // Not its health: one that stands by is not, and is there.
      return try await self.get("/v1/version").status == 200 ? true : nil
    }
  }

  // MARK: Dashboard

  func killDashboard(_ signal: Int32 = SIGKILL) async throws { try await dashboard.end(signal) }

  /// - Parameter wait: until it answers.
  func restartDashboard(environment more: [String: String] = [:], wait: Bool = true) async throws {
    dashboard = try Stand.$environment.withValue(Stand.environment.merging(more) { $1 }) {
      try Stand.launch(folder, port, redis, redisSettings, environment)
    }
    if wait { try await ready() }
  }

  func redisPort() throws -> Int {
    if redis != "embedded" { return Int(redis.split(separator: ":").last ?? "") ?? 0 }
    let text = try String(contentsOf: folder.appendingPathComponent("data/redis/port"), encoding: .utf8)
    return Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
  }

  /// The process of the Redis that answers.
  func redisProcess() async throws -> pid_t {
    let line = try await redisCLI("info", "server").split(whereSeparator: \.isNewline).first { $0.hasPrefix("process_id:") }
    // 0 and less are whole groups to `kill`, the tests' own among them.
    guard let pid = line.flatMap({ pid_t($0.dropFirst("process_id:".count)) }), pid > 0 else {
      throw StandFault("Redis does not say its process id: \(line ?? "")")
    }
    return pid
  }

  // MARK: Agents

  func stateFolder(_ uuid: String) -> URL { folder.appendingPathComponent("agent-\(uuid)") }

  @discardableResult
  func startAgent(
    _ uuid: String, projects: [String] = [], settings: [String: Any] = [:], environment: [String: String] = [:], wait: Bool = true
  ) async throws -> Running {
    var json: [String: Any] = [
      "uuid": uuid, "redis": try redisSettings ?? ["addr": "127.0.0.1", "port": redisPort()],
      "state": ["path": stateFolder(uuid).path], "http": ["listen": "127.0.0.1:0"],
    ]
    if !projects.isEmpty { json["tags"] = projects }
    json.merge(settings) { $1 }
    let file = folder.appendingPathComponent("\(uuid).json")
    try JSONSerialization.data(withJSONObject: json).write(to: file)
    let agent = try Running(
      try Binaries.url("agent"), ["run", "-f", file.path], in: folder, log: "agent-\(uuid)", environment: environment)
    agents[uuid] = agent
    if wait {
      _ = try await eventually("agent \(uuid) is online") {
        guard agent.isRunning else { throw StandFault("agent \(uuid) ended: \(agent.text.suffix(2000))") }
        return try await self.get("/v1/agents/\(uuid)")["online"] as? Bool == true ? true : nil
      }
    }
    return agent
  }

  func agent(_ uuid: String) throws -> Running {
    guard let agent = agents[uuid] else { throw StandFault("no agent \(uuid)") }
    return agent
  }

  // MARK: What a user does

  func curl(_ arguments: [String], allowFailure: Bool = false) async throws -> Answer {
    let data = try await output(
      of: "curl", ["-sS", "-N", "--max-time", "90", "-w", "\n%{http_code}"] + arguments, allowFailure: allowFailure)
    guard let newline = data.lastIndex(of: UInt8(ascii: "\n")) else { throw StandFault("curl printed nothing") }
    return Answer(
      status: Int(String(decoding: data[data.index(after: newline)...], as: UTF8.self)) ?? 0, bytes: Data(data[..<newline]))
  }

  func get(_ path: String, _ more: [String] = []) async throws -> Answer {
    try await curl(more + ["http://127.0.0.1:\(port)\(path)"])
  }

  func post(_ path: String, _ body: [String: Any]) async throws -> Answer {
    let text = String(decoding: try JSONSerialization.data(withJSONObject: body), as: UTF8.self)
    return try await curl(["-X", "POST", "-d", text, "http://127.0.0.1:\(port)\(path)"])
  }

  func delete(_ path: String) async throws -> Answer { try await curl(["-X", "DELETE", "http://127.0.0.1:\(port)\(path)"]) }

  /// Asks for a run's end and returns the answer.
  func kill(_ auuid: String, _ body: [String: Any] = [:]) async throws -> Answer {
    try await post("/v1/runs/\(auuid)/kill", body)
  }

  /// The run once it is in that state.
  @discardableResult
  func run(_ auuid: String, is state: String, within seconds: Double = 60) async throws -> [String: Any] {
    try await eventually("\(auuid) is \(state)", within: seconds) {
      let run = try await self.get("/v1/runs/\(auuid)").json
      return run["state"] as? String == state ? run : nil
    }
  }

  /// Posts to an agent and returns the run's `auuid`.
  func task(_ uuid: String, _ taskname: String, _ more: [String: Any] = [:]) async throws -> String {
    let answer = try await post("/v1/producer/\(uuid)/task", ["taskname": taskname].merging(more) { $1 })
    guard answer.status == 202, let auuid = answer["auuid"] as? String else {
      throw StandFault("POST: \(answer.status) \(answer.text)")
    }
    return auuid
  }

  /// The run once it has its verdict.
  func verdict(_ auuid: String, within seconds: Double = 60) async throws -> [String: Any] {
    let open: Set<String> = ["queued", "sent", "running", "unknown"]
    return try await eventually("\(auuid) has a verdict", within: seconds) {
      let run = try await self.get("/v1/runs/\(auuid)").json
      guard let state = run["state"] as? String, !open.contains(state) else { return nil }
      return run
    }
  }

  func log(_ auuid: String, _ query: String = "") async throws -> Data {
    try await get("/v1/runs/\(auuid)/log\(query)", ["-H", "Accept: text/plain"]).bytes
  }

  func redisCLI(_ arguments: String...) async throws -> String {
    String(decoding: try await output(of: "redis-cli", ["-p", "\(try redisPort())"] + arguments), as: UTF8.self)
      .trimmingCharacters(in: .newlines)
  }

  /// Ends everything: agents with their commands, dashboard, embedded Redis.
  func stop() async throws {
    for (uuid, agent) in agents where agent.isRunning {
      _ = try await output(
        of: "agent", ["stop", "--kill", "-f", folder.appendingPathComponent("\(uuid).json").path], allowFailure: true)
      try await agent.end()
    }
    if dashboard.isRunning { try await dashboard.end() }
    if redis == "embedded", redisSettings == nil, let port = try? redisPort() {
      _ = try await output(of: "redis-cli", ["-p", "\(port)", "shutdown", "nosave"], allowFailure: true)
    }
    SmallDisk.unmount(folder.appendingPathComponent("data"))
    try FileManager.default.removeItem(at: folder)
  }
}

/// A counter for names.
final class Atomic: @unchecked Sendable {  // guarded by its lock
  private let lock = NSLock()
  private var value = 0
  func next() -> Int {
    lock.lock()
    defer { lock.unlock() }
    value += 1
    return value
  }
}

/// At most so many stands at once: fifty dashboards, agents and Redis servers that start together on two cores only keep each other waiting.
private actor Places {
  static let all = Places()
  private var free = 10
  private var waiting: [CheckedContinuation<Void, Never>] = []

  func take() async {
    if free > 0 { free -= 1 } else { await withCheckedContinuation { waiting.append($0) } }
  }
  func giveBack() {
    if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
  }
}

/// Runs a test on a stand and cleans up whatever happens; on failure the programs' logs are part of the message.
func withStand(
  redis: String = "embedded", redisSettings: [String: Any]? = nil, environment: [String: String] = [:], disk: Int? = nil,
  _ body: (Stand) async throws -> Void
) async throws {
  await Places.all.take()
  let outcome: Result<Void, any Error>
  do {
    let stand = try await Stand.start(redis: redis, redisSettings: redisSettings, environment: environment, disk: disk)
    outcome = .success(try await runStand(stand, body))
  } catch {
    outcome = .failure(error)
  }
  await Places.all.giveBack()
  try outcome.get()
}

private func runStand(_ stand: Stand, _ body: (Stand) async throws -> Void) async throws {
  do {
    try await body(stand)
    try await stand.stop()
  } catch {
    let logs =
      (try? FileManager.default.contentsOfDirectory(at: stand.folder, includingPropertiesForKeys: nil))?
      .filter { $0.pathExtension == "log" }
      .map { "--- \($0.lastPathComponent)\n\(((try? String(contentsOf: $0, encoding: .utf8)) ?? "").suffix(3000))" }
      .joined(separator: "\n") ?? ""
    try? await stand.stop()
    throw StandFault("\(error)\n\(logs)")
  }
}
