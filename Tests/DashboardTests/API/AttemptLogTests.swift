// Logs of runs that were started more than once: which attempt's bytes a route answers, and how a follower goes from one to the next.

import GRDB
import Shared
import Testing

@testable import Dashboard

@Suite struct AttemptLogTests {
  private let body = #"{"taskname":"t","retries":3}"#
  private let events = ["Accept": "text/event-stream"]

  /// What the collector does when an attempt has failed: the next one waits.
  private func fail(_ scene: Scene, _ auuid: String, exitCode: Int = 1) async throws {
    let id = try #require(RunID(auuid))
    try await scene.store.write { db in
      try db.execute(
        sql: "UPDATE runs SET exit_code = ?, started_at = 1763732700000, finished_at = 1763732700123 WHERE task = ? AND uuid = ?",
        arguments: [exitCode, id.task.description, id.agent.text])
      var run = try #require(try RunRow.fetch(db, task: id.task, agent: id.agent))
      run.knowledge.state = .running
      run.knowledge.reported = true
      _ = run.knowledge.hear(.ended(.failed))
      try FlowAttempts.advance(db, &run, to: run.attempt + 1, state: .failed, notBefore: 1_763_732_800_000)
      try run.saveKnowledge(db)
    }
    scene.watch.publish([RunNews(id, .state(.queued))])
  }

  @Test func eachAttemptHasItsOwnLogAndTheNewestIsTheDefault() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne("web1", body)
      try await scene.output(auuid, "first\n")
      try await fail(scene, auuid, exitCode: 7)
      let path = "/v1/runs/\(auuid)/log"
      let waiting = try await scene.json(path)
      #expect(waiting["log"] == "first\n" && waiting["state"] == "queued", "what there is to read, and that it is not over")
      #expect(waiting["attempt"] == 1)
      let run = try await scene.json("/v1/runs/\(auuid)")
      #expect(run["attempt"] == 2 && run["exitCode"] == .null && run["nextAttemptAt"] == "2025-11-21T13:46:40.000Z")
      #expect(run["attempts"]?.asArray?.map { $0["exitCode"] } == [7, .null])

      try await scene.move(auuid, to: .running)
      try await scene.output(auuid, attempt: 2, "second\n")
      #expect(try await scene.get(path, headers: ["Accept": "text/plain"]).text == "second\n")
      let first = try await scene.json(path + "?attempt=1")
      #expect(first["log"] == "first\n" && first["state"] == "failed" && first["attempt"] == 1)
      #expect(try await scene.get(path + "?attempt=2", headers: ["Accept": "text/plain", "Range": "bytes=0-2"]).text == "sec")
      #expect(
        try await scene.get("/v1/producer/web1/\(auuid)/log?attempt=1", headers: ["Accept": "text/plain"]).text == "first\n")

      for (query, status, code) in [
        ("attempt=3", 404, "unknown_run"), ("attempt=3&follow=1", 404, "unknown_run"), ("attempt=0", 400, "bad_field"),
        ("attempt=x", 400, "bad_field"),
      ] {
        let answer = try await scene.get("\(path)?\(query)")
        #expect(answer.status == status && answer.code == code, "\(query)")
      }
      let task = try await scene.post("web", body)
      let ofTask = try await scene.get("/v1/runs/\(try #require(task["auuid"]?.asString))/log?attempt=1")
      #expect(ofTask.status == 400 && ofTask.code == "bad_field")
    }
  }

  @Test func whoFollowsGoesOnWithTheNextAttempt() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne("web1", body)
      let path = "/v1/runs/\(auuid)/log?follow=1"
      let plain = try scene.open(path)
      let told = try scene.open(path, headers: events)
      let only = try scene.open(path + "&attempt=1")
      try await scene.output(auuid, "one")
      try await plain.waitFor("one")
      try await fail(scene, auuid)
      #expect(try await only.answer().text == "one", "an attempt is over when it has ended")
      try await told.waitFor(#""nextAttemptAt":"2025"#)
      try await scene.move(auuid, to: .running)
      try await scene.output(auuid, attempt: 2, "two\n")
      try await plain.waitFor("two")
      try await scene.move(auuid, to: .succeeded, exitCode: 0)
      #expect(try await plain.answer().text == "one\n==> attempt 2 <==\ntwo\n")
      let all = ServerEvent.parse(try await told.answer().text)
      let output = all.filter { $0.event == "output" }
      #expect(output.map(\.id) == ["0", "2.0"])
      #expect(try output.map { try JSONReader.parse($0.data)["attempt"] } == [nil, 2])
      #expect(all.last?.event == "end")

      // A lost stream goes on behind its last event, whichever attempt that was of.
      for (id, rest) in [("0", ["2.0"]), ("2.0", [])] {
        let again = ServerEvent.parse(
          try await scene.get(path, headers: ["Accept": "text/event-stream", "Last-Event-ID": id]).text)
        #expect(again.filter { $0.event == "output" }.map(\.id) == rest)
      }
      #expect(try await scene.get(path).text == "two\n", "who comes now sees the newest attempt")
    }
  }

  @Test func whoWaitsGetsTheFinalVerdictWithEveryAttempt() async throws {
    try await withScene { scene in
      async let answer = scene.send("POST", "/v1/producer/web1/task?wait=30", body)
      #expect(await eventually { scene.script.withLock { !$0.accepted.isEmpty } })
      let auuid = try #require(scene.script.withLock { $0.accepted.first?.auuid })
      try await scene.output(auuid, "one")
      try await fail(scene, auuid)
      try await scene.move(auuid, to: .running)
      try await scene.output(auuid, attempt: 2, "two")
      try await scene.move(auuid, to: .succeeded, exitCode: 0)
      let json = try await answer.json()
      let run = try #require(json["runs"]?.asArray?.first)
      #expect(run["state"] == "succeeded" && run["log"] == "two")
      #expect(run["attempts"]?.asArray?.map { $0["state"] } == ["failed", "succeeded"])
    }
  }

  @Test(arguments: ["0", "17", "2.0", "100.4096"])
  func anEventsIdComesBack(_ text: String) {
    #expect(LogFollow.Place(text)?.description == text)
  }

  @Test(arguments: ["", "x", "1.5", "0.5", "2.", ".2", "1.2.3", "-1.2"])
  func whatIsNoEventsIdIsNone(_ text: String) {
    #expect(LogFollow.Place(text) == nil)
  }
}
