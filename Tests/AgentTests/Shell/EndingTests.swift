// The three ends of an agent with commands under way, and what commands get from it: the whole program, plain keys, real commands.

import Glibc
import Redis
import RedisTestSupport
import Shared
import Testing

@Suite struct EndingTests {
  @Test func stopLeavesCommandsAloneAndTheNextAgentReportsThem() async throws {
    let (redis, agent, keys) = try await agentAtWork("echo begun; \(waitForGo); echo done; exit 7")
    #expect(try await agent.command("stop", within: .seconds(15)).code == 0)
    try go(agent)
    #expect(try await agent.command("start").code == 0)
    try await eventually("the next agent reports it") { try await keys.field("web-1job", "exit") == "7" }
    #expect(try await keys.field("web-1job", "log") == "begun\ndone\n")
    withExtendedLifetime(redis) {}
  }

  @Test func drainWaitsForTheLastCommandAndStartsNoMore() async throws {
    let (redis, agent, keys) = try await agentAtWork("\(waitForGo); echo done")
    let stop = try agent.spawn(["stop", "--drain", "-f", agent.settingsFile])
    try await eventually("it drains") { try await agent.status()?["stopping"] == "drain" }
    try await eventually("stop says what it waits for") { stop.errorText.contains("waiting for 1 running command\n") }
    try await keys.post("web-1", "late", "echo late")
    try go(agent)
    #expect(try await agent.end(of: stop).code == 0)
    #expect(try await keys.field("web-1job", "exit") == "0")
    #expect(try await keys.field("web-1job", "log") == "done\n")
    #expect(try await keys.field("web-1late", "exit") == nil)
    #expect(try await agent.command("status").code == 3)
    withExtendedLifetime(redis) {}
  }

  @Test func aTermEndsADrainAndLeavesTheCommand() async throws {
    let (redis, agent, keys) = try await agentAtWork("\(waitForGo); echo done")
    let drain = try agent.spawn(["stop", "--drain", "-f", agent.settingsFile])
    try await eventually("it drains") { try await agent.status()?["stopping"] == "drain" }
    #expect(try await agent.command("stop", within: .seconds(15)).code == 0)
    #expect(try await agent.end(of: drain).code == 0)
    #expect(try await keys.field("web-1job", "exit") == nil)
    try go(agent)
    #expect(try await agent.command("start").code == 0)
    try await eventually("the next agent reports it") { try await keys.field("web-1job", "exit") == "0" }
    withExtendedLifetime(redis) {}
  }

  @Test func killEndsCommandsAndReportsThem() async throws {
    let (redis, agent, keys) = try await agentAtWork("echo begun; exec sleep 1000")
    #expect(try await agent.command("stop", "--kill").code == 0)
    #expect(try await keys.field("web-1job", "exit") == "\(128 + SIGTERM)")
    #expect(try await keys.field("web-1job", "log") == "begun\n")
    withExtendedLifetime(redis) {}
  }

  @Test func commandsGetTheLimitOfDescriptorsThatTheAgentWasStartedWith() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    let command = "ulimit -Sn 300; exec \(AgentOnDisk.executable) start -f \(agent.settingsFile)"
    let start = try agent.spawn(["-c", command], program: "/bin/sh")
    #expect(try await agent.end(of: start).code == 0)
    let keys = try await PlainKeys(redis)
    try await keys.post("web-1", "limit", "ulimit -Sn")
    try await eventually("it has run") { try await keys.field("web-1limit", "exit") == "0" }
    #expect(try await keys.field("web-1limit", "log") == "300\n")
  }

  @Test func theOwnPortShowsTheLogByAliasAndByID() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    #expect(try await agent.command("start").code == 0)
    let port = try #require(try await agent.status()?["http"]?.split(separator: ":").last.flatMap { Int($0) })
    let keys = try await PlainKeys(redis)
    try await keys.post("web-1", "hello", "echo hello; printf '\\377' >&2")
    try await eventually("it has run") { try await keys.field("web-1hello", "exit") == "0" }
    let byAlias = try await request("GET", "/v1/agent/web-1hello/log", port)
    #expect(byAlias.status == 200)
    let answer = try JSONReader.parse(byAlias.body)
    #expect(answer["uuid"] == "web-1")
    #expect(answer["encoding"] == "base64")
    #expect(answer["auuid"]?.asString.flatMap(Base64.decode) == Array("hello\n".utf8) + [0xff])
    let id = try #require(answer["id"]?.asString)
    #expect(RunID(id)?.agent == AgentID("web-1"))
    #expect(try await request("GET", "/v1/agent/\(id)/log", port).body == byAlias.body)
  }

  @Test func anotherHostWithThisNameIsRefusedAndToldWhoHasIt() async throws {
    let redis = try await RedisServerProcess.start()
    let first = try AgentOnDisk(redisPort: redis.port)
    #expect(try await first.command("start").code == 0)
    let pid = try #require(try await first.status()?["pid"])
    let second = try AgentOnDisk(redisPort: redis.port)
    for command in ["start", "run"] {
      let finished = try await second.command(command)
      #expect(finished.code == 1)
      #expect(finished.errors.contains("web-1"))
      #expect(finished.errors.contains("process \(pid)"))
    }
    #expect(try await first.status()?["lease"] == "held")
    #expect(try await first.command("stop").code == 0)
    let late = try await second.command("start")
    #expect(late.code == 0, "the name is free again: \(late.errors)")
  }

  // MARK: Help

  private let waitForGo = "while [ -e ../../agent.json ] && [ ! -e ../../go ]; do sleep 0.02; done"

  /// Lets a command that waits for it go on. It looks from `task.path`, and waits no longer than the test.
  private func go(_ agent: AgentOnDisk) throws { try Files.writeAtomically([], to: agent.folder + "/go") }

  /// An agent whose one command, `job`, is running.
  private func agentAtWork(_ command: String) async throws -> (RedisServerProcess, AgentOnDisk, PlainKeys) {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    #expect(try await agent.command("start").code == 0)
    let keys = try await PlainKeys(redis)
    try await keys.post("web-1", "job", command)
    try await eventually("the command runs") { try await agent.status()?["running"] == "1 of 4" }
    if command.hasPrefix("echo begun") {
      try await eventually("it has begun") { try await keys.field("web-1job", "log") == "begun\n" }
    }
    return (redis, agent, keys)
  }
}

/// What an operator does with redis-cli alone (seed 1).
private final class PlainKeys: Sendable {
  private let connection: RedisConnection

  init(_ redis: RedisServerProcess) async throws {
    connection = RedisConnection(redis.configuration)
    try await connection.connect()
  }

  func post(_ uuid: String, _ name: String, _ command: String) async throws {
    _ = try await connection.send(RedisCommand("HSET", uuid, name, command))
  }

  func field(_ key: String, _ field: String) async throws -> String? {
    guard case .bytes(let bytes) = try await connection.send(RedisCommand("HGET", key, field)) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }
}
