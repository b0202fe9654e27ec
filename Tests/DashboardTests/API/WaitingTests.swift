// `?wait`: the answer comes with the verdict and its output, or when the time is up.

import Shared
import Testing

@testable import Dashboard

@Suite struct WaitingTests {
  /// Posts with `?wait` and hands the accepted task to `meanwhile`.
  private func waiting(
    _ scene: Scene, _ wait: String, _ segment: String = "web1", meanwhile: (FreshTask) async throws -> Void
  ) async throws -> (Answer, Duration) {
    let start = ContinuousClock.now
    async let answer = scene.send("POST", "/v1/producer/\(segment)/task?wait=\(wait)", #"{"taskname":"t"}"#, until: 60)
    #expect(await eventually { scene.script.withLock { !$0.accepted.isEmpty } })
    let task = try #require(scene.script.withLock { $0.accepted.first })
    try await meanwhile(task)
    return (try await answer, ContinuousClock.now - start)
  }

  @Test func theResultIsInTheAnswer() async throws {
    try await withScene { scene in
      let (answer, time) = try await waiting(scene, "30") { task in
        let auuid = task.runs[0].id.description
        try await scene.move(auuid, to: .running)
        try await scene.output(auuid, "hi\n")
        try await scene.move(auuid, to: .failed, exitCode: 3)
      }
      #expect(answer.status == 200)
      #expect(time < .seconds(25))
      let run = try #require(try answer.json()["runs"]?.asArray?.first)
      #expect(run["state"] == "failed" && run["exitCode"] == 3 && run["log"] == "hi\n" && run["encoding"] == "utf-8")
      #expect(run["finishedAt"] == "2025-11-21T13:45:00.123Z")
    }
  }

  @Test func whenTheTimeIsUpTheAnswerSaysHowFarItIs() async throws {
    try await withScene { scene in
      let (answer, time) = try await waiting(scene, "0.3") { task in
        try await scene.move(task.runs[0].id.description, to: .running)
      }
      #expect(answer.status == 202)
      #expect(time >= .milliseconds(300))
      #expect(try answer.json()["runs"]?.asArray?.first?["state"] == "running")
    }
  }

  @Test func allRunsOfAProjectAreWaitedFor() async throws {
    try await withScene { scene in
      let (answer, _) = try await waiting(scene, "30", "web") { task in
        try await scene.move(task.runs.map(\.id), to: .succeeded, exitCode: 0)
      }
      #expect(answer.status == 200)
      #expect(try answer.json()["runs"]?.asArray?.map { $0["state"] } == ["succeeded", "succeeded"])
      #expect(try answer.json()["auuid"]?.asString?.hasPrefix("web-") == true)
    }
  }

  @Test func manyRunsAreAnsweredWhole() async throws {
    let members = (0..<150).map { "host\(1000 + $0)" }
    try await withScene(Scene.Script(projects: ["many": members])) { scene in
      let (answer, _) = try await waiting(scene, "30", "many") { task in
        try await scene.move(task.runs.map(\.id), to: .succeeded, exitCode: 0)
      }
      #expect(answer.status == 200)
      #expect(try answer.json()["runs"]?.asArray?.compactMap { $0["uuid"]?.asString } == members)
    }
  }

  @Test func outputThatComesAfterTheVerdictIsWaitedFor() async throws {
    try await withScene { scene in
      let (answer, time) = try await waiting(scene, "30") { task in
        let auuid = task.runs[0].id.description
        try await scene.move(auuid, to: .succeeded, exitCode: 0, outputBytes: 5)
        try await scene.output(auuid, "late\n")
      }
      #expect(answer.status == 200)
      #expect(try answer.json()["runs"]?.asArray?.first?["log"] == "late\n")
      #expect(time < .seconds(25), "not only when the time was up")
    }
  }

  @Test func outputThatNeverComesIsWaitedForOnlyShortly() async throws {
    let grace: Duration = .milliseconds(400)
    try await withScene(Scene.Script(outputGrace: grace)) { scene in
      let (answer, time) = try await waiting(scene, "30") { task in
        try await scene.move(task.runs[0].id.description, to: .succeeded, exitCode: 0, outputBytes: 5)
      }
      #expect(answer.status == 200)
      #expect(time >= grace && time < .seconds(25))
    }
  }

  @Test func aDroppedMiddleIsNotWaitedFor() async throws {
    try await withScene { scene in
      let (answer, time) = try await waiting(scene, "30") { task in
        let auuid = task.runs[0].id.description
        try await scene.output(auuid, [(.stdout, Array("ab".utf8))])
        try await scene.output(auuid, [(.stdout, Array("yz".utf8))], at: 24)
        try await scene.move(auuid, to: .succeeded, exitCode: 0, outputBytes: 26, dropped: (from: 2, count: 22))
      }
      #expect(answer.status == 200)
      #expect(time < .seconds(25), "not only when the time was up")
      #expect(try answer.json()["runs"]?.asArray?.first?["log"] == "abyz")
    }
  }

  @Test func theLogInTheAnswerIsCutAtACharacter() async throws {
    try await withScene { scene in
      let bytes = [UInt8](repeating: UInt8(ascii: "a"), count: WholeRuns.logBytes - 1) + Array("äöü".utf8)
      let (answer, _) = try await waiting(scene, "30") { task in
        let auuid = task.runs[0].id.description
        try await scene.output(auuid, [(.stdout, bytes)])
        try await scene.move(auuid, to: .succeeded, exitCode: 0)
      }
      let run = try #require(try answer.json()["runs"]?.asArray?.first)
      #expect(run["encoding"] == "utf-8")
      #expect(run["log"] == .string(String(repeating: "a", count: WholeRuns.logBytes - 1)))
    }
  }

  @Test(arguments: ["0", "-1", "601", "x", "nan", "inf", ""])
  func aWaitOutOfBoundsIsRefused(wait: String) async throws {
    try await withScene { scene in
      let answer = try await scene.send("POST", "/v1/producer/web1/task?wait=\(wait)", #"{"taskname":"t"}"#)
      #expect(answer.status == 400 && answer.code == "bad_field")
      #expect(try await scene.json("/v1/tasks")["items"] == [])
    }
  }

  @Test func aDashboardThatStopsAnswersWhoeverWaits() async throws {
    try await withScene { scene in
      let (answer, time) = try await waiting(scene, "600") { _ in
        #expect(await eventually { scene.watch.count == 1 })
        scene.script.withLock { $0.standing = .draining }
      }
      #expect(answer.status == 202 && time < .seconds(60))
      #expect(try answer.json()["auuid"]?.asString?.hasPrefix("web1-") == true)
    }
  }

  @Test func aClientThatLeavesIsForgotten() async throws {
    try await withScene { scene in
      let connection = try Connection(
        port: scene.server.port, "POST", "/v1/producer/web1/task?wait=600", headers: [:], body: Array(#"{"taskname":"t"}"#.utf8))
      #expect(await eventually { scene.watch.count == 1 })
      connection.close()
      #expect(await eventually { scene.watch.count == 0 })
    }
  }
}
