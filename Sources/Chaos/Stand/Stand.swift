// What the chaos happens to: a Redis, a dashboard and agents, the real programs, on ports and in a folder of their own. Each program reaches
// Redis through a proxy of its own.
//
// Invariant: whatever was started here is ended by `end`, by process id, and found by `leftOver` if it was not.
// When adding a program: its words in `words(of:)`, its proxy, its log.

import Glibc
import Shared
import Synchronization

struct StandSettings: Sendable {
  let folder: String
  /// Where the programs `dashboard` and `agent` are.
  let programs: String
  let agents: Int
  /// Whether a SIGKILL may cost Redis its last writes.
  let redisForgets: Bool
  let faultSeed: UInt64
}

final class Stand: Sendable {
  let settings: StandSettings
  let grounds: Grounds
  let http: HTTPCall
  let redis: RedisCall
  private let proxies: [Program: Proxy]
  private let loop: ProxyLoop
  private struct Guarded {
    var running: [Program: ChildProcess] = [:]
    /// Ended by us: no surprise.
    var expected: Set<pid_t> = []
    var surprises: [String] = []

    /// Tells of its end if nobody asked for it.
    mutating func look(at program: Program, log: String) {
      guard let process = running[program], !process.isRunning, expected.insert(process.pid).inserted else { return }
      surprises.append("\(program) (process \(process.pid)) ended by itself: \(process.end); its log: \(log)")
    }
  }
  private let guarded = Mutex(Guarded())

  var everyProgram: [Program] { [.redis, .dashboard] + (0..<settings.agents).map(Program.agent) }

  init(_ settings: StandSettings) throws {
    self.settings = settings
    grounds = Grounds(folder: settings.folder, marker: settings.folder)
    redis = RedisCall(port: try Loopback.freePort())
    http = HTTPCall(port: try Loopback.freePort())
    var proxies: [Program: Proxy] = [.dashboard: try Proxy(to: redis.port)]
    for index in 0..<settings.agents { proxies[.agent(index)] = try Proxy(to: redis.port) }
    self.proxies = proxies
    loop = ProxyLoop(Array(proxies.values))
    for name in ["logs", "redis", "data", "copy"] { try Files.makeFolder("\(settings.folder)/\(name)") }
    for name in [grounds.starts, grounds.ends] { try Files.writeAtomically([], to: name) }
    for index in 0..<settings.agents { try writeSettings(ofAgent: index) }
  }

  func state(ofAgent index: Int) -> String { "\(settings.folder)/agent-\(index)" }
  func log(of program: Program) -> String { "\(settings.folder)/logs/\("\(program)".lowercased().filter { $0 != " " }).log" }

  private func writeSettings(ofAgent index: Int) throws {
    let settings: JSONValue = [
      "uuid": .string(PostedTask.agentName(index)), "tags": .string(PostedTask.project),
      "redis": ["addr": "127.0.0.1", "port": .integer(Int64(proxies[.agent(index)]?.port ?? 0))],
      "state": ["path": .string(state(ofAgent: index))], "http": ["listen": "127.0.0.1:0"],
      "task": ["concurrency": 6, "grace": 2],
    ]
    try Files.makeFolder(state(ofAgent: index))
    try Files.writeAtomically(settings.bytes(), to: "\(state(ofAgent: index)).json")
  }

  private func words(of program: Program) -> [String] {
    switch program {
    case .redis:
      [
        ProgramFile.find("redis-server"), "--port", "\(redis.port)", "--bind", "127.0.0.1", "--dir", "\(settings.folder)/redis",
        "--appendonly", "yes", "--appendfsync", settings.redisForgets ? "everysec" : "always", "--save", "", "--maxmemory-policy",
        "noeviction", "--daemonize", "no", "--always-show-logo", "no",
      ]
    case .dashboard:
      [
        "\(settings.programs)/dashboard", "--data", "\(settings.folder)/data", "--listen", "127.0.0.1:\(http.port)", "--redis",
        "127.0.0.1:\(proxies[.dashboard]?.port ?? 0)",
      ]
    case .agent(let index): ["\(settings.programs)/agent", "run", "-f", "\(state(ofAgent: index)).json"]
    }
  }

  // MARK: Programs

  /// Does nothing while it runs.
  func start(_ program: Program, faults: Int = 0) {
    guarded.withLock { state in
      if let running = state.running[program], running.isRunning { return }
      state.look(at: program, log: log(of: program))
      var environment = ["CHAOS": settings.folder]
      if faults > 0 { environment["MUSTER_FAULTS"] = "commit=\(Double(faults) / 1000),seed=\(settings.faultSeed)" }
      do {
        state.running[program] = try ChildProcess(
          "\(program)", words(of: program), environment: environment, folder: settings.folder, log: log(of: program))
      } catch { state.surprises.append("\(error)") }
    }
  }

