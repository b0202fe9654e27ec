// The dashboard's own Redis: a private `redis-server` child under `data.path/redis`, loopback only, append-only file on, never evicting. It keeps
// its port across restarts (file `port`), so that agents find it again. It stops with the dashboard; one that a killed dashboard left behind
// is adopted at the next start.
//
// Invariant: never two servers on one folder, for both would append to the same file. Each server inherits a locked descriptor (file `lock`):
// as long as any lives, the kernel holds the lock, whatever became of us and however silent it is. By it, and never by its pid alone, one that
// was adopted is known: a pid comes back for another process.
// What if: it dies: started again with backoff; it is there and does not answer: waited for, then the start fails and says so; its port is taken
// by somebody else: another one, said in the log.
import Glibc
import Logging
import Redis
import ServiceLifecycle
import Shared
import Synchronization

struct EmbeddedRedisFault: Error, CustomStringConvertible {
  let description: String
}

final class EmbeddedRedis: Service {
  private let folder: String
  private let health: HealthBoard
  private let logger: Logger
  private struct Guarded {
    var pid: pid_t = 0
    var isChild = false
  }
  private let guarded = Mutex(Guarded())
  let port: Int

  /// Adopts or starts the server; returns once it answers.
  /// - Throws: `EmbeddedRedisFault` with what to do.
  init(folder: String, health: HealthBoard, logger: Logger) async throws {
    self.folder = folder
    self.health = health
    self.logger = logger
    let known = (try? readText("\(folder)/port")).flatMap { Int($0) }
    if let known, try EmbeddedRedis.lockIsHeld(folder) {
      port = known
      let pid = try await adopt()
      guarded.withLock { $0 = Guarded(pid: pid, isChild: false) }
      logger.info("adopted the embedded Redis that was left running", metadata: ["port": "\(known)", "pid": "\(pid)"])
      return
    }
    guard let chosen = known.flatMap({ isFree($0) ? $0 : nil }) ?? freePort() else {
      throw EmbeddedRedisFault(description: "no free port for the embedded Redis on 127.0.0.1")
    }
    if let known, known != chosen {
      logger.warning(
        "the embedded Redis has a new port, because somebody else uses its old one: tell the agents",
        metadata: ["was": "\(known)", "now": "\(chosen)"])
    }
    port = chosen
    // Before the server: whoever finds it running finds its port as well.
    if known != chosen { try Files.writeAtomically(Array("\(chosen)\n".utf8), to: "\(folder)/port") }
    do { try await start() } catch {
      // What there is can still be shown; `run` starts it as soon as there is room.
      guard DiskSpace.isFull(at: folder) else { throw error }
      logger.error("the embedded Redis does not start on a full disk", metadata: ["why": "\(error)"])
      health.set(.embedded, "the embedded Redis does not start on a full disk: \(error)")
    }
  }

  private static let patience: Duration = .seconds(30)
  /// The lock's descriptor in the server.
  private static let lockDescriptor: Int32 = 3

  /// A server of ours lives: waits until it answers. It may be loading its data, or be stopped.
  private func adopt() async throws -> pid_t {
    let deadline = SuspendingClock.now + Self.patience
    var warned = false
    while SuspendingClock.now < deadline, !Task.isCancelled {
      if let pid = await EmbeddedRedis.ownServer(at: port, folder: folder) { return pid }
      if !warned {
        logger.warning("an embedded Redis is running and does not answer yet: waiting for it", metadata: ["port": "\(port)"])
        warned = true
      }
      guard await pause(.milliseconds(200)) else { break }
    }
    throw EmbeddedRedisFault(
      description:
        "the embedded Redis of an earlier start still runs on port \(port) and does not answer; end that redis-server (fuser \(folder)/lock names it) and start again"
    )
  }

  /// Whether a server that was started on this folder is still there.
  private static func lockIsHeld(_ folder: String) throws -> Bool {
    let descriptor = try openLock(folder)
    defer { close(descriptor) }
    return flock(descriptor, LOCK_EX | LOCK_NB) != 0
  }

  /// Whether this process has the lock open, as a server of ours has.
  static func isOurs(_ pid: pid_t, _ folder: String) -> Bool {
    var (held, lock) = (stat(), stat())
    return stat("/proc/\(pid)/fd/\(lockDescriptor)", &held) == 0 && stat("\(folder)/lock", &lock) == 0
      && held.st_dev == lock.st_dev && held.st_ino == lock.st_ino
  }

