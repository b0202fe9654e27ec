// A dashboard's API on a live socket with a real store in a folder of its own; what the loops would do is scripted here.

import GRDB
import Glibc
import HTTP
import Shared
import Synchronization
import Testing

@testable import Dashboard

/// One API under test. `withScene` makes it and takes it down.
final class Scene: Sendable {
  struct Script: Sendable {
    var agents: Set<String> = ["web1", "web2", "db1"]
    var projects: [String: [String]] = ["web": ["web1", "web2"]]
    var redisAnswers = true
    var standing = APIStanding.accepting
    var health = HealthParts(store: "healthy", redis: "connected", warnings: [], canAccept: true)
    var presence: [AgentID: Presence] = [:]
    /// Runs are marked in the accepting transaction.
    var marks = false
    var outputGrace: Duration = .seconds(60)
    var accepted: [FreshTask] = []
    var stopped: [RunID] = []
    /// Asked by whom; what a removal does to the loops is not the API's.
    var removals: [String] = []
    var removal: (@Sendable (AgentRecord) throws -> RemovedAgents.Removal)?
    var failures: [String] = []
  }
  let script: Mutex<Script>
  let store: Store
  let watch = RunWatch()
  let server: Server
  let services: APIServices

  fileprivate init(folder: String, _ start: Script) throws {
    script = Mutex(start)
    store = try Store.open(at: folder + "/muster.sqlite", migrations: try migrations())
    let box = Box()
    services = APIServices(
      store: store, watch: watch, ids: ULIDGenerator(), clock: DeadlineClock(continuing: nil, boot: "b"),
      version: "9.8.7",
      agent: { name in try box.scene().agent(name) }, project: { name in try box.scene().project(name) },
      either: { name in try box.scene().either(name) },
      presence: { agent in box.scene().script.withLock { $0.presence[agent] } ?? Presence() },
      online: { box.scene().script.withLock { Set($0.presence.filter { $0.value.online }.keys) } },
      admit: { task, _ in
        guard box.scene().script.withLock({ $0.marks }) else { return }
        for index in task.runs.indices {
          task.runs[index].state = .sent
          task.runs[index].mark = SendMark(number: SendNumber(fence: 3, count: Int64(index)), journal: nil)
        }
      },
      accepted: { task in box.scene().script.withLock { $0.accepted.append(task) } },
      stopped: { runs in box.scene().script.withLock { $0.stopped += runs } },
      remove: { name, who in try await box.scene().remove(name, who) },
      standing: { box.scene().script.withLock { $0.standing } }, health: { box.scene().script.withLock { $0.health } },
      outputGrace: script.withLock { $0.outputGrace },
      failed: { error, target in box.scene().script.withLock { $0.failures.append("\(target): \(error)") } })
    var limits = ServerLimits()
    limits.halfClosedGrace = .milliseconds(50)
    server = try Server(port: 0, limits: limits, loops: 1, router: API(services).router())
    box.value.withLock { $0 = self }
  }

  /// Lets the closures find the scene that is made after them.
  private final class Box: Sendable {
    let value = Mutex<Scene?>(nil)
    func scene() -> Scene {
      guard let scene = value.withLock({ $0 }) else { preconditionFailure("asked before the scene was set") }
      return scene
    }
  }

  private func remove(_ name: String, _ who: String) async throws -> RemovedAgents.Removal? {
    guard let agent = try await store.read({ try AgentQueries.find($0, AgentID(name)) }) else { return nil }
    let removal = script.withLock { script in
      script.removals.append(who)
      return script.removal
    }
    return try removal?(agent)
  }

  private func agent(_ name: String) throws -> AgentID {
    let (known, answers) = script.withLock { ($0.agents.contains(name), $0.redisAnswers) }
    if known { return AgentID(name) }
    throw answers ? TargetFault.unknown(name) : .redisAway(name)
  }
  private func project(_ name: String) throws -> [AgentID] {
    let (members, answers) = script.withLock { ($0.projects[name], $0.redisAnswers) }
    if let members, !members.isEmpty { return members.map { AgentID($0) } }
    throw answers ? TargetFault.unknown(name) : .redisAway(name)
  }
  private func either(_ name: String) throws -> Target {
    if script.withLock({ $0.agents.contains(name) }) { return .agent(AgentID(name)) }
    return .project(name, members: try project(name))
  }

  // MARK: Talking to it

  func send(
    _ method: String, _ target: String, headers: [String: String] = [:], _ body: String = "", until seconds: Double = 20
  ) async throws -> Answer {
    let connection = try Connection(port: server.port, method, target, headers: headers, body: Array(body.utf8))
    defer { connection.close() }
    return try await connection.answer(within: .seconds(seconds))
  }
  func get(_ target: String, headers: [String: String] = [:]) async throws -> Answer {
    try await send("GET", target, headers: headers)
  }
  /// The JSON of an answer that must have this status.
  func json(_ target: String, status: Int = 200, _ location: SourceLocation = #_sourceLocation) async throws -> JSONValue {
    let answer = try await get(target)
    #expect(answer.status == status, "\(answer.text)", sourceLocation: location)
    return try answer.json()
  }
  func open(_ target: String, headers: [String: String] = [:]) throws -> Connection {
    try Connection(port: server.port, "GET", target, headers: headers, body: [])
  }

