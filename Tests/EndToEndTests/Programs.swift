// The real programs, as an operator runs them: `dashboard` with its embedded Redis (or one of the test's own), `agent run`, and `curl`.
// Each stand has a temporary folder and free ports, and is stopped by process id.
import Foundation
import Glibc

struct StandFault: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Waits for something that will be true, with a deadline; polling, because the programs are other processes.
func eventually<T>(_ what: String, within seconds: Double = 30, _ look: () async throws -> T?) async throws -> T {
  let deadline = ContinuousClock.now + .seconds(seconds)
  var last: (any Error)?
  while ContinuousClock.now < deadline {
    do {
      if let found = try await look() { return found }
      last = nil
    } catch { last = error }
    try await Task.sleep(for: .milliseconds(20))
  }
  throw StandFault("not within \(seconds) s: \(what)\(last.map { " (last: \($0))" } ?? "")")
}

/// A program of ours, or a server, that runs until it is ended. Not Foundation's `Process`: that one notices an end by a descriptor that the
/// program's own children inherit, so a killed dashboard would seem to run as long as its Redis does.
final class Running: @unchecked Sendable {  // `ended` is guarded by its lock, the rest is set up in `init`
  let pid: pid_t
  let log: URL
  let name: String
  private let lock = NSLock()
  private var ended: Int32?

  init(_ executable: URL, _ arguments: [String], in folder: URL, log name: String) throws {
    self.name = name
    log = folder.appendingPathComponent("\(name).log")
    var actions = posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, log.path, O_WRONLY | O_CREAT | O_APPEND, 0o644)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigdefault(&attributes, &all)
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
    let shell = ["/bin/sh", "-c", #"cd "$1" && shift && exec "$@""#, "sh", folder.path, executable.path]
    var words: [UnsafeMutablePointer<CChar>?] = (shell + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var pid: pid_t = 0
    let code = posix_spawn(&pid, "/bin/sh", &actions, &attributes, &words, environ)
    guard code == 0 else { throw StandFault("\(executable.path): \(String(cString: strerror(code)))") }
    self.pid = pid
  }

  /// Its exit status once it has ended: an exit code, or the number of the signal that ended it.
  var status: Int32? {
    lock.lock()
    defer { lock.unlock() }
    if let ended { return ended }
    var status: Int32 = 0
    guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
    ended = status & 0x7f == 0 ? (status >> 8) & 0xff : status & 0x7f
    return ended
  }
  var isRunning: Bool { status == nil }
  var text: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

  /// Signals it and waits for its end. Returns the exit status.
  @discardableResult
  func end(_ signal: Int32 = SIGTERM, within seconds: Double = 12) async throws -> Int32 {
    if isRunning { kill(pid, signal) }
    return try await eventually("\(name) ends on signal \(signal)", within: seconds) { self.status }
  }
}

enum Binaries {
  /// Beside the test bundle, where the package manager puts products.
  static func url(_ name: String) throws -> URL {
    var folder = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
    for _ in 0..<5 {
      let candidate = folder.appendingPathComponent(name)
      if FileManager.default.isExecutableFile(atPath: candidate.path) { return candidate }
      folder.deleteLastPathComponent()
    }
    for path in (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin").split(separator: ":") {
      let candidate = URL(fileURLWithPath: String(path)).appendingPathComponent(name)
      if FileManager.default.isExecutableFile(atPath: candidate.path) { return candidate }
    }
    throw StandFault("no program \(name): build all products first")
  }
}

/// Runs a command to its end and returns what it printed.
func output(of name: String, _ arguments: [String], allowFailure: Bool = false) async throws -> Data {
  let process = Process()
  let pipe = Pipe()
  process.executableURL = try Binaries.url(name)
  process.arguments = arguments
  process.standardOutput = pipe
  process.standardError = FileHandle.nullDevice
  process.standardInput = FileHandle.nullDevice
  return try await withCheckedThrowingContinuation { continuation in
    // A thread of its own: reading a pipe blocks, and must not hold the cooperative pool.
    let thread = Thread {
      do {
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        if process.terminationStatus != 0 && !allowFailure {
          throw StandFault("\(name) \(arguments.joined(separator: " ")) ended with \(process.terminationStatus)")
        }
        continuation.resume(returning: data)
      } catch { continuation.resume(throwing: error) }
    }
    thread.start()
  }
}

struct Answer {
  var status: Int
  var bytes: Data
  var text: String { String(decoding: bytes, as: UTF8.self) }
  var json: [String: Any] { (try? JSONSerialization.jsonObject(with: bytes)) as? [String: Any] ?? [:] }
  subscript(_ key: String) -> Any? { json[key] }
}
