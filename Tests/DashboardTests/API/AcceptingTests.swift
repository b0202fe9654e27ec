// POST: whom it goes to, what is written, what is refused.

import GRDB
import Shared
import Testing

@testable import Dashboard

@Suite struct AcceptingTests {
  @Test func aTaskForAnAgentIsStoredBeforeTheAnswer() async throws {
    try await withScene { scene in
      try await scene.know("web1", projects: ["zeta", "alpha"])
      let answer = try await scene.send("POST", "/v1/producer/web1/task", #"{"uuid":"web1","taskname":"echo hi"}"#)
      #expect(answer.status == 202)
      #expect(answer.headers["content-type"] == "application/json")
      let json = try answer.json()
      #expect(json.asObject?.keys == ["auuid", "task", "runs"])
      let task = try #require(json["task"]?.asString)
      #expect(ULID(task) != nil)
      #expect(json["auuid"] == .string("web1-\(task)"))
      #expect(json["runs"] == [["uuid": "web1", "auuid": .string("web1-\(task)")]])
      let row = try #require(try await scene.store.read { try RunQueries.find($0, named: "web1-\(task)") })
      #expect(
        row.state == .queued && row.taskname == "echo hi" && row.attempt == 1 && row.project == "zeta",
        "the agent's first project")
      #expect(scene.script.withLock { $0.accepted.map(\.id.description) } == [task])
    }
  }

