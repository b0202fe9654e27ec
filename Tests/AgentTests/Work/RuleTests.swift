// Interleavings that a rule of DESIGN section 3 is for and that no other file forces on the real agent; docs/rules.md lists where each rule is tested.

import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Agent

@Suite struct RuleTests {
  /// Rule `told`: read, journaled, and said by every process after it, also when Redis has forgotten it.
  @Test func theHelloOfEveryProcessCarriesTheHighestSendNumberThatTheJournalHasRead() async throws {
    var all = try await Surroundings()
    let envelope = try await all.dashboard.envelope(TaskSpec(taskname: "true"))
    try await all.dashboard.send([envelope])
    try await all.dashboard.untilEnded(envelope.id)
    try await all.killAgent()
    _ = try await all.dashboard.connection.send(RedisCommand("DEL", Keys.sends(all.dashboard.agent)))
    try await all.startAgent()
    try await all.dashboard.until("the new process says hello") { dashboard in
      dashboard.events.last { $0.kind == .hello }?.hello?.sends == envelope.number
    }
  }

  /// Rule `close`: an unknown id is tombstoned, so that it can be called lost; of a known one the journal says what it knows.
  @Test func whatIsPutToANewJournalIsTombstonedWhereUnknownAndToldWhereKnown() async throws {
    let all = try await Surroundings()
    let marker = all.marker("ran")
    let unknown = try await all.dashboard.envelope(TaskSpec(taskname: "echo x > \(marker)"))
    let known = try await all.dashboard.send("exit 3")
    try await all.dashboard.untilEnded(known)
    let told = await all.dashboard.said(known).count
    try await all.dashboard.control(.close, [unknown.id, known])
    #expect(try await all.dashboard.untilEnded(unknown.id).state == .cancelled)
    #expect(await all.dashboard.said(unknown.id).last?.tombstone == true)
    try await all.dashboard.until("the known one is told again") { $0.said(known).count > told }
    #expect(await all.dashboard.verdict(known)?.exitCode == 3)
    // A send that comes late finds the tombstone.
    try await all.dashboard.send([unknown])
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    #expect(!Files.exists(marker))
  }

  /// Rule `fence`: once a newer dashboard has spoken, an older one's message does nothing, even where no script stands between.
  @Test func aMessageOfAnOlderDashboardDoesNothing() async throws {
    let all = try await Surroundings()
    let gate = all.marker("gate")
    let id = try await all.dashboard.send("while [ ! -e \(gate) ]; do sleep 0.02; done; exit 6")
    try await all.dashboard.untilSaid(.running, id)
    let here = try await all.dashboard.address()
    let said = await all.dashboard.said(id).count
    func push(_ kind: ControlMessage.Kind, fence: Fence) async throws {
      let message = ControlMessage(kind, to: here, fence: fence, attempts: [id], cause: .cancelled)
      _ = try await all.dashboard.connection.send(
        RedisCommand("RPUSH", Keys.control(all.dashboard.agent), try message.encoded()))
    }
    try await push(.reconcile, fence: 9)
    try await all.dashboard.until("the newer one is answered") { $0.said(id).count > said }
    try await push(.cancel, fence: 8)
    // Read after it, so the other one was read by then.
    let after = await all.dashboard.said(id).count
    try await push(.reconcile, fence: 9)
    try await all.dashboard.until("the newer one is answered again") { $0.said(id).count > after }
    try Files.writeAtomically([], to: gate)
    #expect(try await all.dashboard.untilEnded(id).exitCode == 6)
  }
}
