// A real runner process and the agent's side of its socket, for tests. Waiting always has a deadline and always waits for a message.
// Each test's body runs on a thread of its own (`withRunner`), because it blocks.

import Glibc
import Testing

@testable import Runner

struct TestFault: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Runs `body` on a new thread.
/// - Parameter stack: bytes; nil: as many as a thread has.
func onThread<T: Sendable>(stack: Int? = nil, _ body: @escaping @Sendable () throws -> T) async throws -> T {
  try await withCheckedThrowingContinuation { continuation in
    let start = Unmanaged.passRetained(Box { continuation.resume(with: Result { try body() }) })
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    if let stack { pthread_attr_setstacksize(&attributes, stack) }
    pthread_create(
      &thread, &attributes,
      { argument in
        guard let argument else { return nil }
        Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body()
        return nil
      }, start.toOpaque())
    pthread_detach(thread)
  }
}

private final class Box {
  let body: () -> Void
  init(_ body: @escaping () -> Void) { self.body = body }
}

func withRunner(
  prelude: String? = nil, inside wrapper: String? = nil, _ body: @escaping @Sendable (RunnerUnderTest) throws -> Void
) async throws {
  try await onThread {
    let folder = try TestFolder()
    let runner = try RunnerUnderTest(folder: folder, prelude: prelude, inside: wrapper)
    try body(runner)
  }
}

/// A new folder under the temporary one, removed with this object.
final class TestFolder {
  let path: String