  @Test func aProjectGetsARunPerMember() async throws {
    try await withScene { scene in
      let json = try await scene.post("web")
      let task = try #require(json["task"]?.asString)
      #expect(json["auuid"] == .string("web-\(task)"))
      #expect(
        json["runs"] == [
          ["uuid": "web1", "auuid": .string("web1-\(task)")], ["uuid": "web2", "auuid": .string("web2-\(task)")],
        ])
      let runs = try #require(try await scene.json("/v1/tasks/web-\(task)")["runs"]?.asArray)
      #expect(runs.map { $0["project"] } == ["web", "web"])
    }
  }

  /// Path segment, body → `auuid` before the dash and the uuids, or an error's code.
  @Test(arguments: [
    ("web1", #"{"taskname":"t"}"#, "web1: web1"),
    ("uuid", #"{"taskname":"t","uuid":"web1"}"#, "web1: web1"),
    ("uuid", #"{"taskname":"t"}"#, "bad_field uuid"),
    ("uuid", #"{"taskname":"t","uuid":"web1","project":"web"}"#, "bad_field project"),
    ("uuid", #"{"taskname":"t","uuid":"web"}"#, "unknown_target"),
    ("web", #"{"taskname":"t","uuid":"web2"}"#, "web2: web2"),
    ("web", #"{"taskname":"t","uuid":"db1"}"#, "not_a_member uuid"),
    ("web", #"{"taskname":"t","project":"web"}"#, "web: web1 web2"),
    ("web", #"{"taskname":"t","project":"db"}"#, "bad_field project"),
    ("project", #"{"taskname":"t","project":"web"}"#, "web: web1 web2"),
    ("project", #"{"taskname":"t","project":"web","uuid":"web1"}"#, "web1: web1"),
    ("project", #"{"taskname":"t","uuid":"web"}"#, "web: web1 web2"),
    ("project", #"{"taskname":"t","uuid":"db1"}"#, "db1: db1"),
    ("project", #"{"taskname":"t"}"#, "bad_field project"),
    ("project", #"{"taskname":"t","project":"nowhere"}"#, "unknown_target"),
    ("web1", #"{"taskname":"t","uuid":"web2"}"#, "bad_field uuid"),
    ("web1", #"{"taskname":"t","project":"web"}"#, "bad_field project"),
    ("nobody", #"{"taskname":"t"}"#, "unknown_target"),
    ("all", #"{"taskname":"t"}"#, "bad_name"),
    ("a%20b", #"{"taskname":"t"}"#, "bad_name"),
    ("a%2Fb", #"{"taskname":"t"}"#, "bad_name"),
  ])
  func theTargetIsTakenFromPathAndBody(segment: String, body: String, expected: String) async throws {
    try await withScene { scene in
      let answer = try await scene.send("POST", "/v1/producer/\(segment)/task", body)
      let json = try answer.json()
      var found: String
      if answer.status == 202 {
        let auuid = try #require(json["auuid"]?.asString)
        let uuids = json["runs"]?.asArray?.compactMap { $0["uuid"]?.asString } ?? []
        found = "\(auuid.dropLast(27)): \(uuids.joined(separator: " "))"
      } else {
        found = answer.code ?? "none"
        if let field = json["error"]?["field"]?.asString { found += " \(field)" }
        #expect(json["error"]?["message"]?.asString?.isEmpty == false)
        #expect(json["error"]?["hint"]?.asString != nil)
        #expect(try await scene.json("/v1/tasks")["items"] == [], "nothing was stored")
      }
      #expect(found == expected)
      if found == "unknown_target" {
        #expect(answer.status == 404)
      } else if answer.status != 202 {
        #expect(answer.status == 400)
      }
    }
  }

  @Test func anUnknownTargetIsNamed() async throws {
    try await withScene { scene in
      let answer = try await scene.send("POST", "/v1/producer/nobody/task", #"{"taskname":"t"}"#)
      #expect(answer.text.contains("nobody"))
    }
  }

  /// Body → code and field of every fault.
  @Test(arguments: [
    ("{}", "bad_field taskname"),
    (#"{"taskname":""}"#, "bad_field taskname"),
    (#"{"taskname":7}"#, "bad_field taskname"),
    (#"{"taskname":null}"#, "bad_field taskname"),
    (#"{"taskname":"a\u0000b"}"#, "bad_field taskname"),
    (#"{"taskname":"t","args":"x"}"#, "bad_field args"),
    (#"{"taskname":"t","args":["x",1]}"#, "bad_field args[1]"),
    (#"{"taskname":"t","env":{"A=B":"x"}}"#, "bad_field env"),
    (#"{"taskname":"t","env":{"A":1}}"#, "bad_field env.A"),
    (#"{"taskname":"t","cwd":"/a\u0000"}"#, "bad_field cwd"),
    (#"{"taskname":"t","timeout":0}"#, "bad_field timeout"),
    (#"{"taskname":"t","timeout":"1"}"#, "bad_field timeout"),
    (#"{"taskname":"t","expires":0}"#, "bad_field expires"),
    (#"{"taskname":"t","expires":-1}"#, "bad_field expires"),
    (#"{"taskname":"t","retries":101}"#, "bad_field retries"),
    (#"{"taskname":"t","retries":-1}"#, "bad_field retries"),
    (#"{"taskname":"t","retries":1.5}"#, "bad_field retries"),
    (#"{"taskname":"t","retries":"3"}"#, "bad_field retries"),
    (#"{"taskname":"t","retries":1,"retryDelay":-1}"#, "bad_field retryDelay"),
    (#"{"taskname":"t","retries":1,"retryDelay":3601}"#, "bad_field retryDelay"),
    (#"{"taskname":"t","retries":1,"retryOn":[]}"#, "bad_field retryOn"),
    (#"{"taskname":"t","retries":1,"retryOn":["failed","killed"]}"#, "bad_field retryOn"),
    (#"{"taskname":"t","retries":1,"retryOn":"failed"}"#, "bad_field retryOn"),
    (#"{"taskname":"t","stdinBase64":"?"}"#, "bad_field stdinBase64"),
    (#"{"taskname":"t","stdin":"a","stdinBase64":"YQ=="}"#, "bad_field stdinBase64"),
    (#"{"taskname":"t","uuid":"a b"}"#, "bad_name uuid"),
    (#"{"taskname":"t","tasknam":"u"}"#, "unknown_field tasknam"),
    (#"{"timeout":0,"args":1,"x":1}"#, "bad_field taskname, bad_field args, bad_field timeout, unknown_field x"),
    ("[]", "bad_field"),
    ("", "bad_json"),
    ("{\"taskname\":\n  nonsense}", "bad_json"),
    (#"{"taskname":"a","taskname":"b"}"#, "duplicate_key taskname"),
  ])
  func everyFaultOfABodyIsTold(body: String, expected: String) async throws {
    try await withScene { scene in
      let answer = try await scene.send("POST", "/v1/producer/web1/task", body)
      #expect(answer.status == 400)
      let json = try answer.json()
      let first = try #require(json["error"])
      let all = json["errors"]?.asArray ?? [first]
      #expect(all[0] == first)
      let found = all.map { fault in
        [fault["code"]?.asString, fault["field"]?.asString].compactMap { $0 }.joined(separator: " ")
      }
      #expect(found.joined(separator: ", ") == expected)
    }
  }

  @Test func aJSONFaultHasItsPlaceAndASlipItsLikelyMeaning() async throws {
    try await withScene { scene in
      let fault = try await scene.send("POST", "/v1/producer/web1/task", "{\"taskname\":\n  nonsense}")
      #expect(fault.text.contains("line 2, column 3"))
      let slip = try await scene.send("POST", "/v1/producer/web1/task", #"{"taskname":"t","tmeout":3}"#)
      #expect(try slip.json()["error"]?["hint"]?.asString?.contains("timeout") == true)
    }
  }

  @Test func aTasknameMayHave64KiBAndNoMore() async throws {
    try await withScene { scene in
      let longest = String(repeating: "ä", count: 32 * 1024)
      _ = try await scene.post("web1", #"{"taskname":"\#(longest)"}"#)
      let answer = try await scene.send("POST", "/v1/producer/web1/task", #"{"taskname":"\#(longest)x"}"#)
      #expect(answer.status == 400 && answer.code == "bad_field")
    }
  }

  @Test func everyOptionReachesTheStore() async throws {
    try await withScene { scene in
      let body = #"""
        {"taskname":"t","args":["a","\u00e4"],"env":{"A":"1"},"cwd":"/tmp","stdinBase64":"AAE=","timeout":-3,"expires":60.5}
        """#
      let auuid = try await scene.postOne("web1", body)
      let accepted = try #require(scene.script.withLock { $0.accepted.first })
      let expected = TaskSpec(
        taskname: "t", args: ["a", "ä"], env: ["A": "1"], cwd: "/tmp", stdin: Base64Bytes([0, 1]), timeout: -1)
      #expect(accepted.spec == expected)
      // Two clocks, read one after the other: a little less by their rounding, and more by as much as the machine took between.
      #expect((60_400..<90_000).contains((accepted.startBefore ?? 0) - accepted.createdAt))
      let (spec, before) = try await scene.store.read { db in
        let row = try #require(try Row.fetchOne(db, sql: "SELECT spec, start_before FROM tasks"))
        return (row[0] as String, row[1] as Int64)
      }
      #expect(try JSONCoder.decode(TaskSpec.self, from: Array(spec.utf8)) == expected)
      #expect(before == accepted.startBefore)
      let run = try await scene.json("/v1/runs/\(auuid)")
      #expect(run["args"] == ["a", "ä"])
    }
  }

  @Test(arguments: [
    (#"{"taskname":"t"}"#, Retries.none),
    (#"{"taskname":"t","retries":100}"#, Retries(count: 100, delay: .seconds(2), on: [.failed, .timedOut])),
    (
      #"{"taskname":"t","retries":3,"retryDelay":0.25,"retryOn":["lost","failed"]}"#,
      Retries(count: 3, delay: .milliseconds(250), on: [.failed, .lost])
    ),
  ])
  func whatIsAskedAboutRetriesReachesTheRun(body: String, expected: Retries) async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne("web1", body)
      let id = try #require(RunID(auuid))
      let row = try await scene.store.read { try RunRow.fetch($0, task: id.task, agent: id.agent) }
      #expect(row?.knowledge.retries == expected)
      #expect(try await scene.json("/v1/runs/\(auuid)")["retries"] == .integer(Int64(expected.count)))
    }
  }

  @Test func aRunCanBeMarkedInTheAcceptingTransaction() async throws {
    try await withScene(Scene.Script(marks: true)) { scene in
      let auuid = try await scene.postOne()
      let run = try await scene.json("/v1/runs/\(auuid)")
      #expect(run["state"] == "sent")
      #expect(run["sentAt"] == run["queuedAt"])
      let number = try await scene.store.read { try Int64.fetchOne($0, sql: "SELECT number FROM runs") }
      #expect(number == SendNumber(fence: 3, count: 0).raw)
    }
  }

  @Test func newsOfAcceptedRunsArePublished() async throws {
    try await withScene { scene in
      let news = scene.watch.subscribeAll()
      defer { news.cancel() }
      let auuid = try await scene.postOne()
      let batch = try await news.next(until: .now + .seconds(20))
      #expect(batch.states == [try #require(RunID(auuid)): .queued])
    }
  }

  /// It was found before an operator removed it, and its task is stored after that: the run would wait until it expires.
  @Test func anAgentThatWasRemovedMeanwhileGetsNoRun() async throws {
    try await withScene { scene in
      try await scene.store.write {
        try $0.execute(sql: "INSERT INTO agents (uuid, created_at, removed_at) VALUES ('web1', 0, 1)")
      }
      let refused = try await scene.send("POST", "/v1/producer/web1/task", #"{"taskname":"true"}"#)
      #expect(refused.status == 404 && refused.code == "unknown_target" && refused.text.contains("web1"), "\(refused.text)")
      let member = try await scene.send("POST", "/v1/producer/web/task", #"{"taskname":"true","uuid":"web1"}"#)
      #expect(member.status == 404 && member.code == "unknown_target", "\(member.text)")
      let project = try await scene.post("web")
      #expect(project["runs"]?.asArray?.compactMap { $0["uuid"]?.asString } == ["web2"])
      #expect(try await scene.store.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM tasks") } == 1)
    }
  }

  @Test func idsNeverGoBack() async throws {
    try await withScene { scene in
      var ids: [ULID] = []
      for _ in 0..<20 { ids.append(try #require(try await scene.post("web1")["task"]?.asString.flatMap { ULID($0) })) }
      #expect(ids == ids.sorted() && Set(ids).count == 20)
      try await scene.store.write { try $0.execute(sql: "DELETE FROM tasks; DELETE FROM runs") }
      #expect(try await scene.store.read { try FreshTask.newest(in: $0) } == ids.last)
    }
  }

  @Test func idsAreInTheOrderOfTheCommits() async throws {
    try await withScene { scene in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<40 { group.addTask { _ = try await scene.post("web") } }
        try await group.waitForAll()
      }
      let tasks = try await scene.store.read { try String.fetchAll($0, sql: "SELECT task FROM runs ORDER BY id") }
      #expect(tasks.count == 80 && tasks == tasks.sorted())
    }
  }

  @Test func tasksAreRefusedWhileThereIsNothingToAcceptThem() async throws {
    try await withScene { scene in
      for (standing, code) in [(APIStanding.standby("dashboard at host a writes"), "standby"), (.draining, "draining")] {
        scene.script.withLock { $0.standing = standing }
        let answer = try await scene.send("POST", "/v1/producer/web1/task", #"{"taskname":"t"}"#)
        #expect(answer.status == 503 && answer.code == code)
        #expect(answer.headers["retry-after"].flatMap { Int($0) } != nil)
      }
      #expect(try await scene.json("/v1/tasks")["items"] == [], "reading goes on")
      scene.script.withLock {
        $0.standing = .accepting
        $0.redisAnswers = false
      }
      let away = try await scene.send("POST", "/v1/producer/nobody/task", #"{"taskname":"t"}"#)
      #expect(away.status == 503 && away.code == "redis_away" && away.headers["retry-after"] != nil)
      _ = try await scene.post("web1")
    }
  }

  @Test func aFullStoreIs507AndAcceptsAgainLater() async throws {
    try await withScene { scene in
      try await scene.store.write { db in
        let pages = try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 0
        try db.execute(sql: "PRAGMA max_page_count = \(pages)")
      }
      let body = #"{"taskname":"\#(String(repeating: "x", count: 20_000))"}"#
      let answer = try await scene.send("POST", "/v1/producer/web1/task", body)
      #expect(answer.status == 507 && answer.code == "store_full")
      #expect(try answer.json()["error"]?["message"]?.asString?.contains("INSERT") == false, "SQL is nobody's business")
      #expect(answer.headers["retry-after"] != nil)
      #expect(scene.script.withLock { $0.accepted.isEmpty })
      try await scene.store.write { try $0.execute(sql: "PRAGMA max_page_count = 100000") }
      _ = try await scene.post("web1", body)
    }
  }
}
