// A real `agent` in tests: a temporary folder with its settings, commands run to their end, processes ended by their number.

import Glibc
import RedisTestSupport
import Shared
import Synchronization

/// One agent's folder and settings. Whatever was started on it is ended, and the folder removed, when the last reference goes.
final class AgentOnDisk: Sendable {
  let folder: String
  let uuid: String
  private let started = Mutex<[pid_t]>([])
  private let runs = Mutex(0)

  var state: String { folder + "/state" }
  var settingsFile: String { folder + "/agent.json" }
  var logFile: String { state + "/log/agent.log" }

  /// - Parameter settings: what the file holds beside uuid, state.path and an HTTP port of 0; keys may overwrite those.
  init(redisPort: Int, uuid: String = "web-1", _ settings: [String: JSONValue] = [:]) throws {
    var template = Array("/tmp/muster-agent-XXXXXX".utf8CString)
    guard let path = mkdtemp(&template) else { throw TestFailure("mkdtemp: errno \(errno)") }
    folder = String(cString: path)
    self.uuid = uuid
    var all = JSONObject()
    all["uuid"] = .string(uuid)
    all["redis"] = ["addr": "127.0.0.1", "port": .integer(Int64(redisPort))]
    all["state"] = ["path": .string(folder + "/state")]
    all["http"] = ["listen": "127.0.0.1:0"]
    for (key, value) in settings { all[key] = value }
    try Files.writeAtomically(JSONValue.object(all).bytes(), to: settingsFile)
  }

  deinit {
    if let text = try? Files.read(state + "/agent.pid"), let pid = pid_t(String(decoding: text.dropLast(), as: UTF8.self)),
      let record = try? JSONReader.parse(Files.read(state + "/agent.process")), record["pid"]?.asInteger == Int64(pid),
      (try? Files.read("/proc/\(pid)/cmdline")).map({ String(decoding: $0, as: UTF8.self).contains("ready-descriptor") }) == true
    {
      _ = kill(pid, SIGKILL)
    }
    for pid in started.withLock({ $0 }) {
      _ = kill(pid, SIGKILL)
      waitpid(pid, nil, 0)
    }
    removeTree(folder)
  }

  /// The executable under test, beside the test bundle.
  static let executable: String = {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = max(0, readlink("/proc/self/exe", &buffer, buffer.count))
    let own = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return Files.parent(of: own) + "/agent"
  }()

  /// Starts `agent <words>`, or another program, with standard output and error in files.
  /// - Parameter environment: on top of PATH and HOME; nothing else of the tests' own but their mark.
  func spawn(
    _ words: [String], environment: [String: String] = [:], closing closed: [Int32] = [],
    program: String = AgentOnDisk.executable
  ) throws -> AgentCommandRun {
    let number = runs.withLock { count in
      count += 1
      return count
    }
    let run = AgentCommandRun(output: "\(folder)/\(number).out", errors: "\(folder)/\(number).err")
    var all = ["PATH": "/usr/bin:/bin", "HOME": folder]
    // By it `scripts/test` finds what a module has left.
    if let mark = getenv("TEST_MODULE_RUN") { all["TEST_MODULE_RUN"] = String(cString: mark) }
    all.merge(environment) { $1 }
    var arguments: [UnsafeMutablePointer<CChar>?] = ([program] + words).map { strdup($0) } + [nil]
    var variables: [UnsafeMutablePointer<CChar>?] = all.map { strdup("\($0)=\($1)") } + [nil]
    defer { for string in arguments + variables { free(string) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, run.output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, run.errors, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    for descriptor in closed { posix_spawn_file_actions_addclose(&actions, descriptor) }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    var pid: pid_t = 0
    let code = posix_spawn(&pid, program, &actions, &attributes, &arguments, &variables)
    guard code == 0 else { throw TestFailure("\(program) cannot be started: errno \(code)") }
    run.process.withLock { $0 = pid }
    started.withLock { $0.append(pid) }
    return run
  }

  /// Runs `agent <words> -f <the settings>` to its end.
  func command(_ words: String..., environment: [String: String] = [:], within limit: Duration = .seconds(30)) async throws
    -> Finished
  {
    try await run(words + ["-f", settingsFile], environment: environment, within: limit)
  }

  /// Runs `agent <words>` to its end.
  func run(_ words: [String], environment: [String: String] = [:], within limit: Duration = .seconds(30)) async throws -> Finished
  {
    try await end(of: try spawn(words, environment: environment), within: limit)
  }

  /// Waits for the end of what `spawn` started.
  func end(of run: AgentCommandRun, within limit: Duration = .seconds(30)) async throws -> Finished {
    let pid = run.pid
    var status: Int32 = 0
    try await eventually("the command ends", within: limit) { waitpid(pid, &status, WNOHANG) == pid }
    started.withLock { $0.removeAll { $0 == pid } }
    return Finished(
      code: status & 0x7f == 0 ? status >> 8 & 0xff : -(status & 0x7f), output: run.outputText, errors: run.errorText)
  }

  /// What `agent status` prints, by its words; nil where it fails.
  func status() async throws -> [String: String]? {
    let status = try await command("status")
    guard status.code == 0 else { return nil }
    return status.fields
  }
}

/// A command that has ended.
struct Finished {
  /// The exit code, or minus the signal.
  let code: Int32
  let output: String
  let errors: String

  /// `word: rest` lines.
  var fields: [String: String] {
    var fields: [String: String] = [:]
    for line in output.split(separator: "\n") {
      guard let colon = line.firstIndex(of: ":") else { continue }
      fields[String(line[..<colon])] = String(line[colon...].dropFirst(2))
    }
    return fields
  }
}

/// A command that may still run.
final class AgentCommandRun: Sendable {
  fileprivate let process = Mutex<pid_t>(0)
  fileprivate let output: String
  fileprivate let errors: String

  fileprivate init(output: String, errors: String) {
    self.output = output
    self.errors = errors
  }

  var pid: pid_t { process.withLock { $0 } }
  var outputText: String { text(output) }
  var errorText: String { text(errors) }

  private func text(_ path: String) -> String { (try? Files.read(path)).map { String(decoding: $0, as: UTF8.self) } ?? "" }
}

func removeTree(_ path: String) {
  guard let folder = opendir(path) else { return }
  defer {
    closedir(folder)
    rmdir(path)
  }
  while let entry = readdir(folder) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    guard name != ".", name != ".." else { continue }
    if entry.pointee.d_type == UInt8(DT_DIR) { removeTree(path + "/" + name) } else { unlink(path + "/" + name) }
  }
}