  /// Posts a task that must be accepted.
  func post(_ segment: String, _ body: String = #"{"taskname":"true"}"#) async throws -> JSONValue {
    let answer = try await send("POST", "/v1/producer/\(segment)/task", body)
    #expect(answer.status == 202, "\(answer.text)")
    return try answer.json()
  }
  /// Posts a task for one run and returns its `auuid`.
  func postOne(_ agent: String = "web1", _ body: String = #"{"taskname":"true"}"#) async throws -> String {
    try #require(try await post(agent, body)["auuid"]?.asString)
  }

  // MARK: What the loops would do

  /// Stores a hello and membership.
  func know(_ agent: String, projects: [String] = [], lastSeenAt: Int64? = nil, hello: Bool = true) async throws {
    let said = Hello(
      projects: projects, hostname: "host-\(agent)", address: "10.0.0.1", version: "1.0", os: "Linux", arch: "x86_64",
      startedAt: 1000,
      concurrency: 4, httpPort: 7070, sends: .zero)
    let text = hello ? String(decoding: try JSONCoder.encode(said), as: UTF8.self) : nil
    try await store.write { db in
      try db.execute(
        sql: "INSERT INTO agents (uuid, hello, created_at, last_seen_at) VALUES (?, ?, 0, ?)",
        arguments: [agent, text, lastSeenAt])
      for project in projects {
        try db.execute(sql: "INSERT INTO members (project, uuid) VALUES (?, ?)", arguments: [project, agent])
      }
    }
  }

  /// Stores output as a collector does: contiguous, one row.
  func output(
    _ auuid: String, attempt: Int = 1, _ parts: [(OutputStream, [UInt8])], at offset: Int64? = nil, announce: Bool = true
  ) async throws {
    let run = try #require(RunID(auuid))
    let bytes = parts.flatMap(\.1)
    let segments = parts.map { "\($0.0.rawValue):\($0.1.count)" }.joined(separator: ",")
    let end = try await store.write { db -> Int64 in
      let row = try #require(
        try Row.fetchOne(
          db, sql: "SELECT id, output_stored FROM runs WHERE task = ? AND uuid = ?",
          arguments: [run.task.description, run.agent.text]))
      let from = offset ?? row[1] as Int64
      let end = from + Int64(bytes.count)
      try db.execute(
        sql: "INSERT INTO output (run, attempt, offset, segments, bytes) VALUES (?, ?, ?, ?, x'\(Self.hex(bytes))')",
        arguments: [row[0] as Int64, attempt, from, segments])
      try db.execute(
        sql: "UPDATE runs SET output_stored = ?, output_bytes = max(output_bytes, ?) WHERE id = ?",
        arguments: [end, end, row[0] as Int64])
      return end
    }
    if announce { watch.publish([RunNews(run, .output(upTo: end))]) }
  }
  func output(_ auuid: String, attempt: Int = 1, _ text: String) async throws {
    try await output(auuid, attempt: attempt, [(.stdout, Array(text.utf8))])
  }

  /// Moves a run to a state, verdict or not.
  func move(
    _ auuid: String, to state: RunState, exitCode: Int? = nil, outputBytes: Int64? = nil,
    dropped: (from: Int64, count: Int64)? = nil,
    announce: Bool = true
  ) async throws {
    let run = try #require(RunID(auuid))
    try await move([run], to: state, exitCode: exitCode, outputBytes: outputBytes, dropped: dropped, announce: announce)
  }

  /// The same for several, in one transaction as a collector has it.
  func move(
    _ runs: [RunID], to state: RunState, exitCode: Int? = nil, outputBytes: Int64? = nil,
    dropped: (from: Int64, count: Int64)? = nil,
    announce: Bool = true
  ) async throws {
    try await store.write { db in
      for run in runs {
        try db.execute(
          sql: """
            UPDATE runs SET state = ?, exit_code = ?, output_bytes = coalesce(?, output_bytes), dropped_from = ?, dropped_bytes = ?,
              started_at = coalesce(started_at, 1763732700000), finished_at = ? WHERE task = ? AND uuid = ?
            """,
          arguments: [
            state.rawValue, exitCode, outputBytes, dropped?.from, dropped?.count ?? 0, state.isVerdict ? 1_763_732_700_123 : nil,
            run.task.description, run.agent.text,
          ])
      }
    }
    if announce { watch.publish(runs.map { RunNews($0, .state(state)) }) }
  }

  private static func hex(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }
}

/// Runs `body` against an API of its own, and takes everything down afterwards.
func withScene(_ script: Scene.Script = Scene.Script(), _ body: (Scene) async throws -> Void) async throws {
  try await withFolder { folder in
    let scene = try Scene(folder: folder, script)
    let running = Task { try await scene.server.run() }
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body(scene)) } catch { outcome = .failure(error) }
    await scene.server.shutdown()
    try await running.value
    try scene.store.close()
    try outcome.get()
    let failures = scene.script.withLock { $0.failures }
    #expect(failures.isEmpty, "the API called these a mistake of its own")
  }
}

/// A folder that is gone afterwards.
func withFolder(_ body: (String) async throws -> Void) async throws {
  var template = Array("/tmp/muster-test-XXXXXX".utf8CString)
  try #require(mkdtemp(&template) != nil)
  let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  defer {
    for name in ["", "-wal", "-shm"] { unlink(folder + "/muster.sqlite" + name) }
    rmdir(folder)
  }
  try await body(folder)
}

/// Waits until the condition holds; false when it did not within the time.
func eventually(within limit: Duration = .seconds(15), _ condition: () async throws -> Bool) async rethrows -> Bool {
  let deadline = ContinuousClock.now + limit
  while ContinuousClock.now < deadline {
    if try await condition() { return true }
    try? await Task.sleep(for: .milliseconds(3))
  }
  return try await condition()
}
