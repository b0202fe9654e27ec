// The agent's work in the tests' own process, with a real Redis, real files and real runners: for what no process can be made to suffer from
// outside, a disk that does not take a sync, say.

import Glibc
import Logging
import Redis
import RedisTestSupport
import Shared

@testable import Agent

final class WorkInside: Sendable {
  let redis: RedisServerProcess
  let disk: AgentOnDisk
  let dashboard: StandInDashboard
  let settings: AgentSettings
  let board = StatusBoard()

  init(_ settings: [String: JSONValue] = [:]) async throws {
    redis = try await RedisServerProcess.start()
    disk = try AgentOnDisk(redisPort: redis.port, settings)
    dashboard = StandInDashboard(redis)
    _ = try await dashboard.connection.connected(within: .seconds(10))
    _ = try await dashboard.connection.send(RedisCommand("SET", Keys.dashboard, "stand-in"))
    let surroundings = SettingsSurroundings(environment: [:], workingFolder: disk.folder, isRoot: true)
    self.settings = try AgentSettings.load(file: disk.settingsFile, in: surroundings)
    try self.settings.prepareFolders()
  }

  var journalFile: String { settings.state.path + "/journal" }
  func marker(_ name: String) -> String { "\(disk.folder)/\(name)" }
  func contents(_ path: String) -> String { (try? Files.read(path)).map { String(decoding: $0, as: UTF8.self) } ?? "" }

  /// Opens the journal and makes out what became of everything in it; nothing is said to Redis yet.
  func make() async throws -> Worker {
    let runner = RunnerProgram(executable: AgentOnDisk.executable, arguments: ["agent", "runner"])
    return try await Worker.make(
      WorkSurroundings(
        settings: settings, uuid: AgentID(disk.uuid), host: HostFacts.read(), descriptors: DescriptorLimit.current(),
        httpPort: nil, runner: runner, logger: Logger(label: "inside") { _ in SwiftLogNoOpLogHandler() }, board: board))
  }

  /// Works until the body has returned, then leaves as `agent stop` does.
  func work(_ worker: Worker? = nil, _ body: (Worker) async throws -> Void) async throws {
    let worker = if let worker { worker } else { try await make() }
    let running = Task { await worker.run() }
    let outcome: Result<Void, any Error>
    do {
      outcome = .success(try await body(worker))
    } catch {
      outcome = .failure(error)
    }
    await worker.stop(.leave)
    _ = await running.value
    await worker.end()
    try outcome.get()
  }
}

extension Journal {
  /// From here on what is appended reaches no disk, and a sync says so; until the file is written anew.
  func failSyncs() throws {
    let null = Glibc.open("/dev/null", O_RDWR | O_CLOEXEC)
    defer { close(null) }
    let descriptor = state.withLock { $0.file.descriptor }
    guard null >= 0, dup2(null, descriptor) == descriptor else { throw TestFailure("dup2: errno \(errno)") }
  }

  /// How many records there are, durable or not.
  var count: UInt64 { state.withLock { $0.position.count } }
}
