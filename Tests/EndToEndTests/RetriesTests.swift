// Retries on request, with real programs: a command counts its own starts in a file on the host, so that one start too many is seen on disk.
import Foundation
import Glibc
import RedisTestSupport
import Testing

@Suite struct RetriesTests {
  /// Fails until it was started `times`.
  private func fails(until times: Int, _ file: URL) -> String {
    "echo start >> \(file.path); n=$(wc -l < \(file.path)); echo this is start $n; [ $n -ge \(times) ]"
  }
  private func starts(_ file: URL) throws -> Int {
    FileManager.default.fileExists(atPath: file.path)
      ? try String(contentsOf: file, encoding: .utf8).split(separator: "\n").count : 0
  }
  private func attempts(_ run: [String: Any]) -> [[String: Any]] { run["attempts"] as? [[String: Any]] ?? [] }

  @Test func aTaskThatFailsTwiceSucceedsWithItsThirdAttempt() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("t1", projects: ["blue"])
      let file = stand.folder.appendingPathComponent("starts")
      let answer = try await stand.post(
        "/v1/producer/t1/task?wait=30", ["taskname": fails(until: 3, file), "retries": 5, "retryDelay": 0.1])
      #expect(answer.status == 200, "it waits for the last attempt's verdict")
      let auuid = try #require(answer["auuid"] as? String)
      let run = try await stand.get("/v1/runs/\(auuid)").json
      #expect(run["state"] as? String == "succeeded" && run["attempt"] as? Int == 3 && run["retries"] as? Int == 5)
      #expect(attempts(run).compactMap { $0["state"] as? String } == ["failed", "failed", "succeeded"])
      #expect(attempts(run).compactMap { $0["exitCode"] as? Int } == [1, 1, 0])
      #expect(attempts(run).compactMap { $0["outputBytes"] as? Int } == [16, 16, 16])
      #expect(try starts(file) == 3)

      for attempt in 1...3 {
        let log = try await stand.log(auuid, "?attempt=\(attempt)")
        #expect(String(decoding: log, as: UTF8.self) == "this is start \(attempt)\n")
      }
      #expect(try await stand.log(auuid) == stand.log(auuid, "?attempt=3"))
      #expect(try await stand.get("/v1/runs/\(auuid)/log?attempt=4").status == 404)
      #expect(try await stand.get("/v1/runs/\(auuid)/log?attempt=0").status == 400)

