// A program that the harness starts, signals and waits for. In a session of its own: Ctrl-C is for the harness, which ends things in order.

import CSpawn
import Glibc
import Synchronization

final class ChildProcess: Sendable {
  let pid: pid_t
  let name: String
  private let ended = Mutex<Int32?>(nil)

  /// - Parameter environment: added to a small one with PATH, HOME and LANG.
  init(_ name: String, _ words: [String], environment: [String: String] = [:], folder: String, log: String) throws {
    self.name = name
    let descriptor = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw HarnessFault("\(log): \(systemError(errno))") }
    defer { close(descriptor) }
    var all = ["PATH": getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8"]
    all.merge(environment) { $1 }
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    var variables: [UnsafeMutablePointer<CChar>?] = all.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for word in arguments + variables { free(word) } }
    pid = try folder.withCString { directory in
      try arguments.withUnsafeMutableBufferPointer { arguments in
        try variables.withUnsafeMutableBufferPointer { variables in
          var request = cspawn_request()
          request.path = UnsafePointer(arguments[0])
          request.argv = UnsafePointer(arguments.baseAddress)
          request.envp = UnsafePointer(variables.baseAddress)
          request.directory = directory
          (request.stdin_fd, request.stdout_fd, request.stderr_fd, request.extra_fd) = (-1, descriptor, descriptor, -1)
          request.new_session = 1
          request.file_mask = -1
          var failure = cspawn_failure()
          let pid = cspawn_process(&request, &failure)
          guard pid > 0 else { throw HarnessFault("\(words[0]) cannot be started: \(systemError(failure.error))") }
          return pid
        }
      }
    }
  }

  /// What `waitpid` says of it, once it has ended.
  var status: Int32? {
    ended.withLock { ended in
      if let ended { return ended }
      var status: Int32 = 0
      guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
      ended = status
      return status
    }
  }

  var isRunning: Bool { status == nil }

  /// In words: "exit code 1", "signal 11".
  var end: String { status.map { "\(ProcessEnd(status: $0))" } ?? "running" }

  /// Whether it blocks, takes or ignores this signal by now. A program that has only just been started is ended by it.
  func heeds(_ number: Int32) -> Bool {
    ["SigBlk", "SigIgn", "SigCgt"].contains { name in
      let set = ProcessFile.field(name, of: pid).flatMap { UInt64($0, radix: 16) } ?? 0
      return set >> UInt64(number - 1) & 1 == 1
    }
  }

  func signal(_ number: Int32) {
    ended.withLock { ended in
      // Under the lock, and not yet waited for: the number cannot be somebody else's by now.
      if ended == nil { _ = Glibc.kill(pid, number) }
    }
  }
}

/// How a program has ended.
enum ProcessEnd: Hashable, CustomStringConvertible {
  case exitCode(Int32)
  case signal(Int32)

  /// - Parameter status: what `waitpid` says.
  init(status: Int32) { self = status & 0x7f == 0 ? .exitCode(status >> 8 & 0xff) : .signal(status & 0x7f) }

  var description: String {
    switch self {
    case .exitCode(let code): "exit code \(code)"
    case .signal(let number): "signal \(number)"
    }
  }

  /// Whether this is what comes of a signal: of SIGKILL nothing else than that, of SIGTERM exit code 0.
  /// - Parameter wasHeeded: whether the program had come so far as to take it.
  func isRight(after number: Int32, wasHeeded: Bool) -> Bool {
    switch self {
    case .exitCode(let code): number != SIGKILL && code == 0
    case .signal(let other): other == number && (number == SIGKILL || !wasHeeded)
    }
  }
}
