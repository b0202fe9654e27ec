// `?follow=1`: bytes and events as they come, and how a lost stream goes on.

import Shared
import Testing

@testable import Dashboard

@Suite struct FollowTests {
  private let events = ["Accept": "text/event-stream"]

  @Test func plainBytesComeAsTheyAreStoredAndEndWithTheVerdict() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      try await scene.output(auuid, "one\n")
      let follow = try scene.open("/v1/runs/\(auuid)/log?follow=1")
      try await follow.waitFor("one\n")
      try await scene.move(auuid, to: .running)
      try await scene.output(auuid, [(.stderr, Array("two\n".utf8)), (.stdout, [0, 0xFF])])
      try await follow.waitFor("two\n")
      #expect(!follow.hasEnded)
      try await scene.move(auuid, to: .failed, exitCode: 1)
      let answer = try await follow.answer()
      #expect(answer.body == Array("one\ntwo\n".utf8) + [0, 0xFF])
      #expect(answer.headers["content-type"] == "text/plain; charset=utf-8")
      #expect(scene.watch.count == 0)
    }
  }

  @Test func oneStreamCanBeFollowedAlone() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      try await scene.output(auuid, [(.stdout, Array("out".utf8)), (.stderr, Array("ERR".utf8))])
      try await scene.move(auuid, to: .succeeded, exitCode: 0)
      #expect(try await scene.get("/v1/runs/\(auuid)/log?follow=1&stream=stderr").text == "ERR")
    }
  }

  @Test func outputAfterTheVerdictBelongsToTheStream() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      let follow = try scene.open("/v1/producer/web1/\(auuid)/log?follow=1")
      try await scene.move(auuid, to: .succeeded, exitCode: 0, outputBytes: 5)
      try await scene.output(auuid, "late\n")
      #expect(try await follow.answer().text == "late\n")
    }
  }

  @Test func outputThatNeverComesEndsTheStreamAfterAWhile() async throws {
    try await withScene(Scene.Script(outputGrace: .milliseconds(300))) { scene in
      let auuid = try await scene.postOne()
      try await scene.output(auuid, "half")
      try await scene.move(auuid, to: .succeeded, exitCode: 0, outputBytes: 8)
      #expect(try await scene.get("/v1/runs/\(auuid)/log?follow=1").text == "half")
    }
  }

  @Test func eventsTellStatesOutputAndTheEnd() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      let follow = try scene.open("/v1/runs/\(auuid)/log?follow=1", headers: events)
      try await follow.waitFor("event: state")
      try await scene.move(auuid, to: .running)
      try await follow.waitFor(#""state":"running""#)
      try await scene.output(auuid, [(.stdout, Array("a\nb".utf8)), (.stderr, [0xFF])])
      try await scene.move(auuid, to: .succeeded, exitCode: 0)
      let answer = try await follow.answer()
      #expect(answer.headers["content-type"] == "text/event-stream")
      let told = ServerEvent.parse(answer.text)
      #expect(told.map(\.event) == ["state", "state", "output", "output", "state", "end"])
      let data = try told.map { try JSONReader.parse($0.data) }
      #expect(data[0]["state"] == "queued" && data[0]["auuid"] == .string(auuid))
      #expect(data[1]["state"] == "running")
      #expect(data[2] == ["offset": 0, "stream": "stdout", "data": "a\nb", "encoding": "utf-8"] && told[2].id == "0")
      #expect(data[3] == ["offset": 3, "stream": "stderr", "data": "/w==", "encoding": "base64"] && told[3].id == "3")
      #expect(data[4]["state"] == "succeeded" && data[4]["exitCode"] == 0)
      #expect(data[5]["state"] == "succeeded")
    }
  }

  /// Whatever event a client had last, the events after it and those before add up to the log: nothing twice, nothing lost.
  @Test func aLostStreamGoesOnBehindTheLastEvent() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      let long = [UInt8](repeating: UInt8(ascii: "x"), count: LogFollow.longestEvent * 2 + 17)
      try await scene.output(auuid, [(.stdout, Array("first".utf8)), (.stderr, Array("second".utf8)), (.stdout, long)])
      try await scene.output(auuid, "third")
      try await scene.output(auuid, [(.stdout, Array("behind a gap".utf8))], at: 1_000_000)
      try await scene.move(auuid, to: .succeeded, exitCode: 0, dropped: (from: 131_105, count: 868_895))
      let path = "/v1/runs/\(auuid)/log?follow=1"
      let all = ServerEvent.parse(try await scene.get(path, headers: events).text).filter { $0.event == "output" }
      #expect(all.count == 7)
      for (index, event) in all.enumerated() {
        let id = try #require(event.id)
        let again = ServerEvent.parse(
          try await scene.get(path, headers: ["Accept": "text/event-stream", "Last-Event-ID": id]).text)
        #expect(again.filter { $0.event == "output" } == Array(all[(index + 1)...]))
        #expect(again.last?.event == "end")
      }
    }
  }

  /// An id that this program never gives out: the stream begins anew.
  @Test(arguments: ["-9223372036854775808", "-1", "2.-5", "9223372036854775808", "x", ""])
  func anEventIdThatCannotBeIsNone(id: String) async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      for part in ["one", "two"] { try await scene.output(auuid, part) }
      try await scene.move(auuid, to: .succeeded, exitCode: 0)
      let told = try await scene.get("/v1/runs/\(auuid)/log?follow=1", headers: events.merging(["Last-Event-ID": id]) { $1 })
      #expect(ServerEvent.parse(told.text).filter { $0.event == "output" }.map(\.id) == ["0", "3"])
    }
  }

  /// Behind everything that there is: nothing more comes.
  @Test func anEventIdBehindTheEndIsFollowedByTheEnd() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      for part in ["one", "two"] { try await scene.output(auuid, part) }
      try await scene.move(auuid, to: .succeeded, exitCode: 0)
      let last = ["Last-Event-ID": "9223372036854775807"]
      let told = try await scene.get("/v1/runs/\(auuid)/log?follow=1", headers: events.merging(last) { $1 })
      #expect(ServerEvent.parse(told.text).map(\.event) == ["state", "end"])
    }
  }

  @Test func aFollowerThatLeavesIsForgotten() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      for headers in [[:], events] {
        let follow = try scene.open("/v1/runs/\(auuid)/log?follow=1", headers: headers)
        #expect(await eventually { scene.watch.count == 1 })
        follow.close()
        #expect(await eventually { scene.watch.count == 0 })
      }
    }
  }

  @Test func aShutdownEndsAFollowedLog() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      let follow = try scene.open("/v1/runs/\(auuid)/log?follow=1")
      #expect(await eventually { scene.watch.count == 1 })
      await scene.server.shutdown()
      #expect(await eventually(within: .seconds(4)) { follow.hasEnded })
    }
  }
}

