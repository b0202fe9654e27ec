// The real programs, as an operator runs them: `dashboard` with its embedded Redis (or one of the test's own), `agent run`, and `curl`.
// Each stand has a temporary folder and free ports, and is stopped by process id.
import CSpawn
import Foundation
import Glibc

struct StandFault: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Waits for something that will be true, with a deadline; polling, because the programs are other processes.
func eventually<T>(_ what: String, within seconds: Double = 60, _ look: () async throws -> T?) async throws -> T {
  let deadline = ContinuousClock.now + .seconds(seconds)
  while true {
    // Looked at once more when the time is up: the machine may have given none to the last sleep.
    let isOver = ContinuousClock.now >= deadline
    var last: (any Error)?
    do {
      if let found = try await look() { return found }
    } catch { last = error }
    guard !isOver else { throw StandFault("not within \(seconds) s: \(what)\(last.map { " (last: \($0))" } ?? "")") }
    try await Task.sleep(for: .milliseconds(20))
  }
}

/// A program of ours, or a server, that runs until it is ended. Not Foundation's `Process`: that one notices an end by a descriptor that the
/// program's own children inherit, so a killed dashboard would seem to run as long as its Redis does.
final class Running: @unchecked Sendable {  // `ended` is guarded by its lock, the rest is set up in `init`
  let pid: pid_t
  let log: URL
  let name: String
  private let lock = NSLock()
  private var ended: Int32?

  /// - Parameter environment: beside what the tests themselves have.
  init(_ executable: URL, _ arguments: [String], in folder: URL, log name: String, environment: [String: String] = [:]) throws {
    self.name = name
    log = folder.appendingPathComponent("\(name).log")
    let descriptor = open(log.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw StandFault("\(log.path): \(String(cString: strerror(errno)))") }
    defer { close(descriptor) }
    // Everything but the three standard descriptors is closed in the child: an inherited pipe of another test's would never end.
    // Swift finds its arguments by their place before the environment, which a preloaded library may move: `env` has it do that first.
    let command = (environment["LD_PRELOAD"] == nil ? [] : ["/usr/bin/env"]) + [executable.path] + arguments
    var words: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    let inherited = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    var variables: [UnsafeMutablePointer<CChar>?] = inherited.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for word in words + variables { free(word) } }
    pid = try folder.path.withCString { directory in
      try words.withUnsafeMutableBufferPointer { words in
        try variables.withUnsafeMutableBufferPointer { variables in
          var request = cspawn_request()
          request.path = UnsafePointer(words[0])
          request.argv = UnsafePointer(words.baseAddress)
          request.envp = UnsafePointer(variables.baseAddress)
          request.directory = directory
          request.stdin_fd = -1
          request.stdout_fd = descriptor
          request.stderr_fd = descriptor
          request.extra_fd = -1
          request.file_mask = -1
          var failure = cspawn_failure()
          let pid = cspawn_process(&request, &failure)
          guard pid > 0 else { throw StandFault("\(executable.path): \(String(cString: strerror(failure.error)))") }
          return pid
        }
      }
    }
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
  // A server that another test starts at this moment must not inherit it: the pipe would end with that server.
  for end in [pipe.fileHandleForReading, pipe.fileHandleForWriting] { _ = fcntl(end.fileDescriptor, F_SETFD, FD_CLOEXEC) }
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