  init() throws {
    var template = Array("/tmp/muster-runner.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw TestFault("no folder: \(errno)") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    chmod(path, 0o755)
  }

  deinit {
    guard let folder = opendir(path) else { return }
    while let item = readdir(folder) {
      let name = withUnsafePointer(to: &item.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      unlink("\(path)/\(name)")
    }
    closedir(folder)
    rmdir(path)
  }
}

func contents(of path: String) -> [UInt8]? { System.contents(of: path, limit: 64 << 20) }

/// Asks again and again until it is so.
func poll(within seconds: Double = 20, _ condition: () -> Bool) -> Bool {
  let end = System.monotonic() + UInt64(seconds * 1e9)
  while !condition() {
    if System.monotonic() > end { return false }
    usleep(2000)
  }
  return true
}

func isAlive(_ pid: Int32) -> Bool { ProcessEntry(pid: pid).map { !$0.isDead } ?? false }

/// A runner that reads its kill request and waits for the rest of it.
final class HeldUp {
  private var pipe: Descriptor?

  fileprivate init(_ pipe: Descriptor) { self.pipe = pipe }

  /// It goes on.
  /// - Parameter request: what it was asked; nil: nothing that can be read.
  func release(_ request: RunnerOrder? = nil) throws {
    guard let pipe else { throw TestFault("it was released before") }
    let bytes = request?.framed ?? []
    guard write(pipe.raw, bytes, bytes.count) == bytes.count else { throw TestFault("write: \(errno)") }
    self.pipe = nil
  }
}

final class RunnerUnderTest {
  static let child: String = {
    var path = [CChar](repeating: 0, count: 4096)
    let length = readlink("/proc/self/exe", &path, 4095)
    let own = String(decoding: path.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return own.prefix(through: own.lastIndex(of: "/") ?? own.startIndex) + "RunnerTestChild"
  }()

  struct Ended {
    var pid: Int32 = 0
    var segments: [SegmentList] = []
    var message: EndedMessage
    var exit: ExitRecord { message.exit }
  }

  let folder: TestFolder
  let recordsPath: String
  let process: RunnerProcess
  private(set) var isReaped = false
  private var isClosed = false
  private var frames = FrameBuffer()
  private var count = 0

  /// - Parameters:
  ///   - prelude: a line of shell that sets up what the runner inherits.
  ///   - wrapper: a program, with words of its own, that starts the runner and is then the process that the test knows.
  init(folder: TestFolder, prelude: String? = nil, inside wrapper: String? = nil) throws {
    self.folder = folder
    recordsPath = "\(folder.path)/records"
    let isDirect = prelude == nil && wrapper == nil
    let shell = ["sh", "-c", "\(prelude ?? "true"); exec \(wrapper ?? "") \(RunnerUnderTest.child) runner \(recordsPath)"]
    let direct = ["agent", "runner", recordsPath]
    process = try RunnerProcess.start(
      executable: Array((isDirect ? RunnerUnderTest.child : "/bin/sh").utf8),
      arguments: (isDirect ? direct : shell).map { Array($0.utf8) })
    guard case .records = try next(), case .idle = try next() else { throw TestFault("not the two first messages") }
  }

  deinit {
    if process.pidfd >= 0 { close(process.pidfd) }
    disconnect()
    guard !isReaped else { return }
    kill(process.pid, SIGKILL)
    waitpid(process.pid, nil, 0)
    if case .opened(let record)? = records().first { ControlGroup.remove(record.controlGroup) }
  }

  // MARK: Orders

  /// A run of the scripted child.
  func order(_ behaviour: String...) -> AttemptOrder { order(program: RunnerUnderTest.child, ["child"] + behaviour) }

  func shell(_ line: String) -> AttemptOrder { order(program: "/bin/sh", ["sh", "-c", line]) }

  func order(program: String, _ arguments: [String]) -> AttemptOrder {
    count += 1
    var order = AttemptOrder(
      run: "web-\(count)", attempt: 1, executable: Array(program.utf8), arguments: arguments.map { Array($0.utf8) },
      outputPath: Array("\(folder.path)/\(count).log".utf8))
    order.environment = ["PATH=/usr/bin:/bin"].map { Array($0.utf8) }
    return order
  }

  func send(_ order: RunnerOrder) throws { try send(bytes: order.framed) }

  func send(bytes: [UInt8]) throws {
    var done = 0
    while done < bytes.count {
      let sent = bytes[done...].withUnsafeBytes { Glibc.send(process.socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard sent > 0 else { throw TestFault("cannot send: \(errno)") }
      done += sent
    }
  }

  func disconnect() {
    if !isClosed { close(process.socket) }
    isClosed = true
  }

  // MARK: Messages

  func next(within seconds: Double = 30) throws -> RunnerMessage {
    let end = System.monotonic() + UInt64(seconds * 1e9)
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      if let frame = frames.next() {
        guard let message = RunnerMessage(frame: frame) else { throw TestFault("unreadable message") }
        return message
      }
      let now = System.monotonic()
      guard now < end else { throw TestFault("no message within \(seconds) s") }
      var socket = pollfd(fd: process.socket, events: Int16(POLLIN), revents: 0)
      guard Glibc.poll(&socket, 1, Int32((end - now) / 1_000_000) + 1) > 0 else { continue }
      let count = recv(process.socket, &buffer, buffer.count, 0)
      guard count > 0 else { throw TestFault("the runner closed its socket") }
      frames.append(buffer[..<count])
    }
  }

  /// The first message that `pick` takes; those before it are dropped.
  func wait<T>(within seconds: Double = 30, for pick: (RunnerMessage) -> T?) throws -> T {
    while true {
      if let picked = pick(try next(within: seconds)) { return picked }
    }
  }

  func begin(_ order: AttemptOrder) throws -> Int32 {
    try send(.attempt(order))
    return try wait { if case .began(_, _, let pid, _) = $0 { pid } else { nil } }
  }

  /// Everything up to the end of the attempt.
  func end(within seconds: Double = 30) throws -> Ended {
    var segments: [SegmentList] = []
    return try wait(within: seconds) { message in
      if case .output(_, _, let list) = message { segments.append(list) }
      guard case .ended(let message) = message else { return nil }
      return Ended(segments: segments, message: message)
    }
  }

  func run(_ order: AttemptOrder, within seconds: Double = 30) throws -> Ended {
    let pid = try begin(order)
    var ended = try end(within: seconds)
    ended.pid = pid
    return ended
  }

  func waitForIdle() throws { _ = try wait { $0 == .idle ? true : nil } as Bool }

  /// Reads messages until so much output was told of.
  func waitForOutput(_ bytes: UInt64) throws {
    _ = try wait { if case .output(_, _, let list) = $0, list.end >= bytes { true } else { nil } } as Bool
  }

  /// Waits for the process itself and gives its exit code, or minus the signal.
  func waitForExit(within seconds: Double = 20) throws -> Int32 {
    var status: Int32 = 0
    let ended = poll(within: seconds) { waitpid(process.pid, &status, WNOHANG) == process.pid }
    guard ended else { throw TestFault("the runner did not leave") }
    isReaped = true
    return status & 0x7F == 0 ? status >> 8 : -(status & 0x7F)
  }

  // MARK: Trouble

  /// Holds the runner up, as a disk would that does not answer: by a kill request that does not come to its end. Nil where the runner has
  /// nothing at work any more.
  func holdUp() throws -> HeldUp? {
    let path = recordsPath + ".kill"
    guard mkfifo(path, 0o600) == 0 else { throw TestFault("no pipe: \(errno)") }
    kill(process.pid, SIGTERM)
    var pipe: Descriptor?
    let isDecided = poll {
      // There is somebody to write to only once the runner has opened it.
      pipe = Descriptor(open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC))
      return pipe != nil || records().contains { if case .exit = $0 { true } else { false } }
    }
    guard isDecided else { throw TestFault("the runner neither reads its kill request nor ends") }
    return pipe.map { HeldUp($0) }
  }

  /// Bounds the size of the files that the runner itself may write: its disk is full. Nil: as before.
  func limitFiles(to bytes: UInt64?) throws {
    // Swift hides prlimit.
    guard let symbol = dlsym(nil, "prlimit") else { throw TestFault("no prlimit") }
    typealias Function = @convention(c) (Int32, Int32, UnsafePointer<rlimit>, UnsafeMutablePointer<rlimit>?) -> Int32
    var limit = rlimit(rlim_cur: rlim_t(bytes ?? .max), rlim_max: rlim_t.max)
    // RLIMIT_FSIZE
    guard unsafeBitCast(symbol, to: Function.self)(process.pid, 1, &limit, nil) == 0 else { throw TestFault("prlimit: \(errno)") }
  }

  // MARK: Files

  func file(_ order: AttemptOrder) -> [UInt8]? { contents(of: String(decoding: order.outputPath, as: UTF8.self)) }

  func text(_ order: AttemptOrder) -> String { String(decoding: file(order) ?? [], as: UTF8.self) }

  func records() -> [RunnerRecord] {
    var reader = RecordsReader(path: Array(recordsPath.utf8))
    return reader.rest().records
  }
}
