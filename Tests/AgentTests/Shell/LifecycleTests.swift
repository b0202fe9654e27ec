// Start, status, stop, and everything that can stand in their way, with the real program and a real Redis.

import Glibc
import Redis
import RedisTestSupport
import Runner
import Shared
import Testing

@testable import Agent

@Suite struct LifecycleTests {
  @Test func startStatusStopAndAgain() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port, ["tags": "mobile,web"])
    for _ in 0..<2 {
      let start = try await agent.command("start")
      #expect(start.code == 0, "\(start.errors)")
      #expect(start.output.hasPrefix("agent web-1 runs in the background: process "))
      #expect(try await hasRegistered(agent, redis))

      let status = try #require(try await agent.status())
      let pid = try #require(status["pid"].flatMap { pid_t($0) })
      #expect(String(decoding: try Files.read(agent.state + "/agent.pid"), as: UTF8.self) == "\(pid)\n")
      #expect(status["uuid"] == "web-1")
      #expect(status["version"] == MusterVersion.text)
      #expect(status["projects"] == "mobile, web")
      #expect(status["redis"] == "127.0.0.1:\(redis.port), connected")
      #expect(status["lease"] == "held")
      #expect(status["running"] == "0 of 4")
      #expect(status["waiting"] == "0")
      #expect(status["unacknowledged"].flatMap { Int($0) } != nil)
      #expect(status["health"] == "healthy")
      #expect(status["state"] == agent.state)
      #expect(status["log"] == agent.logFile)
      #expect(getsid(pid) == pid, "it has a session of its own")
      #expect(try Files.read(agent.logFile).count > 0)

      let stop = try await agent.command("stop")
      #expect(stop.code == 0, "\(stop.errors)")
      #expect(kill(pid, 0) == -1 && errno == ESRCH || ProcessIdentity(of: pid)?.isAlive != true)
      for name in ["agent.pid", "agent.process", "agent.sock"] { #expect(!Files.exists("\(agent.state)/\(name)")) }
      #expect(try await agent.command("status").code == 3)
      #expect(try await agent.command("stop").code == 3)
    }
  }

  @Test func aSecondAgentIsRefusedAndToldWhoRuns() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    #expect(try await agent.command("start").code == 0)
    let pid = try #require(try await agent.status()?["pid"])
    for command in ["start", "run"] {
      let second = try await agent.command(command)
      #expect(second.code == 1)
      #expect(second.errors.contains("process \(pid) holds \(agent.state)/agent.lock"))
    }
    #expect(try await agent.status()?["pid"] == pid, "the first one is none the worse for it")
  }

  @Test func aStatePathBelongsToOneName() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    #expect(try await agent.command("start").code == 0)
    #expect(try await agent.command("stop").code == 0)
    let other = try await agent.command("start", environment: ["MUSTER_UUID": "web-2"])
    #expect(other.code == 2)
    #expect(other.errors.contains("belongs to the agent \"web-1\""))
  }

  @Test func anAgentThatWasKilledIsNotRunningAndCanBeStarted() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    #expect(try await agent.command("start").code == 0)
    let pid = try #require(try await agent.status()?["pid"].flatMap { pid_t($0) })
    #expect(kill(pid, SIGKILL) == 0)
    try await eventually("it is gone") { ProcessIdentity(of: pid)?.isAlive != true }
    let status = try await agent.command("status")
    #expect(status.code == 3)
    #expect(status.errors.contains("its pid file is stale: process \(pid)"))
    #expect(try await agent.command("start").code == 0)
    let fresh = try #require(try await agent.status()?["pid"])
    #expect(fresh != "\(pid)")
  }

  @Test(arguments: [false, true])
  func aPidThatIsAnothersNowIsNeverSignalled(otherBoot: Bool) async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    // Another program has the number of an agent that was killed long ago: here redis-server.
    let victim = try #require(redis.pid)
    var record = try #require(ProcessIdentity(of: victim))
    if otherBoot { record.bootID = "00000000-0000-0000-0000-000000000000" } else { record.startTime -= 1 }
    try Files.makeFolder(agent.state)
    let stale = ProcessRecord(record, uuid: AgentID("web-1"), startedAt: .now())
    try Files.writeAtomically(try JSONCoder.encode(stale), to: agent.state + "/agent.process")
    try Files.writeAtomically(Array("\(victim)\n".utf8), to: agent.state + "/agent.pid")
    for arguments in ["stop", "stop --kill", "status"] {
      let finished = try await agent.run(arguments.split(separator: " ").map(String.init) + ["-f", agent.settingsFile])
      #expect(finished.code == 3)
      #expect(finished.errors.contains("its pid file is stale"))
    }
    #expect(ProcessIdentity(of: victim)?.isAlive == true)
    #expect(try await agent.command("start").code == 0)
    #expect(try await agent.status()?["pid"] != "\(victim)")
  }

  @Test func startWithoutRedisSaysSoAndLeavesNoAgent() async throws {
    let agent = try AgentOnDisk(redisPort: try freePort())
    let clock = ContinuousClock.now
    let start = try await agent.command("start", within: .seconds(40))
    #expect(start.code == 1)
    #expect(start.errors.contains("Redis at 127.0.0.1:"))
    #expect(start.errors.contains("Connection refused"))
    #expect(ContinuousClock.now - clock >= .seconds(10), "Redis may be a little late")
    #expect(try await agent.command("status").code == 3)
    // Nobody holds the folder any more.
    _ = try FileLock(agent.state + "/agent.lock")
  }

  @Test func startThatIsKilledLeavesNoAgent() async throws {
    let agent = try AgentOnDisk(redisPort: try freePort())
    let start = try agent.spawn(["start", "-f", agent.settingsFile])
    var pid: pid_t = 0
    try await eventually("the agent waits for Redis") {
      pid = try await agent.status().flatMap { $0["pid"] }.flatMap { pid_t($0) } ?? 0
      return pid != 0
    }
    kill(start.pid, SIGKILL)
    try await eventually("the agent ends by itself") { ProcessIdentity(of: pid)?.isAlive != true }
  }

  @Test func anAgentInTheForegroundWaitsForRedisAndSaysSo() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    try await redis.stop()
    let run = try agent.spawn(["run", "-f", agent.settingsFile])
    try await eventually("it answers") { try await agent.status() != nil }
    var status: [String: String] = [:]
    try await eventually("it says that Redis is away") {
      status = try await agent.status() ?? [:]
      return status["health"]?.hasPrefix("death (") == true && status["redis"]?.hasSuffix("connected") == false
    }
    #expect(status["lease"] != "held")
    try await redis.restart()
    try await eventually("it registers") { try await agent.status()?["lease"] == "held" }
    #expect(try await hasRegistered(agent, redis))
    kill(run.pid, SIGTERM)
    #expect(try await agent.end(of: run).code == 0)
  }

  /// It is asked how it stands just then; and where not even the spare descriptor will do, it waits instead of trying again and again.
  @Test func anAgentThatHasNoDescriptorLeftSaysHowItStandsAndIsIdle() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    let run = try agent.spawn(["run", "-f", agent.settingsFile])
    try await eventually("it registers") { try await agent.status()?["lease"] == "held" }
    var free = 0
    while Files.exists("/proc/\(run.pid)/fd/\(free)") { free += 1 }
    func limit(_ count: Int) async throws {
      let words = ["--pid", "\(run.pid)", "--nofile=\(count):"]
      #expect(try await agent.end(of: try agent.spawn(words, program: "/usr/bin/prlimit")).code == 0)
    }
    try await limit(free)
    for _ in 0..<3 { try await eventually("it answers") { try await agent.status()?["uuid"] == "web-1" } }
    try await limit(4)
    let before = try processorTicks(of: run.pid)
    let asking = try agent.spawn(["status", "-f", agent.settingsFile])
    #expect(try await agent.end(of: asking).code != 0)
    // A second and a half of the three that the command waits would be much.
    #expect(try processorTicks(of: run.pid) - before < 150)
    try await limit(free + 64)
    try await eventually("it answers again") { try await agent.status()?["uuid"] == "web-1" }
  }

  /// Of its main thread, in hundredths of a second.
  private func processorTicks(of pid: pid_t) throws -> Int {
    let stat = String(decoding: try Files.read("/proc/\(pid)/task/\(pid)/stat"), as: UTF8.self)
    let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 12, let user = Int(fields[11]), let system = Int(fields[12]) else { throw TestFailure(stat) }
    return user + system
  }

  enum RedisIs: CaseIterable { case there, gone, hanging }

  @Test(arguments: [SIGTERM, SIGINT, SIGHUP], RedisIs.allCases)
  func aSignalEndsItWithinTenSeconds(signal: Int32, redisIs: RedisIs) async throws {
    let redis = try await RedisServerProcess.start()
    if redisIs == .gone { try await redis.stop() }
    let agent = try AgentOnDisk(redisPort: redis.port)
    let run = try agent.spawn(["run", "-f", agent.settingsFile])
    try await eventually("it runs") { try await agent.status().map { redisIs == .gone || $0["lease"] == "held" } ?? false }
    if redisIs == .hanging { redis.signal(SIGSTOP) }
    kill(run.pid, signal)
    // It gives itself 8 s; more is a slow machine's.
    let finished = try await agent.end(of: run)
    #expect(finished.code == 0)
    #expect(finished.output.isEmpty)
    #expect(finished.errors.contains("told to stop"), "the foreground's log is on standard error")
    #expect(String(decoding: try Files.read(agent.logFile), as: UTF8.self).contains("told to stop"), "and in its file")
    // Whatever kept it, it has left nothing that looks like a running agent.
    #expect(!Files.exists(agent.state + "/agent.pid"))
    #expect(try await agent.command("status").code == 3)
  }

  @Test func aSecondInterruptEndsItAtOnce() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    let run = try agent.spawn(["run", "-f", agent.settingsFile])
    try await eventually("it runs") { try await agent.status()?["lease"] == "held" }
    redis.signal(SIGSTOP)
    kill(run.pid, SIGINT)
    try await eventually("it has heard the first") { run.errorText.contains("told to stop") }
    kill(run.pid, SIGINT)
    let finished = try await agent.end(of: run)
    #expect(finished.code == 0)
    #expect(finished.errors.contains("ended at once"))
  }

  @Test func closedStandardDescriptorsAreNotMistakenForFiles() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    let run = try agent.spawn(["run", "-f", agent.settingsFile], closing: [0, 1, 2])
    try await eventually("it runs") { try await agent.status()?["lease"] == "held" }
    for descriptor in 0...2 {
      var buffer = [CChar](repeating: 0, count: 256)
      let count = readlink("/proc/\(run.pid)/fd/\(descriptor)", &buffer, buffer.count)
      try #require(count > 0)
      #expect(String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) == "/dev/null")
    }
    kill(run.pid, SIGTERM)
    #expect(try await agent.end(of: run).code == 0)
  }

  @Test func anAgentThatHangsIsToldFromOneThatIsGone() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    let run = try agent.spawn(["run", "-f", agent.settingsFile])
    try await eventually("it runs") { try await agent.status() != nil }
    kill(run.pid, SIGSTOP)
    let status = try await agent.command("status")
    #expect(status.code == 1)
    #expect(status.errors.contains("the agent runs (process \(run.pid)), but does not answer"))
    kill(run.pid, SIGCONT)
    try await eventually("it answers again") { try await agent.status() != nil }
  }

  @Test func anAddressThatIsTakenIsNamed() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port, ["http": ["listen": .string("127.0.0.1:\(redis.port)")]])
    for command in ["start", "run"] {
      let finished = try await agent.command(command)
      #expect(finished.code == 1)
      #expect(finished.errors.contains("cannot listen on 127.0.0.1:\(redis.port): Address already in use"))
    }
    #expect(try await agent.command("status").code == 3)
  }

  @Test func aLongStatePathIsNoHindrance() async throws {
    let redis = try await RedisServerProcess.start()
    let long = String(repeating: "a-folder-with-a-long-name/", count: 6)
    let agent = try AgentOnDisk(redisPort: redis.port)
    let environment = ["MUSTER_STATE_PATH": "\(agent.folder)/\(long)state"]
    #expect(try await agent.command("start", environment: environment).code == 0)
    #expect(try await agent.command("status", environment: environment).code == 0)
    #expect(try await agent.command("stop", environment: environment).code == 0)
  }

  @Test func itTakesTheDescriptorsItMayHave() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    let command = "ulimit -Sn 300; exec \(AgentOnDisk.executable) run -f \(agent.settingsFile)"
    let run = try agent.spawn(["-c", command], program: "/bin/sh")
    try await eventually("it runs") { try await agent.status() != nil }
    let limits = String(decoding: try Files.read("/proc/\(run.pid)/limits"), as: UTF8.self)
    let line = try #require(limits.split(separator: "\n").first { $0.hasPrefix("Max open files") })
    let words = line.split(separator: " ")
    #expect(words[3] != "300")
    #expect(words[3] == words[4])
  }

  @Test func aNameIsMadeOnceAndKept() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port, ["uuid": .null])
    #expect(try await agent.command("start").code == 0)
    let name = try #require(try await agent.status()?["uuid"])
    #expect(nameFault(name) == nil)
    #expect(try await agent.command("stop").code == 0)
    #expect(try await agent.command("start").code == 0)
    #expect(try await agent.status()?["uuid"] == name)
  }

  private func hasRegistered(_ agent: AgentOnDisk, _ redis: RedisServerProcess) async throws -> Bool {
    let connection = RedisConnection(redis.configuration)
    try await connection.connect()
    let info = try await connection.send(RedisCommand("EXISTS", Keys.info(AgentID(agent.uuid))))
    await connection.close()
    return info == .integer(1)
  }
}
