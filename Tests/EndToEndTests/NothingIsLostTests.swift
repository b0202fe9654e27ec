// What the durable flow promises, by killing things: every accepted run ends in one true verdict, and none is started twice. The commands
// append their run's id to a file on the host, so a double start is seen on disk and not inferred.
import Foundation
import Glibc
import RedisTestSupport
import Testing

@Suite struct NothingIsLostTests {
  /// Rules `mark`, `ask`.
  @Test func theDashboardIsKilledInTheMiddleOf200Tasks() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("k1")
      let file = stand.folder.appendingPathComponent("starts")
      var auuids = try await postMany(stand, "k1", 100, to: file)
      try await stand.killDashboard()
      try await stand.restartDashboard()
      auuids += try await postMany(stand, "k1", 100, to: file)
      try await stand.killDashboard(SIGTERM)
      try await stand.restartDashboard()
      try await expectEachOnce(stand, auuids, in: file)
    }
  }

  @Test func theAgentIsKilledInTheMiddleOf200Tasks() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("k2")
      let file = stand.folder.appendingPathComponent("starts")
      let auuids = try await postMany(stand, "k2", 200, to: file)
      for signal in [SIGKILL, SIGTERM, SIGKILL] {
        try await stand.agent("k2").end(signal)
        try await stand.startAgent("k2")
      }
      try await expectEachOnce(stand, auuids, in: file)
    }
  }

  @Test func redisIsKilledInTheMiddleOf200Tasks() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("k3")
      let file = stand.folder.appendingPathComponent("starts")
      let auuids = try await postMany(stand, "k3", 200, to: file)
      for _ in 0..<2 {
        let killed = try await stand.redisProcess()
        kill(killed, SIGKILL)
        _ = try await eventually("the dashboard has started its Redis again") {
          try await stand.redisProcess() != killed ? true : nil
        }
      }
      try await expectEachOnce(stand, auuids, in: file)
    }
  }

  @Test func aCommandOutlivesItsAgentAndEndsWithItsTrueExitCodeAndCompleteOutput() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("o1")
      let gate = stand.folder.appendingPathComponent("gate")
      let auuid = try await stand.task(
        "o1",
        "echo before; while [ ! -e \(gate.path) ]; do sleep 0.02; done; echo after; head -c 200000 /dev/zero | tr '\\0' y; exit 42"
      )
      _ = try await eventually("it runs") {
        try await stand.get("/v1/runs/\(auuid)/log")["log"] as? String == "before\n" ? true : nil
      }
      try await stand.agent("o1").end(SIGKILL)
      try await stand.startAgent("o1")
      #expect(try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "running")
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "failed" && run["exitCode"] as? Int == 42)
      let log = try await eventually("the output is complete") {
        let log = try await stand.log(auuid)
        return log.count == 13 + 200_000 ? log : nil
      }
      #expect(log.prefix(13) == Data("before\nafter\n".utf8))
    }
  }

  /// Its command has written its line: from now on another one would be a second start.
  private func expectStart(_ auuid: String, in file: URL) async throws {
    _ = try await eventually("its command has begun") {
      try String(contentsOf: file, encoding: .utf8) == "\(auuid)\n" ? true : nil
    }
  }

  @Test func aRunWhoseRunnerIsKilledWithItsAgentIsLostAndNeverStartedAgain() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("l1")
      let file = stand.folder.appendingPathComponent("starts")
      let auuid = try await stand.task("l1", "echo $MUSTER_RUN >> \(file.path); sleep 300")
      try await stand.run(auuid, is: "running")
      try await expectStart(auuid, in: file)
      let runners = String(decoding: try await output(of: "pgrep", ["-P", "\(agent.pid)"], allowFailure: true), as: UTF8.self)
        .split(separator: "\n").compactMap { pid_t($0) }
      #expect(!runners.isEmpty)
      kill(agent.pid, SIGKILL)
      for runner in runners { kill(runner, SIGKILL) }
      try await agent.end(SIGKILL)
      try await stand.startAgent("l1")
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "lost")
      #expect(try String(contentsOf: file, encoding: .utf8) == "\(auuid)\n")
    }
  }

  /// Rule `file`.
  @Test func aCleanedAwayOutputFileDoesNotMakeAKilledRunStartTwice() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("l2")
      let file = stand.folder.appendingPathComponent("starts")
      let auuid = try await stand.task("l2", "echo $MUSTER_RUN >> \(file.path); sleep 300")
      try await stand.run(auuid, is: "running")
      try await expectStart(auuid, in: file)
      let runners = String(decoding: try await output(of: "pgrep", ["-P", "\(agent.pid)"], allowFailure: true), as: UTF8.self)
        .split(separator: "\n").compactMap { pid_t($0) }
      try FileManager.default.removeItem(at: stand.stateFolder("l2").appendingPathComponent("log/runs/\(auuid).log"))
      for runner in runners { kill(runner, SIGKILL) }
      #expect(try await stand.verdict(auuid)["state"] as? String == "lost")
      #expect(try String(contentsOf: file, encoding: .utf8) == "\(auuid)\n")
    }
  }

  @Test func tasksAreAcceptedWhileRedisIsAwayAndRunWhenItIsBack() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("r1")
      let server = try await stand.redisProcess()
      kill(server, SIGSTOP)
      let auuid = try await stand.task("r1", "echo still here")
      #expect(try await stand.get("/v1/health").status == 200)
      kill(server, SIGCONT)
      #expect(try await stand.verdict(auuid)["state"] as? String == "succeeded")
    }
  }

  @Test func aRedisThatComesBackEmptyLosesNoMemberOfAProject() async throws {
    let server = try await RedisServerProcess.start()
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      for uuid in ["m1", "m2", "m3"] { try await stand.startAgent(uuid, projects: ["blue"]) }
      // It keeps nothing on disk.
      try await server.kill()
      try await server.restart()
      _ = try await eventually("the dashboard has its Redis again") {
        try await stand.get("/v1/health")["redis"] as? String == "connected" ? true : nil
      }
      let answer = try await stand.post("/v1/producer/blue/task?wait=30", ["taskname": "true"])
      let runs = answer["runs"] as? [[String: Any]] ?? []
      #expect(Set(runs.compactMap { $0["uuid"] as? String }) == ["m1", "m2", "m3"])
      #expect(runs.allSatisfy { $0["state"] as? String == "succeeded" }, "\(answer.text)")
    }
    try await server.stop()
  }

  @Test func oneAgentsThousandRunsDoNotHoldUpAnothersOne() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("slow", settings: ["task": ["concurrency": 1]])
      try await stand.startAgent("quick")
      // A minute and more of work, so that behind all of it nothing could end in time.
      for _ in 0..<150 { _ = try await stand.task("slow", "sleep 0.5") }
      let answer = try await stand.post("/v1/producer/quick/task?wait=30", ["taskname": "true"])
      #expect(answer.status == 200)
      let inbox = Int(try await stand.redisCLI("hlen", "muster:{slow}:inbox")) ?? 99
      #expect(inbox <= 65)
    }
  }
}
