// Starts the program of an attempt: C strings, pipes, standard input, and CSpawn.

import CSpawn
import Glibc

/// What a launch needs and has to have before the output file is made: that file says "started", so nothing avoidable may fail after it.
final class LaunchResources {
  let input: Descriptor
  private(set) var stdout: (read: Descriptor, write: Descriptor?)
  private(set) var stderr: (read: Descriptor, write: Descriptor?)

  init(standardInput: [UInt8]?) throws(RunnerFault) {
    stdout = try LaunchResources.makePipe()
    stderr = try LaunchResources.makePipe()
    if let standardInput {
      input = try LaunchResources.memory(standardInput)
    } else {
      guard let null = Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC)) else { throw RunnerFault("no /dev/null", errno) }
      input = null
    }
  }

  /// The command has its ends now; while the runner held them there would be no end-of-file.
  func closeChildSide() {
    stdout.write = nil
    stderr.write = nil
  }

  private static func makePipe() throws(RunnerFault) -> (Descriptor, Descriptor?) {
    var ends: [Int32] = [-1, -1]
    guard cspawn_pipe(&ends) == 0, let read = Descriptor(ends[0]), let write = Descriptor(ends[1]) else {
      throw RunnerFault("no pipe", errno)
    }
    return (read, write)
  }

  /// A file in memory: the command may read at its own pace, and nobody has to feed it.
  private static func memory(_ bytes: [UInt8]) throws(RunnerFault) -> Descriptor {
    guard let file = Descriptor(cspawn_memfd("stdin")) else { throw RunnerFault("no memory file", errno) }
    let (_, error) = bytes.withUnsafeBytes { System.write(file.raw, at: 0, $0) }
    if error != 0 { throw RunnerFault("no room for standard input", error) }
    return file
  }
}

enum LaunchOutcome {
  case started(pid: Int32)
  case failed(error: Int32, step: Int32)
}

enum Launch {
  static func start(_ order: AttemptOrder, _ resources: LaunchResources) -> LaunchOutcome {
    let limits = order.limits.map { cspawn_limit(resource: $0.resource, soft: $0.soft, hard: $0.hard) }
    let groups = order.ids?.groups ?? []
    let path = System.cString(order.executable)
    let directory = order.directory.isEmpty ? System.cString(Array("/".utf8)) : System.cString(order.directory)
    let arguments = CStringVector(order.arguments)
    let environment = CStringVector(order.environment)
    return path.withUnsafeBufferPointer { path in
      directory.withUnsafeBufferPointer { directory in
        groups.withUnsafeBufferPointer { groups in
          limits.withUnsafeBufferPointer { limits in
            var request = cspawn_request()
            request.path = path.baseAddress
            request.argv = arguments.pointer
            request.envp = environment.pointer
            request.directory = directory.baseAddress
            request.stdin_fd = resources.input.raw
            request.stdout_fd = resources.stdout.write?.raw ?? -1
            request.stderr_fd = resources.stderr.write?.raw ?? -1
            request.extra_fd = -1
            request.new_session = 1
            request.signals_are_default = 1
            request.file_mask = Int32(order.fileMask ?? 0o022) & 0o777
            if let ids = order.ids {
              request.set_ids = 1
              request.uid = ids.user
              request.gid = ids.group
              request.groups = groups.baseAddress
              request.group_count = groups.count
            }
            request.limits = limits.baseAddress
            request.limit_count = limits.count
            return spawn(&request)
          }
        }
      }
    }
  }

  static func spawn(_ request: inout cspawn_request) -> LaunchOutcome {
    var failure = cspawn_failure()
    let pid = cspawn_process(&request, &failure)
    return pid > 0 ? .started(pid: pid) : .failed(error: failure.error, step: failure.step)
  }
}

/// A NULL-terminated array of C strings, in two allocations.
final class CStringVector {
  private let characters: UnsafeMutableBufferPointer<CChar>
  private let pointers: UnsafeMutableBufferPointer<UnsafeMutablePointer<CChar>?>

  /// Valid as long as this object.
  var pointer: UnsafePointer<UnsafeMutablePointer<CChar>?>? { UnsafePointer(pointers.baseAddress) }

  init(_ strings: [[UInt8]]) {
    characters = .allocate(capacity: strings.reduce(1) { $0 + $1.count + 1 })
    pointers = .allocate(capacity: strings.count + 1)
    characters.initialize(repeating: 0)
    pointers.initialize(repeating: nil)
    var at = 0
    for (index, string) in strings.enumerated() {
      pointers[index] = characters.baseAddress?.advanced(by: at)
      for byte in string {
        characters[at] = CChar(bitPattern: byte)
        at += 1
      }
      at += 1
    }
  }

  deinit {
    characters.deallocate()
    pointers.deallocate()
  }
}
