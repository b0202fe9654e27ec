// States that tell the truth, with the real programs: silence is `unknown` and never a verdict, and only an operator's removal closes runs
// without their agent's word.
import Foundation
import Glibc
import RedisTestSupport
import Testing

@Suite struct TruthTests {
  @Test func aDeadAgentsRunsAreUnknownInTimeThenOverdueAndCorrectedWhenItReturns() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("silent-1")
      let gate = stand.folder.appendingPathComponent("gate")
      let long = try await stand.task("silent-1", "while [ ! -e \(gate.path) ]; do sleep 0.05; done; exit 7")
      let limited = try await stand.task("silent-1", "sleep 200", ["timeout": 10])
      let unwanted = try await stand.task("silent-1", "sleep 201")
      for auuid in [long, limited, unwanted] { try await stand.run(auuid, is: "running") }
      try await stand.agent("silent-1").end(SIGKILL)
      let died = ContinuousClock.now
      try await stand.run(long, is: "unknown", within: 60)
      let took = ContinuousClock.now - died
      print("MEASURED silence: unknown \(took) after the agent's death")
      // The last heartbeat was at most 5 s before the death, and silence lasts at least 15 s: 20 s, and what a slow machine adds.
      #expect(took >= .seconds(10) && took <= .seconds(40), "\(took)")
      #expect(try await stand.get("/v1/runs/\(long)")["overdue"] as? Bool == false)
      let overdue = try await stand.run(limited, is: "unknown")
      #expect(overdue["finishedAt"] is NSNull)
      _ = try await eventually("the one with a time limit is overdue") {
        try await stand.get("/v1/runs/\(limited)")["overdue"] as? Bool == true ? true : nil
      }
      #expect((try await stand.get("/v1/overview"))["unknown"] as? Int == 3)
      // A kill waits for the agent, and says so.
      let waiting = try await stand.kill(unwanted)
      #expect(waiting.status == 202 && waiting["state"] as? String == "unknown" && waiting["stopRequestedAt"] is String)
      try await stand.startAgent("silent-1")
      let corrected = try await stand.run(long, is: "running")
      #expect(corrected["overdue"] as? Bool == false)
      let ended = try await stand.verdict(limited)
      #expect(ended["state"] as? String == "timedOut" && ended["overdue"] as? Bool == false)
      #expect(try await stand.verdict(unwanted)["state"] as? String == "killed")
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      #expect(try await stand.verdict(long)["exitCode"] as? Int == 7)
    }
  }

  @Test func anAgentThatWasOnlyFrozenIsCorrectedUnderTheSameIncarnation() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("frozen-1")
      let gate = stand.folder.appendingPathComponent("gate")
      let auuid = try await stand.task("frozen-1", "while [ ! -e \(gate.path) ]; do sleep 0.05; done")
      try await stand.run(auuid, is: "running")
      Glibc.kill(agent.pid, SIGSTOP)
      try await stand.run(auuid, is: "unknown", within: 60)
      Glibc.kill(agent.pid, SIGCONT)
      try await stand.run(auuid, is: "running")
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      #expect(try await stand.verdict(auuid)["state"] as? String == "succeeded")
    }
  }

  /// Rule `fenced`.
  @Test func aRemovedAgentsRunsAreLostAndItStopsWhileAFreshOneIsWelcome() async throws {
    let server = try await RedisServerProcess.start()
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("gone-1", projects: ["red"], settings: ["task": ["concurrency": 1]])
      let running = try await stand.task("gone-1", "sleep 100")
      let waiting = try await stand.task("gone-1", "true")
      try await stand.run(running, is: "running")
      #expect(try await stand.delete("/v1/agents/nobody").status == 404)
      let answer = try await stand.delete("/v1/agents/gone-1")
      #expect(
        answer.status == 200 && answer["uuid"] as? String == "gone-1" && answer["closedRuns"] as? Int == 2, "\(answer.text)")
      #expect(answer["projects"] as? [String] == ["red"])
      for auuid in [running, waiting] {
        let run = try await stand.get("/v1/runs/\(auuid)")
        #expect(run["state"] as? String == "lost" && (run["note"] as? String)?.contains("removed by an operator") == true)
      }
      // It is told so, and stops.
      let status = try await eventually("the removed agent stops") { agent.status }
      #expect(status == 1 && agent.text.contains("was removed by an operator"), "\(agent.text.suffix(500))")
      #expect(try await stand.get("/v1/agents/gone-1").status == 404)
      let refused = try await stand.post("/v1/producer/gone-1/task", ["taskname": "true"])
      #expect(refused.status == 404 && refused.text.contains("unknown_target"))
      #expect(try await stand.post("/v1/producer/red/task", ["taskname": "true"]).status == 404)
      #expect(try await stand.redisCLI("exists", "muster:{gone-1}:lease", "muster:{gone-1}:info", "muster:{gone-1}:inbox") == "0")
      let log = stand.folder.appendingPathComponent("dashboard.log")
      #expect(try String(contentsOf: log, encoding: .utf8).contains("by=127.0.0.1"), "who asked is in the log")

      // Redis forgets everything: the fence stands again before the removed one could come back.
      _ = try await stand.redisCLI("flushall")
      _ = try await eventually("the fence stands again") {
        try await stand.redisCLI("scard", "muster:{gone-1}:fenced") == "1" ? true : nil
      }
      let back = try await stand.startAgent("gone-1", projects: ["red"], wait: false)
      #expect(try await eventually("it is refused again") { back.status } == 1)
      #expect(back.text.contains("was removed by an operator"))

      // The same name on a fresh disk is a new agent.
      try FileManager.default.removeItem(at: stand.stateFolder("gone-1"))
      try await stand.startAgent("gone-1", projects: ["red"])
      let after = try await stand.post("/v1/producer/red/task?wait=60", ["taskname": "echo welcome"])
      #expect((after["runs"] as? [[String: Any]])?.first?["log"] as? String == "welcome\n")

      // Without Redis nothing is removed.
      server.signal(SIGSTOP)
      let away = try await stand.delete("/v1/agents/gone-1")
      #expect(away.status == 503 && away.text.contains("redis_away"), "\(away.text)")
      server.signal(SIGCONT)
      #expect(try await stand.get("/v1/agents/gone-1").status == 200)
    }
    try await server.stop()
  }
}
