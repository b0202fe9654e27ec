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

/// A program of ours, or a server, that runs until it is ended.
final class Running: @unchecked Sendable {  // set up in `init`, afterwards only read; Process is used from one test at a time
  let process = Process()
  let log: URL
  let name: String

  init(_ executable: URL, _ arguments: [String], in folder: URL, log name: String, environment: [String: String] = [:]) throws {
    self.name = name
    log = folder.appendingPathComponent("\(name).log")
    if !FileManager.default.fileExists(atPath: log.path) { FileManager.default.createFile(atPath: log.path, contents: nil) }
    let handle = try FileHandle(forWritingTo: log)
    try handle.seekToEnd()
    process.executableURL = executable
    process.arguments = arguments
    process.currentDirectoryURL = folder
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = handle
    process.standardError = handle
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    try process.run()
  }

  var pid: pid_t { process.processIdentifier }
  var isRunning: Bool { process.isRunning }
  var text: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

  /// Signals it and waits for its end. Returns the exit status (a signal's number where one ended it).
  @discardableResult
  func end(_ signal: Int32 = SIGTERM, within seconds: Double = 12) async throws -> Int32 {
    if process.isRunning { kill(pid, signal) }
    _ = try await eventually("\(name) ends on signal \(signal)", within: seconds) { process.isRunning ? nil : true }
    return process.terminationStatus
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
