// Wrong usage, wrong settings, help: what needs no running agent.

import RedisTestSupport
import Shared
import Testing

@Suite struct CommandLineTests {
  /// Nobody listens there.
  private let nowhere = 1

  @Test func helpOfEveryCommandSaysWhatItDoes() async throws {
    let agent = try AgentOnDisk(redisPort: nowhere)
    let all = try await agent.run(["--help"])
    #expect(all.code == 0)
    #expect(all.output.contains("Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 not running"))
    for name in ["run", "start", "stop", "status", "version"] {
      #expect(all.output.contains(name))
      let one = try await agent.run(["help", name])
      #expect(one.code == 0)
      #expect(one.output.contains("agent \(name)"))
      #expect(!one.output.contains("ready-descriptor"), "that option is between start and run")
    }
    #expect(!all.output.contains("runner"), "that subcommand is hidden")
  }

  @Test func versionIsTheProgramsOwn() async throws {
    let agent = try AgentOnDisk(redisPort: nowhere)
    let version = try await agent.run(["version"])
    #expect(version.code == 0)
    #expect(version.output == "muster agent \(MusterVersion.text) (protocol \(Protocol.version))\n")
    #expect(try await agent.run(["version", "-f", "/nonexistent"]).code == 0)
  }

  @Test(arguments: [
    [], ["frobnicate"], ["run", "--frobnicate"], ["stop", "--drain", "--kill"], ["status", "extra"], ["start", "-f"],
    ["run", "--drain"],
  ])
  func wrongUsageIsExitCodeTwo(words: [String]) async throws {
    let agent = try AgentOnDisk(redisPort: nowhere)
    let finished = try await agent.run(words)
    #expect(finished.code == 2)
    #expect(finished.output.isEmpty)
    #expect(finished.errors.lowercased().contains("usage: agent"))
  }

  @Test(arguments: ["run", "start", "stop", "status"])
  func everyFaultOfTheSettingsIsToldAtOnce(command: String) async throws {
    let agent = try AgentOnDisk(
      redisPort: nowhere, uuid: "two words",
      ["tsak": ["path": "/tmp"], "output": ["cap": "much"], "http": ["listen": "0.0.0.0:7070"]])
    let finished = try await agent.command(command, environment: ["MUSTER_REDIS_PORT": "many"])
    #expect(finished.code == 2)
    for key in ["uuid", "tsak", "output.cap", "http.listen", "redis.port"] { #expect(finished.errors.contains("\n  \(key) ")) }
    #expect(finished.errors.contains("in 5 places"))
    #expect(finished.errors.contains("did you mean \"task\"?"))
    #expect(!Files.exists(agent.state), "nothing is made with settings that are wrong")
  }

  @Test func aFaultInTheJSONHasItsPlace() async throws {
    let agent = try AgentOnDisk(redisPort: nowhere)
    try Files.writeAtomically(Array("{\n  \"uuid\" \"x\"\n}\n".utf8), to: agent.settingsFile)
    let finished = try await agent.command("status")
    #expect(finished.code == 2)
    #expect(finished.errors.contains("line 2, column 10"))
  }

  @Test func aSettingsFileThatIsMissingIsNamed() async throws {
    let agent = try AgentOnDisk(redisPort: nowhere)
    let finished = try await agent.run(["start", "-f", "/nonexistent/agent.json"])
    #expect(finished.code == 2)
    #expect(finished.errors.contains("/nonexistent/agent.json"))
  }

  @Test(arguments: ["run", "start"])
  func aStateFolderThatCannotBeMadeIsAFaultOfTheSettings(command: String) async throws {
    // A file in its way: root, who may run these tests, is stopped by no permission.
    let agent = try AgentOnDisk(redisPort: nowhere, ["state": ["path": "/proc/version/state"]])
    let finished = try await agent.command(command)
    #expect(finished.code == 2)
    #expect(finished.errors.contains("state.path"))
    #expect(finished.errors.contains("/proc/version"))
  }

  @Test(arguments: ["status", "stop"])
  func withoutAnAgentStatusAndStopAreExitCodeThree(command: String) async throws {
    let agent = try AgentOnDisk(redisPort: nowhere)
    let finished = try await agent.command(command)
    #expect(finished.code == 3)
    #expect(finished.output.isEmpty)
    #expect(finished.errors.contains("no agent is running on \(agent.state)"))
    #expect(!Files.exists(agent.state), "looking makes no folders")
  }

  @Test func aRunnerWithoutItsSocketEndsAtOnce() async throws {
    // Dispatched before the command line is parsed: no help, no usage.
    let agent = try AgentOnDisk(redisPort: nowhere)
    let finished = try await agent.run(["runner", "\(agent.folder)/records"])
    #expect(finished.code == 2)
    #expect(finished.errors.isEmpty)
  }
}
