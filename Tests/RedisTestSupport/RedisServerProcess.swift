// A real redis-server for tests: own free port, own temporary folder, stopped by its pid. Several may run at once.

import Glibc
import Redis
import Synchronization

/// One private redis-server. It ends, and its folder is removed, when the last reference goes.
///
///     let server = try await RedisServerProcess.start()
///     let connection = RedisConnection(server.configuration)
///     try await server.kill()            // SIGKILL, as a crash would
///     try await server.restart()         // same port, same folder
public final class RedisServerProcess: Sendable {
  /// The TCP port on 127.0.0.1; kept across restarts.
  public let port: Int
  /// The temporary folder that is the server's working folder.
  public let folder: String
  /// The path of its unix socket.
  public var unixSocketPath: String { folder + "/redis.sock" }
  private let arguments: [String]
  /// Lines of a Sentinel's configuration; nil for a server that holds data.
  private let sentinel: [String]?
  private let environment: [String]
  private let process = Mutex<pid_t?>(nil)

  /// The running server's process id; nil while stopped.
  public var pid: pid_t? { process.withLock { $0 } }

  /// How to connect to it over TCP.
  public var configuration: RedisConfiguration { RedisConfiguration(address: .tcp(host: "127.0.0.1", port: port)) }

  /// Starts a server and waits until it answers. `arguments` follow redis-server's command line (`["--maxmemory", "2mb"]`);
  /// persistence is off unless they turn it on. `environment` stands beside what the tests themselves have.
  public static func start(_ arguments: [String] = [], environment: [String: String] = [:]) async throws -> RedisServerProcess {
    for _ in 0..<5 {
      let server = try RedisServerProcess(arguments, environment)
      // Somebody else may take the port between choosing and binding: then the server exits, and another port is tried.
      if (try? await server.launch()) != nil { return server }
    }
    throw TestFailure("redis-server did not start; is it installed?")
  }

  /// Starts a Sentinel; the lines follow its configuration file's (`"sentinel monitor name 127.0.0.1 6379 2"`).
  public static func startSentinel(_ lines: [String]) async throws -> RedisServerProcess {
    for _ in 0..<5 {
      let server = try RedisServerProcess([], sentinel: lines)
      if (try? await server.launch()) != nil { return server }
    }
    throw TestFailure("no Sentinel started")
  }

  private init(_ arguments: [String], _ environment: [String: String] = [:], sentinel: [String]? = nil) throws {
    var template = Array("/tmp/muster-redis-XXXXXX".utf8CString)
    guard let path = mkdtemp(&template) else { throw TestFailure("mkdtemp: errno \(errno)") }
    folder = String(cString: path)
    port = try freePort()
    self.arguments = arguments
    self.sentinel = sentinel
    self.environment = environment.map { "\($0.key)=\($0.value)" }
  }

  deinit {
    if let pid = pid {
      _ = Glibc.kill(pid, SIGKILL)
      waitpid(pid, nil, 0)
    }
    removeFolder(folder)
  }

  /// Asks the server to end (SIGTERM; it saves if it is configured to) and waits until it has.
  public func stop() async throws { try await end(with: SIGTERM) }

  /// Ends the server as a crash would (SIGKILL) and waits until it is gone.
  public func kill() async throws { try await end(with: SIGKILL) }

  /// Whether its process was ended by somebody else.
  public var hasEnded: Bool {
    guard let pid else { return true }
    var information = siginfo_t()
    return waitid(P_PID, id_t(pid), &information, WEXITED | WNOHANG | WNOWAIT) == 0 && information.si_signo == SIGCHLD
  }

  /// Sends the server's process a signal, such as SIGSTOP and SIGCONT for a server that hangs.
  public func signal(_ number: Int32) {
    if let pid { _ = Glibc.kill(pid, number) }
  }

  /// Starts it again on the same port and in the same folder; `more` arguments hold for this start only.
  public func restart(_ more: [String] = []) async throws {
    if pid != nil { try await stop() }
    try await launch(more)
  }

  private func end(with number: Int32) async throws {
    guard let pid else { return }
    _ = Glibc.kill(pid, number)
    _ = Glibc.kill(pid, SIGCONT)
    try await eventually("redis-server \(pid) ends") { waitpid(pid, nil, WNOHANG) != 0 }
    process.withLock { $0 = nil }
  }

  private func launch(_ more: [String] = []) async throws {
    var words =
      ["redis-server", "--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--unixsocket", unixSocketPath]
      + ["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", folder + "/redis.log"]
      + ["--enable-debug-command", "yes"] + arguments + more
    if let sentinel {
      // A Sentinel keeps what it learns in its file, so a restart goes on with that.
      let file = folder + "/sentinel.conf"
      if Glibc.access(file, F_OK) != 0 {
        let lines = ["port \(port)", "bind 127.0.0.1", "dir \(folder)", "unixsocket \(unixSocketPath)"] + sentinel
        guard let stream = fopen(file, "w") else { throw TestFailure("\(file): errno \(errno)") }
        fputs(lines.map { $0 + "\n" }.joined(), stream)
        fclose(stream)
      }
      words = ["redis-server", file, "--sentinel", "--logfile", folder + "/redis.log"]
    }
    var pid: pid_t = 0
    var cWords: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    cWords.append(nil)
    var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) }
    defer { for word in cWords + variables { free(word) } }
    var inherited = environ
    while let variable = inherited.pointee {
      variables.append(strdup(variable))
      inherited += 1
    }
    variables.append(nil)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // A group of its own: Ctrl-C in a terminal ends the tests, whose deinit ends the server. Threads of Swift's pool block signals,
    // which a child would inherit.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
    // Nor the descriptors of whatever else the tests are starting: Foundation's `Process` waits until nobody has those any more.
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for descriptor in 3..<Int32(1024) { posix_spawn_file_actions_addclose(&actions, descriptor) }
    let code = posix_spawnp(&pid, "redis-server", &actions, &attributes, cWords, variables)
    guard code == 0 else { throw TestFailure("redis-server cannot be started: errno \(code)") }
    process.withLock { $0 = pid }
    try await eventually("redis-server answers on port \(port)") {
      if waitpid(pid, nil, WNOHANG) == pid {
        process.withLock { $0 = nil }
        throw TestFailure("redis-server ended at once; see \(folder)/redis.log")
      }
      // Its own socket file proves that it is this server that has the port: Redis binds that first.
      return accepts(unixSocketPath: unixSocketPath)
    }
  }
}

/// Removes a folder of plain files and folders.
private func removeFolder(_ path: String) {
  guard let folder = opendir(path) else { return }
  defer {
    closedir(folder)
    rmdir(path)
  }
  while let entry = readdir(folder) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    guard name != ".", name != ".." else { continue }
    let child = path + "/" + name
    if entry.pointee.d_type == UInt8(DT_DIR) { removeFolder(child) } else { unlink(child) }
  }
}