@Suite struct EventTests {
  @Test func aPageHearsOfRunsAgentsAndCounters() async throws {
    try await withScene { scene in
      try await scene.know("web1")
      try await scene.know("web2")
      let page = try scene.open("/v1/events")
      try await page.waitFor("event: overview")
      #expect(page.hasEnded == false)
      scene.script.withLock { $0.presence[AgentID("web1")] = Presence(online: true) }
      let auuid = try await scene.postOne()
      try await page.waitFor(#""auuid":"\#(auuid)""#)
      try await page.waitFor(#""online":["web1"]"#)
      try await page.waitFor(#""waiting":1"#)
      page.close()
      #expect(await eventually { scene.watch.count == 0 })
    }
  }

  @Test func theOverviewCounts() async throws {
    try await withScene { scene in
      for agent in ["web1", "web2", "db1"] { try await scene.know(agent) }
      scene.script.withLock { $0.presence[AgentID("db1")] = Presence(online: true) }
      let states: [RunState] = [.running, .running, .sent, .queued, .failed, .timedOut, .lost, .succeeded, .unknown, .cancelled]
      for state in states { try await scene.move(try await scene.postOne(), to: state) }
      let counts = try await scene.json("/v1/overview")
      #expect(counts == ["online": 1, "offline": 2, "running": 2, "waiting": 2, "failed": 3, "unknown": 1])
    }
  }
}