  private static func openLock(_ folder: String) throws -> Int32 {
    let descriptor = open("\(folder)/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw EmbeddedRedisFault(description: "\(folder)/lock: \(systemErrorText(errno))") }
    return descriptor
  }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      var backoff = Duration.milliseconds(200)
      // One that was given up at its start may answer later.
      var isToldDown = true
      while await pause(.milliseconds(300)) {
        guard !self.isAlive() else {
          backoff = .milliseconds(200)
          if isToldDown, await EmbeddedRedis.ownServer(at: self.port, folder: self.folder) != nil {
            self.health.set(.embedded, nil)
            isToldDown = false
          }
          continue
        }
        isToldDown = true
        self.health.set(.embedded, "the embedded Redis has ended and is being started again; its log: \(self.folder)/redis.log")
        self.logger.error("the embedded Redis has ended; starting it again", metadata: ["log": "\(self.folder)/redis.log"])
        do {
          try await self.start()
          self.health.set(.embedded, nil)
          isToldDown = false
        } catch {
          self.logger.error("the embedded Redis does not start", metadata: ["why": "\(error)"])
          guard await pause(backoff) else { break }
          backoff = min(backoff * 2, .seconds(10))
        }
      }
    }
  }

  /// Asks it to write its data and end; waits up to 5 s, then leaves it to the next start.
  func stop() async {
    let (pid, isChild) = guarded.withLock { ($0.pid, $0.isChild) }
    // A child's pid is its own until it was waited for.
    guard pid > 0, isChild || EmbeddedRedis.isOurs(pid, folder), kill(pid, SIGTERM) == 0 else { return }
    for _ in 0..<250 {
      if !isAlive() { return }
      // Waiting for a process that need not be our child; there is nothing to be woken by.
      try? await Task.sleep(for: .milliseconds(20))
    }
    logger.warning("the embedded Redis did not end within 5 s; the next start adopts it", metadata: ["pid": "\(pid)"])
  }

  private func isAlive() -> Bool {
    guarded.withLock { state in
      guard state.pid > 0 else { return false }
      if state.isChild {
        var status: Int32 = 0
        guard waitpid(state.pid, &status, WNOHANG) == 0 else {
          state.pid = 0
          return false
        }
        return true
      }
      do {
        if try EmbeddedRedis.lockIsHeld(folder) { return true }
      } catch {
        // Nobody can look now, for want of a descriptor.
        return true
      }
      state.pid = 0
      return false
    }
  }

  private func start() async throws {
    let arguments = [
      "redis-server", "--port", "\(port)", "--bind", "127.0.0.1", "--dir", folder, "--daemonize", "no", "--appendonly", "yes",
      "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction", "--logfile", "\(folder)/redis.log",
      "--tcp-keepalive",
      "60",
      "--maxclients", "20000", "--always-show-logo", "no",
    ]
    let lock = try EmbeddedRedis.openLock(folder)
    defer { close(lock) }
    guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
      throw EmbeddedRedisFault(description: "a redis-server on \(folder) is still running")
    }
    let pid = try spawn(arguments, lock: lock)
    guarded.withLock { $0 = Guarded(pid: pid, isChild: true) }
    let deadline = SuspendingClock.now + .seconds(20)
    while SuspendingClock.now < deadline {
      guard isAlive() else {
        throw EmbeddedRedisFault(description: "redis-server ended at once; its log says why: \(folder)/redis.log")
      }
      if await EmbeddedRedis.ownServer(at: port, folder: folder) != nil { return }
      guard await pause(.milliseconds(20)) else { return }
    }
    throw EmbeddedRedisFault(description: "redis-server did not answer on port \(port) within 20 s; its log: \(folder)/redis.log")
  }

  /// The process id of the server at that port, if it serves this folder.
  static func ownServer(at port: Int, folder: String) async -> pid_t? {
    let connection = RedisConnection(
      RedisConfiguration(address: .tcp(host: "127.0.0.1", port: port), connectTimeout: .seconds(2), commandTimeout: .seconds(2)))
    defer { Task { await connection.close() } }
    do {
      try await connection.connect()
      let replies = try await connection.pipeline([RedisCommand("CONFIG", "GET", "dir"), RedisCommand("INFO", "server")])
      guard let dir = replies[0].array?.last?.string, resolved(dir) == resolved(folder) else { return nil }
      let line = (replies[1].string ?? "").split(whereSeparator: \.isNewline).first { $0.hasPrefix("process_id:") }
      return line.flatMap { pid_t($0.dropFirst("process_id:".count)) }
    } catch { return nil }
  }

  private static func resolved(_ path: String) -> String {
    guard let found = realpath(path, nil) else { return path }
    defer { free(found) }
    return String(cString: found)
  }

  /// In a session of its own: Ctrl-C at the dashboard's terminal is not meant for it.
  private func spawn(_ arguments: [String], lock: Int32) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, "\(folder)/redis.log", O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    // The lock's descriptor stays open in the server, and with it the lock.
    posix_spawn_file_actions_adddup2(&actions, lock, EmbeddedRedis.lockDescriptor)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigdefault(&attributes, &all)
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    // POSIX_SPAWN_SETSID, which the C library hides from Swift.
    let setsidFlag: Int32 = 0x80
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | setsidFlag))
    var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var pid: pid_t = 0
    let code = posix_spawnp(&pid, arguments[0], &actions, &attributes, &words, environ)
    guard code == 0 else {
      throw EmbeddedRedisFault(
        description: code == ENOENT
          ? "redis-server is not installed: install Debian's package redis-server, or name another Redis with --redis HOST:PORT"
          : "redis-server cannot be started: \(String(cString: strerror(code)))")
    }
    return pid
  }
}

private func readText(_ path: String) throws -> String {
  let bytes = try Files.read(path)
  return String(String(decoding: bytes, as: UTF8.self).prefix { !$0.isWhitespace })
}

private func loopback(_ port: Int) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = in_port_t(truncatingIfNeeded: port).bigEndian
  address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
  return address
}

/// The port if it can be bound on loopback right now; 0 asks for any.
private func bound(_ port: Int) -> Int? {
  let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
  guard socket >= 0 else { return nil }
  defer { close(socket) }
  var yes: Int32 = 1
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
  var address = loopback(port)
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let code = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(socket, $0, length) }
  }
  guard code == 0 else { return nil }
  let named = withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &length) }
  }
  return named == 0 ? Int(in_port_t(bigEndian: address.sin_port)) : nil
}

private func isFree(_ port: Int) -> Bool { bound(port) != nil }
/// Below the range of outgoing connections: while the server is down, no client may get its port by chance.
private func freePort() -> Int? {
  for _ in 0..<200 {
    let port = Int.random(in: 10_000..<20_000)
    if isFree(port) { return port }
  }
  return nil
}