  func process(_ program: Program) -> ChildProcess? { guarded.withLock { $0.running[program] } }

  /// Ends it and waits; true if it ended within that time. An end in another way than this signal's is a surprise.
  @discardableResult
  func end(_ program: Program, by signal: Int32 = SIGKILL, patience: Int = 20_000) -> Bool {
    let process = guarded.withLock { state -> ChildProcess? in
      state.look(at: program, log: log(of: program))
      guard let process = state.running[program], process.isRunning else { return nil }
      state.expected.insert(process.pid)
      return process
    }
    guard let process else { return true }
    let heeds = process.heeds(signal)
    process.signal(signal)
    if signal != SIGKILL { process.signal(SIGCONT) }
    guard Monotonic.wait(upTo: patience, until: { !process.isRunning }) else { return false }
    if let status = process.status, !ProcessEnd(status: status).isRight(after: signal, wasHeeded: heeds) {
      addSurprise("\(program) (process \(process.pid)) was sent signal \(signal): \(process.end); its log: \(log(of: program))")
    }
    return true
  }

  /// SIGTERM, which has to be enough. It promises 10 s; the machine may be slow.
  func terminate(_ program: Program) {
    guard !end(program, by: SIGTERM, patience: 40_000) else { return }
    addSurprise("\(program) did not end within 40 s of SIGTERM; its log: \(log(of: program))")
    end(program)
  }

  /// What ended though nobody asked it to. Called often; each is told once.
  func lookForSurprises() {
    guarded.withLock { state in
      for program in everyProgram { state.look(at: program, log: log(of: program)) }
    }
  }

  var surprises: [String] { guarded.withLock { $0.surprises } }
  func addSurprise(_ text: String) { guarded.withLock { $0.surprises.append(text) } }

  func proxy(of program: Program) -> Proxy? { proxies[program] }
  func runners(ofAgent index: Int) -> [pid_t] { ProcessTable.runners(under: state(ofAgent: index)) }

  /// Nil while it does not run.
  func holding(of program: Program) -> Holding? {
    var runners = 0
    if case .agent(let index) = program { runners = self.runners(ofAgent: index).count }
    return process(program).flatMap { Holding(pid: $0.pid, runners: runners) }
  }

  // MARK: The whole

  /// Starts everything and waits until the dashboard sees every agent.
  func begin(patience: Int = 60_000) throws {
    for program in everyProgram {
      start(program)
      if program == .redis, !Monotonic.wait(upTo: patience, until: { (try? redis("PING", patience: 500)) != nil }) {
        throw HarnessFault("redis-server does not answer; its log: \(log(of: .redis))")
      }
    }
    guard Monotonic.wait(upTo: patience, until: { online == settings.agents }) else {
      throw HarnessFault("not every agent is online within \(patience / 1000) s; logs: \(settings.folder)/logs")
    }
  }

  var online: Int {
    let answer = try? http.get("/v1/agents", patience: 2000).json
    return answer?["items"]?.asArray?.filter { $0["online"]?.asBool == true }.count ?? 0
  }

  /// Everything runs, nothing is held, every link is as it was.
  func restoreOrder() {
    for proxy in proxies.values { proxy.set(.pass) }
    for index in 0..<settings.agents { for pid in runners(ofAgent: index) { kill(pid, SIGCONT) } }
    for program in everyProgram {
      process(program)?.signal(SIGCONT)
      start(program)
    }
  }

  /// Ends all that was started, commands and runners included. What then still lives after `patience` is returned.
  func end(patience: Int) -> [ProcessEntry] {
    for index in 0..<settings.agents { terminate(.agent(index)) }
    terminate(.dashboard)
    terminate(.redis)
    var left: [ProcessEntry] = []
    _ = Monotonic.wait(upTo: patience) {
      left = leftOver
      return left.isEmpty
    }
    for entry in left { kill(entry.pid, SIGKILL) }
    loop.stop()
    return left
  }

  var leftOver: [ProcessEntry] { ProcessTable.all(holding: settings.folder) }
}

enum ProgramFile {
  /// Its full path by PATH (and where Debian keeps servers), else the name itself, which then cannot be started and says so.
  static func find(_ name: String) -> String {
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    for folder in path.split(separator: ":") + ["/usr/bin", "/usr/sbin", "/usr/local/bin"] {
      let candidate = "\(folder)/\(name)"
      if access(candidate, X_OK) == 0 { return candidate }
    }
    return name
  }
}
