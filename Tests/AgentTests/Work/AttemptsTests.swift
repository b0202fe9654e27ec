// Several attempts of one run on one agent: told apart in inbox, journal, reports, files and the result hash.

import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Agent

@Suite struct AttemptsTests {
  private func envelope(_ all: Surroundings, _ first: AttemptID, attempt: Int, _ line: String) async throws -> Envelope {
    var envelope = try await all.dashboard.envelope(TaskSpec(taskname: line), id: first.task)
    envelope.attempt = attempt
    return envelope
  }
  private func result(_ all: Surroundings, _ id: AttemptID, _ field: String) async throws -> String? {
    let key = RunID(agent: all.dashboard.agent, task: id.task).description
    return try await all.dashboard.connection.send(RedisCommand("HGET", key, field)).string
  }

  @Test func eachAttemptIsStartedOnceWithAFileAVerdictAndAnOutputOfItsOwn() async throws {
    let all = try await Surroundings()
    let marker = all.marker("starts")
    let first = try await all.dashboard.envelope(TaskSpec(taskname: "echo 1 >> \(marker); echo first; exit 1"))
    try await all.dashboard.send([first])
    #expect(try await all.dashboard.untilEnded(first.id).state == .failed)
    let second = try await envelope(all, first.id, attempt: 2, "echo 2 >> \(marker); echo second")
    try await all.dashboard.send([second])
    #expect(try await all.dashboard.untilEnded(second.id).state == .succeeded)
    #expect(second.id.description == "\(first.id).2")
    #expect(await all.dashboard.text(of: first.id) == "first\n")
    #expect(await all.dashboard.text(of: second.id) == "second\n")
    let runs = "\(all.disk.state)/log/runs/web-1-\(first.task)"
    #expect(all.contents("\(runs).log") == "first\n" && all.contents("\(runs).2.log") == "second\n")
    try await all.dashboard.until("the result is the second attempt's") { _ in
      try await self.result(all, first.id, "state") == "succeeded"
    }
    #expect(try await result(all, first.id, "log") == "second\n")

    // Whatever is sent again is known.
    try await all.dashboard.send([first, second])
    let dashboard = all.dashboard
    try await eventually("both are confirmed away") { try await dashboard.inbox().isEmpty }
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    #expect(all.contents(marker) == "1\n2\n")
  }

  @Test func afterACrashEachAttemptIsStillItself() async throws {
    var all = try await Surroundings()
    let gate = all.marker("gate")
    let first = try await all.dashboard.send("echo first; exit 4")
    try await all.dashboard.untilEnded(first)
    let line = "echo second; while [ ! -e \(gate) ]; do sleep 0.02; done"
    let second = try await envelope(all, first, attempt: 2, line)
    try await all.dashboard.send([second])
    try await all.dashboard.untilSaid(.running, second.id)
    try await all.killAgent()
    try await all.startAgent()
    let third = AttemptID(task: first.task, attempt: 3)
    let before = await all.dashboard.said(first).count
    try await all.dashboard.control(.reconcile, [first, second.id, third])
    try await all.dashboard.untilSaid(.unknown, third)
    try await all.dashboard.until("the first one's end is told again") { $0.said(first).count > before }
    #expect(await all.dashboard.verdict(first)?.exitCode == 4)
    #expect(await all.dashboard.verdict(second.id) == nil, "it goes on")
    try Files.writeAtomically([], to: gate)
    #expect(try await all.dashboard.untilEnded(second.id).state == .succeeded)
    #expect(await all.dashboard.text(of: second.id) == "second\n")
  }

  @Test func aLaterAttemptThatIsNeverStartedLeavesTheResultAsItIs() async throws {
    let all = try await Surroundings()
    let first = try await all.dashboard.send("echo first; exit 4")
    try await all.dashboard.untilEnded(first)
    try await all.dashboard.until("the result is there") { _ in try await self.result(all, first, "exit") == "4" }
    // Both ways of never starting: a tombstone, and refused by the agent.
    let second = AttemptID(task: first.task, attempt: 2)
    try await all.dashboard.control(.cancel, [second], cause: .cancelled)
    #expect(try await all.dashboard.untilEnded(second).state == .cancelled)
    let third = try await envelope(all, first, attempt: 3, "")
    try await all.dashboard.send([third])
    #expect(try await all.dashboard.untilEnded(third.id).state == .rejected)
    // What is written after them is written behind whatever they would have written.
    let last = try await all.dashboard.send("true")
    try await all.dashboard.until("a later result is there") { _ in try await self.result(all, last, "state") == "succeeded" }
    #expect(try await result(all, first, "state") == "failed")
    #expect(try await result(all, first, "log") == "first\n")
  }
}
