// Starts a runner for the agent: own session, its socket as descriptor 3, the standard ones on /dev/null, everything else closed.

import CSpawn
import Glibc

/// A runner just started. The caller owns both descriptors and has to wait for the process (it is the caller's child).
public struct RunnerProcess: Sendable {
  public let pid: Int32
  /// Readable once the process has ended; -1 where the kernel has none.
  public let pidfd: Int32
  /// The agent's end of the socket; close-on-exec, blocking until set otherwise.
  public let socket: Int32

  /// - Parameters:
  ///   - executable: the program that calls `RunnerMain`, usually the agent's own.
  ///   - arguments: all of them, with the program's name first and the path of the records file last.
  ///   - environment: the runner's own, "NAME=value"; commands get theirs from their orders.
  /// - Throws: `RunnerStartError`.
  public static func start(
    executable: [UInt8], arguments: [[UInt8]], environment: [[UInt8]] = Pretending.environment
  ) throws(RunnerStartError) -> RunnerProcess {
    var ends: [Int32] = [-1, -1]
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw RunnerStartError(errno: errno, step: 0) }
    defer { close(ends[1]) }
    let argumentVector = CStringVector(arguments)
    let environmentVector = CStringVector(environment)
    let path = System.cString(executable)
    let root = System.cString(Array("/".utf8))
    let outcome = path.withUnsafeBufferPointer { path in
      root.withUnsafeBufferPointer { root in
        var request = cspawn_request()
        request.path = path.baseAddress
        request.argv = argumentVector.pointer
        request.envp = environmentVector.pointer
        request.directory = root.baseAddress
        (request.stdin_fd, request.stdout_fd, request.stderr_fd, request.extra_fd) = (-1, -1, -1, ends[1])
        request.new_session = 1
        request.file_mask = 0o022
        return Launch.spawn(&request)
      }
    }
    switch outcome {
    case .started(let pid): return RunnerProcess(pid: pid, pidfd: cspawn_pidfd_open(pid), socket: ends[0])
    case .failed(let error, let step):
      close(ends[0])
      throw RunnerStartError(errno: error, step: step)
    }
  }
}

/// Why a runner could not be started: errno, and `CSPAWN_STEP_*` (0: the socket).
public struct RunnerStartError: Error, Sendable, Equatable {
  public let errno: Int32
  public let step: Int32
}
