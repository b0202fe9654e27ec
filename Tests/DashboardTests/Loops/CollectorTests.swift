// Reading the streams, with a real Redis: what is read is deleted sooner or later, and what was said long ago makes nobody present.
import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Dashboard

@Suite struct CollectorTests {
  private let agent = AgentID("web-1")

  /// A stream is bounded: an entry that stays takes its place for good, and once it is full of them nobody is heard any more.
  @Test func whatRedisRefusedToDeleteIsDeletedOnceItDoesNotAlsoWhenNothingElseComes() async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let task = try await flow.accept(agent)
      try await flow.server.ask("ACL", "SETUSER", "default", "-xdel")
      try await flow.collecting(agent) {
        try await flow.say(agent, [ReportEvent(.running, attempt: AttemptID(task: task), startedAt: 1)])
        try await flow.waits(agent, task, for: .running, "read and committed")
        try await eventually("Redis has refused it", within: .seconds(60)) { flow.parts.mood.isRefusing }
        #expect(try await flow.entries(agent) == 1)
        try await flow.server.ask("ACL", "SETUSER", "default", "+xdel")
        try await eventually("it is deleted", within: .seconds(60)) { try await flow.entries(agent) == 0 }
        try await flow.say(agent, [flow.ended(task, .succeeded)], first: 2)
        try await flow.waits(agent, task, for: .succeeded, "read on")
      }
    }
  }

  @Test func aWordThatHasWaitedMakesNobodyPresentAndOneOfWhoHoldsItsLeaseDoes() async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let (gone, here) = FlowParts.neighbours
      let (his, hers) = (try await flow.accept(gone), try await flow.accept(here))
      try await flow.takeLease(here)
      try await flow.collecting(here) {
        try await flow.say(gone, [flow.ended(his, .succeeded)])
        try await flow.say(here, [flow.ended(hers, .succeeded)])
        try await flow.waits(gone, his, for: .succeeded, "its word counts")
        try await eventually("the other one is there", within: .seconds(60)) { flow.fleet.isOnline(here) }
        // Both were looked up together.
        #expect(!flow.fleet.isOnline(gone))
      }
    }
  }

  /// A kill that goes to a process that is no more is heard by nobody.
  @Test func outputOfAFormerProcessDoesNotMakeItTheOneThatIsSpokenTo() async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let (agent, task) = (agent, try await flow.accept(agent))
      let id = AttemptID(task: task)
      @Sendable func frame(_ incarnation: UInt64) -> OutputFrame {
        OutputFrame(
          agent: agent, from: FlowParts.address(incarnation), sequence: 1, oldest: 1,
          slices: [OutputSlice(attempt: id, offset: 0, segments: [[1, 2]])], bytes: Array("hi".utf8))
      }
      let running = ReportEvent(.running, attempt: id, startedAt: 1)
      let reports = [flow.batch(agent, [running], incarnation: 2), flow.batch(agent, [running], incarnation: 3)]
      let heard = try await flow.store.write { db in
        try reports.map { try FlowReports.apply(db, $0, now: 1, deadline: 1) { _ in (nil, false) } }
      }
      flow.flow.committed(heard, FlowParts.fence)
      #expect(flow.desks.desk(agent).address == FlowParts.address(3))
      flow.desks.withDesk(agent) { $0.toAsk = [] }
      let output = try await flow.store.write { db in [try FlowReports.apply(db, frame(2), now: 1)] }
      #expect(output[0].applied && output[0].grown.map(\.upTo) == [2])
      flow.flow.committed(output, FlowParts.fence)
      #expect(flow.desks.desk(agent).address == FlowParts.address(3))
      #expect(flow.desks.desk(agent).toAsk == [], "and nothing has to be asked because of it")
    }
  }

  @Test func aTombstoneThatWasWrittenForAWordThatEndedNothingIsNotRememberedForEver() async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let task = try await flow.accept(agent)
      try await flow.collecting(agent) {
        for _ in 0..<2 { try await flow.say(agent, [flow.ended(task, .rejected)]) }
        try await flow.waits(agent, task, for: .rejected, "said twice")
        try await eventually("both are read", within: .seconds(60)) { try await flow.entries(agent) == 0 }
        try await eventually("nothing is remembered", within: .seconds(60)) { flow.desks.desk(agent).tombs.isEmpty }
      }
    }
  }
}