      // On the host each attempt has a file of its own, and the result is the newest one's.
      let runs = stand.stateFolder("t1").appendingPathComponent("log/runs")
      let names = try FileManager.default.contentsOfDirectory(atPath: runs.path).sorted()
      #expect(names == ["\(auuid).2.log", "\(auuid).3.log", "\(auuid).log"])
      let state = try await eventually("the result hash is the last attempt's") {
        try await stand.redisCLI("hget", auuid, "state") == "succeeded" ? true : nil
      }
      #expect(state)
      #expect(try await stand.redisCLI("hget", auuid, "log") == "this is start 3")
    }
  }

  @Test func withoutBeingAskedATaskIsStartedOnce() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("t2")
      let file = stand.folder.appendingPathComponent("starts")
      let auuid = try await stand.task("t2", fails(until: 2, file))
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "failed" && run["attempt"] as? Int == 1 && attempts(run).count == 1)
      #expect(try starts(file) == 1)
    }
  }

  @Test func aRunThatKeepsFailingEndsWithItsLastAttemptsVerdict() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("t3")
      let file = stand.folder.appendingPathComponent("starts")
      // Nine seconds until the third attempt, and so for whoever follows to come.
      let auuid = try await stand.task("t3", fails(until: 99, file), ["retries": 2, "retryDelay": 3])
      let follow = String(decoding: try await stand.get("/v1/runs/\(auuid)/log?follow=1").bytes, as: UTF8.self)
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "failed" && run["attempt"] as? Int == 3)
      #expect(try starts(file) == 3)
      // Who follows hears every attempt from the one that it came to.
      #expect(follow.hasSuffix("==> attempt 3 <==\nthis is start 3\n"), "\(follow)")
      #expect(follow.components(separatedBy: "this is start").count <= 4)
    }
  }

  @Test func aKilledRunIsNotStartedAgain() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("t4")
      let file = stand.folder.appendingPathComponent("starts")
      let auuid = try await stand.task(
        "t4", "echo start >> \(file.path); sleep 60", ["retries": 5, "retryDelay": 0, "retryOn": ["failed", "timedOut", "lost"]])
      _ = try await eventually("it runs") { try self.starts(file) == 1 ? true : nil }
      // What `stop --kill` does to it is a kill, whoever asks.
      _ = try await output(
        of: "agent", ["stop", "--kill", "-f", stand.folder.appendingPathComponent("t4.json").path], allowFailure: true)
      try await stand.startAgent("t4")
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "killed" && run["attempt"] as? Int == 1)
      #expect(try starts(file) == 1)
    }
  }

  @Test func aLostAttemptIsFollowedByAnotherWhereThatWasAskedFor() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("t5")
      let file = stand.folder.appendingPathComponent("starts")
      let auuid = try await stand.task(
        "t5", "echo start >> \(file.path); echo said; [ $(wc -l < \(file.path)) -gt 1 ] || sleep 60",
        ["retries": 1, "retryDelay": 0.1, "retryOn": ["lost"]])
      _ = try await eventually("it runs") {
        try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "running" && self.starts(file) == 1 ? true : nil
      }
      let runners = String(decoding: try await output(of: "pgrep", ["-P", "\(agent.pid)"], allowFailure: true), as: UTF8.self)
        .split(separator: "\n").compactMap { pid_t($0) }
      #expect(!runners.isEmpty)
      kill(agent.pid, SIGKILL)
      for runner in runners { kill(runner, SIGKILL) }
      try await agent.end(SIGKILL)
      try await stand.startAgent("t5")
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "succeeded" && run["attempt"] as? Int == 2)
      #expect(attempts(run).compactMap { $0["state"] as? String } == ["lost", "succeeded"])
      #expect(try starts(file) == 2)
    }
  }

  @Test func theDelayGoesOnWhileTheDashboardIsRestarted() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("t6")
      let file = stand.folder.appendingPathComponent("starts")
      let posted = ContinuousClock.now
      let auuid = try await stand.task("t6", fails(until: 2, file), ["retries": 1, "retryDelay": 10])
      let waiting: [String: Any] = try await eventually("it waits for its second attempt") {
        let run = try await stand.get("/v1/runs/\(auuid)").json
        return run["nextAttemptAt"] is String ? run : nil
      }
      #expect(waiting["state"] as? String == "queued" && waiting["attempt"] as? Int == 2)
      #expect(attempts(waiting).compactMap { $0["state"] as? String } == ["failed", "queued"])
      #expect(String(decoding: try await stand.log(auuid), as: UTF8.self) == "this is start 1\n", "what there is to read now")
      try await stand.killDashboard()
      try await stand.restartDashboard()
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "succeeded" && run["attempt"] as? Int == 2 && run["nextAttemptAt"] is NSNull)
      #expect(ContinuousClock.now - posted >= .seconds(10))
      #expect(try starts(file) == 2)
    }
  }

  @Test func aRestoredCopyOfTheDatabaseStartsNoAttemptTwice() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("t7")
      let file = stand.folder.appendingPathComponent("starts")
      let gate = stand.folder.appendingPathComponent("gate")
      // Its second attempt waits for the gate.
      let auuid = try await stand.task(
        "t7",
        "echo start >> \(file.path); [ $(wc -l < \(file.path)) -gt 1 ] || exit 7; echo before; while [ ! -e \(gate.path) ]; do sleep 0.02; done",
        ["retries": 3, "retryDelay": 10])
      _ = try await eventually("it waits for its second attempt") {
        try await stand.get("/v1/runs/\(auuid)")["nextAttemptAt"] as? String
      }
      try await stand.killDashboard()
      let data = stand.folder.appendingPathComponent("data")
      let copy = stand.folder.appendingPathComponent("copy")
      try FileManager.default.createDirectory(at: copy, withIntermediateDirectories: true)
      let names = try FileManager.default.contentsOfDirectory(atPath: data.path).filter { $0.hasPrefix("muster.sqlite") }
      for name in names {
        try FileManager.default.copyItem(at: data.appendingPathComponent(name), to: copy.appendingPathComponent(name))
      }
      try await stand.restartDashboard()
      _ = try await eventually("the second attempt runs") { try self.starts(file) == 2 ? true : nil }
      _ = try await eventually("and that is known") {
        let run = try await stand.get("/v1/runs/\(auuid)").json
        return run["state"] as? String == "running" && run["outputBytes"] as? Int == 7 ? true : nil
      }
      try await stand.killDashboard()
      for name in try FileManager.default.contentsOfDirectory(atPath: data.path) where name.hasPrefix("muster.sqlite") {
        try FileManager.default.removeItem(at: data.appendingPathComponent(name))
      }
      for name in names {
        try FileManager.default.copyItem(at: copy.appendingPathComponent(name), to: data.appendingPathComponent(name))
      }
      try await stand.restartDashboard()
      _ = try await eventually("the restored dashboard asks and hears that it runs") {
        let run = try await stand.get("/v1/runs/\(auuid)").json
        return run["state"] as? String == "running" && run["attempt"] as? Int == 2 ? true : nil
      }
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "succeeded" && run["attempt"] as? Int == 2)
      #expect(try starts(file) == 2)
      let log = try await eventually("what was acknowledged to the dashboard before comes again") {
        let log = try await stand.log(auuid)
        return log.isEmpty ? nil : String(decoding: log, as: UTF8.self)
      }
      #expect(log == "before\n")
    }
  }
}
