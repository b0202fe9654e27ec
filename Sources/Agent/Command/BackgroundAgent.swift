// `agent start`: starts this very program again as `agent run`, in a session of its own, and waits until it has registered in Redis.
//
// No fork without exec: threads and locks would be copied in any state. What the new process says comes by a pipe (`Readiness`); what
// it says when it crashes goes to a file beside its log. Whoever is given up on is ended before this returns.

import CSpawn
import Glibc
import Shared

enum BackgroundAgent {
  /// How long Redis may be away.
  static let redisPatience: Duration = .seconds(10)
  /// How long everything else may take, a journal of a million records included.
  static let patience: Duration = .seconds(60)

  /// - Returns: the new process, once it has registered.
  static func start(_ settings: AgentSettings) throws(AgentFailure) -> Int32 {
    // Here too, so that what is wrong with the folders is said before anything is started.
    do throws(SettingsProblems) { try settings.prepareFolders() } catch { throw .settings(error) }
    let remains = settings.logFile + ".stderr"
    let errors = open(remains, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
    guard errors >= 0 else { throw .file(FileError("open", remains)) }
    defer { close(errors) }
    let before = lseek(errors, 0, SEEK_END)
    var ends: [Int32] = [-1, -1]
    guard cspawn_pipe(&ends) == 0 else { throw .system(action: "make a pipe", code: errno) }
    defer { close(ends[0]) }
    let pid = try spawn(settings, readiness: ends[1], standardError: errors)
    close(ends[1])
    let child = Child(pid: pid)

    var waiter = ReadinessWaiter(descriptor: ends[0])
    switch waiter.wait() {
    case .ready: return pid
    case .failed(let words):
      let end = child.end(within: .seconds(10))
      throw .backgroundFailed(words, ExitStatus(rawValue: end.exitCode ?? 1) ?? .failed)
    case .closed:
      let end = child.end(within: .seconds(10))
      throw .backgroundDied(end: end.words, lastWords: lastWords(remains, from: before), file: remains)
    case .redisAway(let reason):
      child.end(within: .seconds(10))
      throw .redisAway(place: "\(settings.redis.place)", reason: reason, after: redisPatience)
    case .outOfTime:
      child.end(within: .seconds(10))
      throw .notReady(after: patience)
    }
  }

  private static func spawn(_ settings: AgentSettings, readiness: Int32, standardError: Int32) throws(AgentFailure) -> Int32 {
    // By its own path, so that `ps` shows it; by /proc where that file has been replaced since.
    let link = "/proc/self/exe"
    let own = readLink(link)
    let program = own.flatMap { access($0, X_OK) == 0 ? $0 : nil } ?? link
    var words = [own ?? "agent", "run", "--ready-descriptor", "3"]
    if let file = settings.source.file { words += ["-f", file] }
    let arguments = CStrings(words)
    let path = CStrings([program])
    var request = cspawn_request()
    var failure = cspawn_failure()
    request.path = path.first
    request.argv = arguments.pointer
    request.envp = UnsafePointer(environ)
    (request.stdin_fd, request.stdout_fd, request.stderr_fd, request.extra_fd) = (-1, standardError, standardError, readiness)
    request.new_session = 1
    request.file_mask = -1
    let pid = cspawn_process(&request, &failure)
    guard pid > 0 else { throw .cannotSpawn(program: program, code: failure.error) }
    return pid
  }

  private static func readLink(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink(path, &buffer, buffer.count)
    return count > 0 ? String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
  }

  /// What was added to a file, its last 2 KiB at most.
  private static func lastWords(_ path: String, from offset: Int) -> String {
    guard let content = try? Files.read(path, limit: 64 << 20), content.count > offset else { return "" }
    var words = String(decoding: content[max(0, offset)...].suffix(2048), as: UTF8.self)
    while words.last?.isWhitespace == true { words.removeLast() }
    return words
  }
}

/// Reads what the background agent says.
private struct ReadinessWaiter: ~Copyable {
  enum Outcome {
    case ready
    case failed(String)
    case closed
    case redisAway(String)
    case outOfTime
  }

  let descriptor: Int32
  private var bytes: [UInt8] = []
  private var redisReason: String?
  private var deadline: ContinuousClock.Instant

  init(descriptor: Int32) {
    self.descriptor = descriptor
    deadline = .now + BackgroundAgent.patience
  }

  mutating func wait() -> Outcome {
    while true {
      let left = deadline - .now
      guard left > .zero else { return redisReason.map { .redisAway($0) } ?? .outOfTime }
      var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard cspawn_poll(&entry, 1, left.nanoseconds) > 0 else { continue }
      var chunk = [UInt8](repeating: 0, count: 4096)
      let count = read(descriptor, &chunk, chunk.count)
      if count < 0 { continue }
      bytes += chunk[..<count]
      for message in ReadinessMessage.take(from: &bytes, atEnd: count == 0) {
        switch message {
        case .ready: return .ready
        case .failed(let words): return .failed(words)
        case .waiting(let reason):
          if redisReason == nil { deadline = min(deadline, .now + BackgroundAgent.redisPatience) }
          redisReason = reason
        }
      }
      if count == 0 { return .closed }
    }
  }
}

/// The process that `agent start` has started and may have to end.
private struct Child {
  struct End {
    /// Nil for a signal.
    var exitCode: Int32?
    var words: String
  }

  let pid: Int32

  /// Asks it to end, waits, and kills it where it does not.
  @discardableResult
  func end(within limit: Duration) -> End {
    kill(pid, SIGTERM)
    let descriptor = cspawn_pidfd_open(pid)
    if descriptor >= 0 {
      var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      if poll(&entry, 1, Int32(limit.components.seconds * 1000)) <= 0 { kill(pid, SIGKILL) }
      close(descriptor)
    } else {
      kill(pid, SIGKILL)
    }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    let signal = status & 0x7f
    let code = status >> 8 & 0xff
    return signal == 0 ? End(exitCode: code, words: "exit code \(code)") : End(words: "signal \(signal)")
  }
}

/// A NULL-terminated vector of C strings that lives as long as this object.
private final class CStrings {
  private let storage: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  private let count: Int

  init(_ strings: [String]) {
    count = strings.count
    storage = .allocate(capacity: count + 1)
    for (index, string) in strings.enumerated() { storage[index] = strdup(string) }
    storage[count] = nil
  }

  var pointer: UnsafePointer<UnsafeMutablePointer<CChar>?> { UnsafePointer(storage) }
  var first: UnsafePointer<CChar>? { storage[0].map { UnsafePointer($0) } }

  deinit {
    for index in 0..<count { free(storage[index]) }
    storage.deallocate()
  }
}
