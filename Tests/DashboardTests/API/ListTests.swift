// Lists and single objects, and the errors that every route shares.

import HTTP
import HTTPTypes
import Shared
import Testing

@testable import Dashboard

@Suite struct ListTests {
  @Test func aRunHasExactlyTheFieldsOfTheContract() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne("web1", #"{"taskname":"ls","args":["-l"]}"#)
      let run = try await scene.json("/v1/runs/\(auuid)")
      #expect(
        run.asObject?.keys == [
          "auuid", "task", "uuid", "project", "taskname", "args", "state", "attempt", "exitCode", "signal", "reason", "overdue",
          "queuedAt",
          "sentAt", "startedAt", "finishedAt", "stopRequestedAt", "outputBytes", "droppedBytes", "stdoutSha256", "stderrSha256",
          "signalled", "left", "note", "retries", "nextAttemptAt", "attempts",
        ])
      #expect(run["retries"] == 0 && run["nextAttemptAt"] == .null)
      let attempts = try #require(run["attempts"]?.asArray)
      #expect(
        attempts.map { $0.asObject?.keys } == [
          [
            "attempt", "state", "exitCode", "signal", "reason", "sentAt", "startedAt", "finishedAt", "outputBytes",
            "droppedBytes",
            "stdoutSha256", "stderrSha256", "signalled", "left", "note",
          ]
        ])
      #expect(run["project"] == .null && run["exitCode"] == .null && run["overdue"] == false && run["args"] == ["-l"])
      #expect(run["queuedAt"]?.asString.flatMap { WallTime($0) } != nil)
      // A list does not carry the attempts.
      let listed = try #require(try await scene.json("/v1/runs")["items"]?.asArray)
      #expect(listed.map { $0.asObject?.keys } == [(run.asObject?.keys ?? []).filter { $0 != "attempts" }])
      #expect(listed[0]["auuid"] == run["auuid"] && listed[0]["queuedAt"] == run["queuedAt"])
    }
  }

  @Test func aTaskHasExactlyTheFieldsOfTheContract() async throws {
    try await withScene { scene in
      let posted = try await scene.post("web", #"{"taskname":"uptime"}"#)
      let id = try #require(posted["task"]?.asString)
      try await scene.move("web1-\(id)", to: .succeeded, exitCode: 0)
      let task = try await scene.json("/v1/tasks/\(id)")
      #expect(
        task.asObject?.keys == ["task", "auuid", "taskname", "args", "target", "createdAt", "origin", "counts", "runs"])
      #expect(task["target"] == "web" && task["origin"] == "http" && task["args"] == .null)
      #expect(task["counts"] == ["queued": 1, "succeeded": 1])
      #expect(task["runs"]?.asArray?.map { $0["state"] } == ["succeeded", "queued"])
      #expect(try await scene.json("/v1/tasks/web-\(id)") == task)
      #expect(try await scene.json("/v1/tasks/web2-\(id)") == task, "also by one of its runs")
      #expect(try await scene.json("/v1/tasks")["items"] == [task])
      #expect(try await scene.json("/v1/tasks?runs=0")["items"]?.asArray?.first?["runs"] == [])
      #expect(try await scene.get("/v1/tasks/01ARZ3NDEKTSV4RRFFQ69G5FAV").code == "unknown_task")
      #expect(try await scene.get("/v1/tasks/blue-\(id)").code == "unknown_task")
    }
  }

  @Test func countsOfATaskThatAgentsReportFollowWhoeverSpeaksOfIt() async throws {
    try await withScene { scene in
      let task = ULIDGenerator().next()
      for (index, name) in ["web1", "web2"].enumerated() {
        try await scene.store.write { db in
          _ = try FlowFound.insert(db, task: task, agent: AgentID(name), attempt: 1, now: 1)
        }
        try await scene.move("\(name)-\(task)", to: .succeeded, exitCode: 0)
        // Each time all that are known have ended.
        for _ in 0..<2 {
          #expect(try await scene.json("/v1/tasks/\(task)")["counts"] == ["succeeded": .integer(Int64(index + 1))])
        }
      }
    }
  }

  @Test func countsFollowTheRunsUntilAllHaveEnded() async throws {
    try await withScene { scene in
      let id = try #require(try await scene.post("web")["task"]?.asString)
      #expect(try await scene.json("/v1/tasks/\(id)")["counts"] == ["queued": 2])
      try await scene.move("web1-\(id)", to: .failed)
      #expect(try await scene.json("/v1/tasks/\(id)")["counts"] == ["queued": 1, "failed": 1])
      try await scene.move("web2-\(id)", to: .succeeded)
      for _ in 0..<2 { #expect(try await scene.json("/v1/tasks/\(id)")["counts"] == ["succeeded": 1, "failed": 1]) }
    }
  }

  @Test func pagesGoThroughEverythingOnceAndNewestFirst() async throws {
    try await withScene { scene in
      var posted: [String] = []
      for _ in 0..<7 { posted.append(try #require(try await scene.post("web")["task"]?.asString)) }
      for (path, key, expected) in [
        ("/v1/tasks", "task", Array(posted.reversed())), ("/v1/runs", "task", posted.reversed().flatMap { [$0, $0] }),
      ] {
        var found: [String] = []
        var next: String? = nil
        var pages = 0
        repeat {
          let page = try await scene.json(path + "?limit=3" + (next.map { "&after=\($0)" } ?? ""))
          #expect(page.asObject?.keys == ["items", "next"])
          found += page["items"]?.asArray?.compactMap { $0[key]?.asString } ?? []
          next = page["next"]?.asString
          pages += 1
        } while next != nil && pages < 20
        #expect(found == expected)
        #expect(pages == (expected.count + 2) / 3)
      }
    }
  }

  @Test func runsAndTasksAreFiltered() async throws {
    try await withScene { scene in
      let old = try await scene.postOne("db1")
      try await scene.move(old, to: .failed)
      #expect(await eventually { WallTime.now().milliseconds > (RunID(old)?.task.timestampMilliseconds ?? 0) + 1 })
      let middle = WallTime.now()
      #expect(await eventually { WallTime.now() > middle })
      let new = try #require(try await scene.post("web")["task"]?.asString)
      try await scene.move("web1-\(new)", to: .running)
      func auuids(_ query: String) async throws -> Set<String> {
        Set(try await scene.json("/v1/runs?\(query)")["items"]?.asArray?.compactMap { $0["auuid"]?.asString } ?? [])
      }
      #expect(try await auuids("state=failed") == [old])
      #expect(try await auuids("state=failed&state=running") == [old, "web1-\(new)"])
      #expect(try await auuids("project=web") == ["web1-\(new)", "web2-\(new)"])
      #expect(try await auuids("uuid=web2") == ["web2-\(new)"])
      #expect(try await auuids("task=\(new)") == ["web1-\(new)", "web2-\(new)"])
      #expect(try await auuids("since=\(middle)") == ["web1-\(new)", "web2-\(new)"])
      #expect(try await auuids("until=\(middle)") == [old])
      #expect(try await auuids("uuid=web2&state=running") == [])
      func tasks(_ query: String) async throws -> [String] {
        try await scene.json("/v1/tasks?\(query)")["items"]?.asArray?.compactMap { $0["task"]?.asString } ?? []
      }
      let oldTask = try #require(RunID(old)).task.description
      #expect(try await tasks("state=failed") == [oldTask])
      #expect(try await tasks("state=failed&state=queued") == [new, oldTask])
      #expect(try await tasks("project=web") == [new])
      #expect(try await tasks("uuid=db1") == [oldTask])
      #expect(try await tasks("since=\(middle)") == [new])
      #expect(try await tasks("until=\(middle)") == [oldTask])
    }
  }

  @Test(arguments: [
    ("/v1/runs?limit=0", "bad_field", "limit"), ("/v1/runs?limit=1001", "bad_field", "limit"),
    ("/v1/tasks?limit=x", "bad_field", "limit"),
    ("/v1/agents?limit=", "bad_field", "limit"), ("/v1/runs?after=x", "bad_field", "after"),
    ("/v1/tasks?after=x", "bad_field", "after"),
    ("/v1/runs?state=done", "bad_field", "state"), ("/v1/agents?state=running", "bad_field", "state"),
    ("/v1/runs?since=yesterday", "bad_field", "since"), ("/v1/runs?uiud=web1", "unknown_field", "uiud"),
    ("/v1/runs?uuid=", "bad_field", "uuid"), ("/v1/tasks?runs=-1", "bad_field", "runs"),
    ("/v1/runs/x/log?follow=maybe", "unknown_run", nil),
  ])
  func aQueryThatMeansNothingIsRefused(path: String, code: String, field: String?) async throws {
    try await withScene { scene in
      let answer = try await scene.get(path)
      #expect(answer.status == (code == "unknown_run" ? 404 : 400) && answer.code == code)
      #expect(try answer.json()["error"]?["field"]?.asString == field)
    }
  }

  @Test func anAgentHasExactlyTheFieldsOfTheContract() async throws {
    try await withScene { scene in
      try await scene.know("web1", projects: ["web", "blue"], lastSeenAt: 500)
      let beat = Heartbeat(
        count: 3, load1: 0.5, running: 2, waiting: 1, concurrency: 8, health: "healthy", hostname: "host-web1", pid: 7)
      scene.script.withLock { $0.presence[AgentID("web1")] = Presence(online: true, lastSeenAt: 1_763_732_700_123, beat: beat) }
      let agent = try await scene.json("/v1/agents/web1")
      #expect(
        agent == [
          "uuid": "web1", "projects": ["web", "blue"], "hostname": "host-web1", "address": "10.0.0.1", "version": "1.0",
          "os": "Linux",
          "arch": "x86_64", "online": true, "lastSeenAt": "2025-11-21T13:45:00.123Z", "startedAt": "1970-01-01T00:00:01.000Z",
          "load1": 0.5, "running": 2, "waiting": 1, "concurrency": 8, "health": "healthy", "httpPort": 7070,
        ])
      #expect(try await scene.json("/v1/agents")["items"] == [agent])
      try await scene.know("ghost", hello: false)
      let ghost = try await scene.json("/v1/agents/ghost")
      #expect(ghost.asObject?.keys == agent.asObject?.keys)
      #expect(ghost["online"] == false && ghost["hostname"] == .null && ghost["projects"] == [])
      #expect(try await scene.get("/v1/agents/nobody").code == "unknown_agent")
    }
  }

  @Test func agentsAreListedByNameAndFiltered() async throws {
    try await withScene { scene in
      for number in 0..<5 {
        try await scene.know("a\(number)", projects: number % 2 == 0 ? ["even"] : ["odd"], lastSeenAt: Int64(number))
      }
      scene.script.withLock { script in
        for number in 0..<3 { script.presence[AgentID("a\(number)")] = Presence(online: true) }
      }
      try await scene.store.write { try $0.execute(sql: "UPDATE agents SET removed_at = 1 WHERE uuid = 'a4'") }
      func uuids(_ query: String) async throws -> [String] {
        var found: [String] = []
        var next: String? = nil
        repeat {
          let page = try await scene.json("/v1/agents?limit=1&\(query)" + (next.map { "&after=\($0)" } ?? ""))
          found += page["items"]?.asArray?.compactMap { $0["uuid"]?.asString } ?? []
          next = page["next"]?.asString
        } while next != nil && found.count < 10
        return found
      }
      #expect(try await uuids("") == ["a0", "a1", "a2", "a3"])
      #expect(try await uuids("project=even") == ["a0", "a2"])
      #expect(try await uuids("state=online") == ["a0", "a1", "a2"])
      #expect(try await uuids("state=offline") == ["a3"])
      #expect(try await uuids("uuid=a2") == ["a2"])
      #expect(try await uuids("since=1970-01-01T00:00:00.002Z") == ["a2", "a3"])
    }
  }

  @Test func projectsCountTheirAgents() async throws {
    try await withScene { scene in
      try await scene.know("web1", projects: ["web", "blue"])
      try await scene.know("web2", projects: ["web"])
      scene.script.withLock { $0.presence[AgentID("web2")] = Presence(online: true) }
      let list = try await scene.json("/v1/projects")
      #expect(
        list == [
          "items": [["project": "blue", "agents": 1, "online": 0], ["project": "web", "agents": 2, "online": 1]], "next": .null,
        ])
      let first = try await scene.json("/v1/projects?limit=1")
      #expect(first["next"] == "blue")
      #expect(try await scene.json("/v1/projects?limit=1&after=blue")["items"]?.asArray?.first?["project"] == "web")
      #expect(try await scene.json("/v1/projects?uuid=web2")["items"]?.asArray?.count == 1)
      #expect(try await scene.json("/v1/projects?state=offline")["items"]?.asArray?.first?["project"] == "blue")
    }
  }
}

