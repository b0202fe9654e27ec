// Killing runs and tasks, and removing agents, on a live socket: what is refused and how, what is asked for, and what the answer says.
import GRDB
import Shared
import Testing

@testable import Dashboard

@Suite struct StopRouteTests {
  private func wish(_ scene: Scene, _ auuid: String) async throws -> (cause: String?, order: StopOrder) {
    let run = try #require(RunID(auuid))
    return try await scene.store.read { db in
      let row = try #require(
        try Row.fetchOne(
          db, sql: "SELECT wants_end, stop_signal, stop_grace FROM runs WHERE task = ? AND uuid = ?",
          arguments: [run.task.description, run.agent.text]))
      return (row[0], StopOrder(signal: row[1], grace: row[2]))
    }
  }

  @Test func aKillIsCommittedToldToTheLoopsAndAnswersTheWholeRun() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      try await scene.move(auuid, to: .running)
      let answer = try await scene.send("POST", "/v1/runs/\(auuid)/kill", #"{"signal":"SIGINT","grace":2.5}"#)
      #expect(answer.status == 202, "\(answer.text)")
      let run = try answer.json()
      #expect(
        run["auuid"]?.asString == auuid && run["state"] == "running" && run["stopRequestedAt"]?.asString?.hasSuffix("Z") == true)
      #expect(try await wish(scene, auuid) == ("cancelled", StopOrder(signal: "INT", grace: 2.5)))
      #expect(scene.script.withLock { $0.stopped } == [RunID(auuid)])
      // Without a body: the agent's defaults.
      let other = try await scene.postOne()
      #expect(try await scene.send("POST", "/v1/runs/\(other)/kill").status == 202)
      #expect(try await wish(scene, other) == ("cancelled", StopOrder()))
    }
  }

  @Test func aSecondKillIsHarderOrChangesNothing() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      try await scene.move(auuid, to: .running)
      for (body, expected) in [
        (#"{"grace":30}"#, StopOrder(grace: 30)), (#"{"signal":"hup","grace":60}"#, StopOrder(signal: "HUP", grace: 30)),
        (#"{"signal":"KILL"}"#, StopOrder(signal: "KILL", grace: 30)),
        (#"{"signal":"TERM","grace":1}"#, StopOrder(signal: "KILL", grace: 1)),
      ] {
        #expect(try await scene.send("POST", "/v1/runs/\(auuid)/kill", body).status == 202)
        #expect(try await wish(scene, auuid).order == expected)
      }
      #expect(scene.script.withLock { $0.stopped.count } == 4, "each is sent at once")
    }
  }

  @Test(arguments: [
    (#"{"signal":"NOPE"}"#, "bad_field", "signal"), (#"{"signal":9}"#, "bad_field", "signal"),
    (#"{"grace":-1}"#, "bad_field", "grace"),
    (#"{"grace":86401}"#, "bad_field", "grace"), (#"{"grace":"1"}"#, "bad_field", "grace"),
    (#"{"sginal":"TERM"}"#, "unknown_field", "sginal"),
    (#"{"signal":"TERM","signal":"INT"}"#, "duplicate_key", "signal"), ("[]", "bad_field", nil), ("{", "bad_json", nil),
  ])
  func aBadBodyIsRefusedAndNamesTheField(_ body: String, _ code: String, _ field: String?) async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      for route in ["/v1/runs/\(auuid)/kill", "/v1/tasks/\(auuid)/kill"] {
        let answer = try await scene.send("POST", route, body)
        #expect(answer.status == 400 && answer.code == code, "\(answer.text)")
        #expect(try answer.json()["error"]?["field"]?.asString == field)
      }
      #expect(try await wish(scene, auuid).cause == nil)
    }
  }

  @Test func whatIsNotKnownOrHasEndedIsToldApart() async throws {
    try await withScene { scene in
      let unknown = try await scene.send("POST", "/v1/runs/web1-01ARZ3NDEKTSV4RRFFQ69G5FAV/kill")
      #expect(unknown.status == 404 && unknown.code == "unknown_run")
      let task = try await scene.send("POST", "/v1/tasks/01ARZ3NDEKTSV4RRFFQ69G5FAV/kill")
      #expect(task.status == 404 && task.code == "unknown_task")
      let auuid = try await scene.postOne()
      try await scene.move(auuid, to: .failed, exitCode: 3)
      let ended = try await scene.send("POST", "/v1/runs/\(auuid)/kill")
      #expect(ended.status == 409 && ended.code == "already_ended")
      #expect(ended.text.contains("failed, exit code 3, at 2025-11-21T13:45:00.123Z"), "\(ended.text)")
      let whole = try await scene.send("POST", "/v1/tasks/\(auuid)/kill")
      #expect(whole.status == 409 && whole.code == "already_ended")
      #expect(whole.text.contains("1 failed, the last one at 2025-11-21T13:45:00.123Z"), "\(whole.text)")
      #expect(scene.script.withLock { $0.stopped.isEmpty })
      #expect(try await wish(scene, auuid).cause == nil)
    }
  }

  @Test func aTasksKillAsksForEveryOpenRun() async throws {
    try await withScene { scene in
      let posted = try await scene.post("web")
      let (auuid, task) = (try #require(posted["auuid"]?.asString), try #require(posted["task"]?.asString))
      try await scene.move("web1-\(task)", to: .succeeded, exitCode: 0)
      try await scene.move("web2-\(task)", to: .running)
      let answer = try await scene.send("POST", "/v1/tasks/\(auuid)/kill", #"{"signal":"TERM"}"#)
      #expect(answer.status == 202)
      #expect(
        try answer.json() == [
          "task": .string(task), "auuid": .string(auuid), "counts": ["running": 1, "succeeded": 1], "asked": 1, "ended": 1,
        ])
      #expect(scene.script.withLock { $0.stopped.map(\.agent.text) } == ["web2"])
      #expect(try await wish(scene, "web2-\(task)") == ("cancelled", StopOrder(signal: "TERM")))
      #expect(try await wish(scene, "web1-\(task)").cause == nil)
    }
  }

  @Test func onlyTheWritingDashboardChangesAnythingAndNoForeignPageDoes() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      try await scene.know("web1")
      let calls = [("POST", "/v1/runs/\(auuid)/kill"), ("POST", "/v1/tasks/\(auuid)/kill"), ("DELETE", "/v1/agents/web1")]
      scene.script.withLock { $0.standing = .standby("another one writes") }
      for (method, route) in calls {
        let answer = try await scene.send(method, route)
        #expect(answer.status == 503 && answer.code == "standby" && answer.text.contains("another one writes"))
      }
      scene.script.withLock { $0.standing = .accepting }
      for (method, route) in calls {
        #expect(try await scene.send(method, route, headers: ["Sec-Fetch-Site": "cross-site"]).status == 403)
      }
      #expect(scene.script.withLock { $0.stopped.isEmpty && $0.removals.isEmpty })
    }
  }

  @Test func aRemovalAnswersTheAgentAsItWasAndRedisAwayIsSaid() async throws {
    try await withScene { scene in
      #expect(try await scene.send("DELETE", "/v1/agents/nobody").code == "unknown_agent")
      try await scene.know("web1", projects: ["web"])
      scene.script.withLock { $0.removal = { _ in throw RemovalFault("OOM command not allowed") } }
      let away = try await scene.send("DELETE", "/v1/agents/web1")
      #expect(away.status == 503 && away.code == "redis_away" && away.headers["retry-after"] != nil)
      #expect(away.text.contains("OOM command not allowed"), "\(away.text)")
      scene.script.withLock {
        $0.removal = {
          RemovedAgents.Removal(agent: $0, presence: Presence(online: true), closed: [(ULID.min, .lost), (ULID.max, .lost)])
        }
      }
      let answer = try await scene.send("DELETE", "/v1/agents/web1")
      #expect(answer.status == 200)
      let agent = try answer.json()
      #expect(agent["uuid"] == "web1" && agent["projects"] == ["web"] && agent["online"] == true && agent["closedRuns"] == 2)
      #expect(scene.script.withLock { $0.removals.allSatisfy { $0.hasPrefix("127.0.0.1:") } && $0.removals.count == 2 })
    }
  }
}
