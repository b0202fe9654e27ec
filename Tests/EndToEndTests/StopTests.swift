// Ending runs from the outside, with the real programs: a kill proves itself, reaches a busy agent, and never lies while it cannot be final.
import Foundation
import Glibc
import RedisTestSupport
import Testing

@Suite struct StopTests {
  /// Processes whose command line holds this.
  private func count(_ mark: String) async throws -> Int {
    let found = try await output(of: "pgrep", ["-c", "-f", mark], allowFailure: true)
    return Int(String(decoding: found, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)) ?? -1
  }

  @Test func aKilledRunLeavesNobodyBehindAndSaysSo() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("kill-1")
      // A number that no other test sleeps for.
      let sleep = "sleep 300.\(getpid())"
      let auuid = try await stand.task("kill-1", "sh -c 'setsid \(sleep) & \(sleep)'")
      _ = try await eventually("both sleep") { try await self.count("^\(sleep)") == 2 ? true : nil }
      let answer = try await stand.kill(auuid)
      #expect(answer.status == 202 && answer["auuid"] as? String == auuid)
      #expect((answer["stopRequestedAt"] as? String)?.hasSuffix("Z") == true)
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "killed" && run["left"] as? Int == 0)
      #expect(run["signalled"] as? Int ?? 0 >= 2 && run["signal"] as? String == "TERM")
      #expect(try await count("^\(sleep)") == 0)
      let again = try await stand.kill(auuid)
      #expect(again.status == 409 && again.text.contains("already_ended"))
      #expect(again.text.contains("killed") && again.text.contains(run["finishedAt"] as? String ?? "?"), "\(again.text)")
    }
  }

  /// Rule `busyHears`.
  @Test func aKillReachesAnAgentWhoseEverySlotIsBusyWithinASecond() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("busy-2", settings: ["task": ["concurrency": 1]])
      var quickest = (waiting: TimeInterval.infinity, running: TimeInterval.infinity)
      // The quickest of three each: on a loaded machine any one of them may be slow for other reasons.
      for _ in 0..<3 {
        let running = try await stand.task("busy-2", "sleep 600")
        try await stand.run(running, is: "running")
        let waiting = try await stand.task("busy-2", "echo never")
        #expect(try await stand.kill(waiting).status == 202)
        let cancelled = try await stand.verdict(waiting)
        #expect(cancelled["state"] as? String == "cancelled" && cancelled["startedAt"] is NSNull)
        quickest.waiting = min(quickest.waiting, try fromRequestToEnd(cancelled))
        #expect(try await stand.kill(running, ["signal": "SIGKILL"]).status == 202)
        let killed = try await stand.verdict(running)
        #expect(killed["state"] as? String == "killed")
        quickest.running = min(quickest.running, try fromRequestToEnd(killed))
      }
      print("MEASURED kill at a busy agent: \(quickest) s")
      #expect(quickest.waiting < 1 && quickest.running < 1, "\(quickest)")
    }
  }

  /// Both told by clocks of this machine, in seconds.
  private func fromRequestToEnd(_ run: [String: Any]) throws -> TimeInterval {
    let (asked, ended) = (try #require(run.date("stopRequestedAt")), try #require(run.date("finishedAt")))
    return ended.timeIntervalSince(asked)
  }

  @Test func aStrongerSecondKillTakesEffectAtOnce() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("deaf-1")
      let auuid = try await stand.task("deaf-1", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
      _ = try await eventually("it is deaf") {
        String(decoding: try await stand.log(auuid), as: UTF8.self) == "ready\n" ? true : nil
      }
      #expect(try await stand.kill(auuid, ["grace": 600]).status == 202)
      let open = try await stand.kill(auuid, ["signal": "TERM", "grace": 500])
      #expect(open.status == 202 && open["state"] as? String == "running")
      #expect(try await stand.kill(auuid, ["signal": "KILL"]).status == 202)
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "killed" && run["signal"] as? String == "KILL" && run["left"] as? Int == 0)
    }
  }

  /// Rule `tombFirst`.
  @Test func whatWasNeverSentIsCancelledAtOnceButNotWhileRedisIsAway() async throws {
    let server = try await RedisServerProcess.start()
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      _ = try await stand.redisCLI("sadd", "byhand", "never-2")
      // As a rule the answer says it already. It waits for a quarter of a second, which a busy machine may need for something else.
      var answered: [String] = []
      while !answered.contains("cancelled"), answered.count < 3 {
        let first = try await stand.task("never-2", "true")
        let answer = try await stand.kill(first)
        #expect(answer.status == 202)
        answered.append(answer["state"] as? String ?? "")
        let run = try await stand.verdict(first)
        #expect(run["state"] as? String == "cancelled" && run["startedAt"] is NSNull)
        #expect(try await stand.redisCLI("zscore", "muster:{never-2}:tombs", String(first.suffix(26))) != "")
      }
      #expect(answered.contains("cancelled"), "\(answered)")

      let second = try await stand.task("never-2", "true")
      let late = try await stand.task("never-2", "true", ["expires": 10])
      server.signal(SIGSTOP)
      let waiting = try await stand.kill(second)
      #expect(waiting.status == 202 && waiting["state"] as? String == "queued" && waiting["stopRequestedAt"] is String)
      _ = try await eventually("its time has passed", within: 60) {
        try await stand.get("/v1/runs/\(late)")["stopRequestedAt"] is String ? true : nil
      }
      #expect(try await stand.get("/v1/runs/\(late)")["state"] as? String == "queued")
      #expect(try await stand.get("/v1/runs/\(second)")["state"] as? String == "queued")
      server.signal(SIGCONT)
      #expect(try await stand.verdict(second)["state"] as? String == "cancelled")
      #expect(try await stand.verdict(late)["state"] as? String == "expired")
    }
    try await server.stop()
  }

  @Test func aRunKilledWhileRedisIsAwayIsNotStartedWhenItIsBack() async throws {
    let server = try await RedisServerProcess.start()
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      try await stand.startAgent("gone-1")
      let before = try await stand.task("gone-1", "echo $MUSTER_RUN >> \(stand.starts.path)")
      try await stand.expectEnded(before, "succeeded")
      for _ in 0..<3 {
        try await server.kill()
        let killed = try await stand.task("gone-1", "echo $MUSTER_RUN >> \(stand.starts.path)")
        let kept = try await stand.task("gone-1", "echo $MUSTER_RUN >> \(stand.starts.path)")
        let answer = try await stand.kill(killed)
        #expect(answer.status == 202 && answer["stopRequestedAt"] is String, "\(answer.text)")
        try await server.restart()
        try await stand.expectEnded(kept, "succeeded")
        let run = try await stand.verdict(killed)
        #expect(run["state"] as? String == "cancelled" && run["startedAt"] is NSNull, "\(run)")
        #expect(try !String(contentsOf: stand.starts, encoding: .utf8).contains(killed))
      }
    }
    try await server.stop()
  }

  @Test func aRunKilledWhileItsAgentIsDeadIsNotStartedByTheNext() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("dead-1")
      for round in 0..<3 {
        try await stand.agent("dead-1").end(SIGKILL)
        // The dashboard takes it for alive: it is put into the inbox.
        let killed = try await stand.task("dead-1", "echo $MUSTER_RUN >> \(stand.starts.path)")
        _ = try await eventually("it is in the inbox") {
          try await stand.redisCLI("hexists", "muster:{dead-1}:inbox", String(killed.suffix(26))) == "1" ? true : nil
        }
        let answer = try await stand.kill(killed)
        #expect(answer.status == 202 && answer["stopRequestedAt"] is String, "\(answer.text)")
        _ = try await eventually("it is not in the inbox any more") {
          try await stand.redisCLI("hlen", "muster:{dead-1}:inbox") == "0" ? true : nil
        }
        try await stand.startAgent("dead-1", wait: round % 2 == 0)
        let run = try await stand.verdict(killed)
        #expect(run["state"] as? String == "cancelled" && run["startedAt"] is NSNull, "\(run)")
        let kept = try await stand.task("dead-1", "echo $MUSTER_RUN >> \(stand.starts.path)")
        try await stand.expectEnded(kept, "succeeded")
        #expect(try String(contentsOf: stand.starts, encoding: .utf8).split(separator: "\n").count == round + 1)
      }
    }
  }

  @Test func aWholeTaskIsKilledOnEveryHostAndByAnyOfItsNames() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      for uuid in ["t1", "t2"] { try await stand.startAgent(uuid, projects: ["green"]) }
      let posted = try await stand.post(
        "/v1/producer/green/task", ["taskname": "if [ $MUSTER_UUID = t1 ]; then exit 0; else sleep 60; fi"])
      let task = try #require(posted["task"] as? String)
      #expect(try await stand.verdict("t1-\(task)")["state"] as? String == "succeeded")
      try await stand.run("t2-\(task)", is: "running")
      let answer = try await stand.post("/v1/tasks/green-\(task)/kill", [:])
      #expect(answer.status == 202 && answer["asked"] as? Int == 1 && answer["ended"] as? Int == 1, "\(answer.text)")
      #expect((answer["counts"] as? [String: Int])?["succeeded"] == 1)
      #expect(try await stand.verdict("t2-\(task)")["state"] as? String == "killed")
      let again = try await stand.post("/v1/tasks/\(task)/kill", [:])
      #expect(again.status == 409 && again.text.contains("1 succeeded, 1 killed"), "\(again.text)")
      // A plain task by its alias.
      _ = try await stand.redisCLI("hset", "t1", "long one", "sleep 60")
      _ = try await eventually("the alias runs") {
        try await stand.get("/v1/runs/t1long%20one")["state"] as? String == "running" ? true : nil
      }
      let alias = try await stand.kill("t1long%20one")
      #expect(alias.status == 202)
      #expect(try await stand.verdict(alias["auuid"] as? String ?? "")["state"] as? String == "killed")
    }
  }
}