@Suite struct RouteTests {
  @Test func healthSaysWhetherTasksAreAccepted() async throws {
    try await withScene { scene in
      scene.script.withLock {
        $0.health.redisServer = "10.0.0.1:6379"
        $0.health.warnings = ["Redis does not persist"]
        $0.health.reports = ReportTally.Counts(refused: 1, ofRemovedAgents: 2, found: 3, dropped: 4)
      }
      let well = try await scene.get("/v1/health")
      #expect(well.status == 200)
      #expect(
        try well.json() == [
          "health": "healthy", "store": "healthy", "redis": "connected", "redisServer": "10.0.0.1:6379",
          "warnings": ["Redis does not persist"],
          "reports": ["refused": 1, "ofRemovedAgents": 2, "found": 3, "dropped": 4],
        ])
      scene.script.withLock { $0.health = HealthParts(store: "full", redis: "connected", warnings: [], canAccept: false) }
      let ill = try await scene.get("/v1/health")
      #expect(ill.status == 503)
      #expect(try ill.json()["store"] == "full")
      #expect(try ill.json()["health"] != "healthy")
      for (standing, status) in [
        (APIStanding.standby("another dashboard writes"), 503), (.draining, 503), (.accepting, 200),
      ] {
        scene.script.withLock {
          $0.standing = standing
          $0.health = HealthParts(store: "healthy", redis: "connected", warnings: [], canAccept: true)
        }
        let answer = try await scene.get("/v1/health")
        #expect(answer.status == status, "\(standing)")
        #expect(try (answer.json()["health"] == "healthy") == (status == 200))
        let warnings = try answer.json()["warnings"]?.asArray
        #expect(warnings?.count == (status == 200 ? 0 : 1), "\(standing)")
      }
    }
  }

  @Test func theVersionIsTold() async throws {
    try await withScene { scene in
      let version = try await scene.json("/v1/version")
      #expect(version == ["version": "9.8.7", "protocol": .integer(Int64(Protocol.version))])
      let head = try await scene.send("HEAD", "/v1/version")
      #expect(head.status == 200)
    }
  }

  @Test func everyOtherPathIsAPage() async throws {
    try await withScene { scene in
      let router = dashboardRouter(
        scene.services, files: StaticFiles(embedded: [EmbeddedFile(path: "index.html", bytes: Array("<p>".utf8))]))
      let page = await router.respond(to: try Request(.get, "/"))
      #expect(page.status == .ok && page.headers[.contentType]?.hasPrefix("text/html") == true)
      let api = await router.respond(to: try Request(.get, "/v1/index.html"))
      #expect(api.status == .notFound && api.headers[.contentType] == "application/json")
      let version = await router.respond(to: try Request(.get, "/v1/version"))
      #expect(version.status == .ok)
    }
  }

  @Test func whatIsNoRouteIsAnErrorInJSON() async throws {
    try await withScene { scene in
      let unknown = try await scene.get("/v1/nonsense")
      #expect(unknown.status == 404 && unknown.code == "unknown_route" && unknown.text.contains("/v1/nonsense"))
      let method = try await scene.send("DELETE", "/v1/tasks")
      #expect(method.status == 405 && method.code == "method_not_allowed" && method.headers["allow"] == "GET, HEAD")
      let post = try await scene.get("/v1/producer/web1/task")
      #expect(post.status == 405 && post.headers["allow"] == "POST")
      let large = try await scene.send("POST", "/v1/producer/web1/task", String(repeating: " ", count: 1 << 20 + 1))
      #expect(large.status == 413 && large.code == "too_large")
      let long = try await scene.get("/v1/runs/" + String(repeating: "x", count: 9000))
      #expect(long.status == 414 && long.code == "too_large")
    }
  }
}
