// Runs of several attempts on a real store: what moves into table `attempts` and back, delays, restored copies, retention.
import Foundation
import GRDB
import Logging
import Shared
import Testing

@testable import Dashboard

@Suite struct AttemptsTests {
  private let agent = AgentID("web-1")
  private let address = AgentAddress(journal: Nonce(1), incarnation: Nonce(2))
  private let ids = ULIDGenerator()

  private func accept(_ store: Store, _ retries: Retries = Retries(count: 2), sent: Bool = true) async throws -> ULID {
    try await store.accept(ids.next(), on: agent, retries: retries, sent: sent)
  }

  private func apply(_ store: Store, _ events: [ReportEvent], first: UInt64, tombstoned: Set<ULID> = [], tails: [UInt8] = [])
    async throws -> BatchOutcome
  {
    let batch = ReportBatch(
      agent: agent, from: address, position: JournalPosition(journal: address.journal, count: 1, nonce: Nonce(1)), first: first,
      oldest: 1, events: events, tails: tails)
    return try await store.write { db in
      try FlowReports.apply(db, batch, now: 5, deadline: 1000, random: { 0 }) {
        (tombstoned.contains($0) ? .cancelled : nil, false)
      }
    }
  }

  private func ended(_ task: ULID, _ attempt: Int, _ state: RunState, exit: Int? = nil, tail: String = "") -> ReportEvent {
    let id = AttemptID(task: task, attempt: attempt)
    let slice = tail.isEmpty ? nil : OutputSlice(attempt: id, offset: 0, segments: [[1, tail.utf8.count]])
    return ReportEvent(
      .ended, attempt: id,
      verdict: Verdict(state: state, exitCode: exit, startedAt: 2, finishedAt: 3, outputBytes: Int64(tail.utf8.count)),
      tail: slice)
  }

  /// Its fate is known: nobody has to guess what became of it.
  @Test func aRunThatWaitsForItsNextAttemptKeepsItsVerdictWhenItsAgentIsRemoved() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let (waiting, sent) = (try await accept(store), try await accept(store))
      _ = try await apply(store, [ended(waiting, 1, .failed, exit: 3, tail: "no")], first: 1)
      #expect(try await run(store, waiting).attempt == 2)
      let agent = agent
      let closed = try await store.write { try FlowRemoval.remove($0, agent, journals: [], by: "10.1.2.3:4", now: 50) }
      #expect(Dictionary(uniqueKeysWithValues: closed.map { ($0.task, $0.state) }) == [waiting: .failed, sent: .lost])
      let row = try await run(store, waiting)
      #expect(row.attempt == 1 && row.knowledge.state == .failed)
      let last = try #require(try await shown(store, waiting).last)
      #expect(last.exitCode == 3 && last.reason == "agent_removed")
      #expect(last.note?.contains("removed by an operator (from 10.1.2.3:4) before its next attempt") == true)
      #expect(try await run(store, sent).knowledge.state == .lost)
    }
  }

  private func run(_ store: Store, _ task: ULID) async throws -> RunRow {
    let agent = agent
    return try await store.read { try #require(try RunRow.fetch($0, task: task, agent: agent)) }
  }
  private func shown(_ store: Store, _ task: ULID) async throws -> [RunRecord] {
    let id = RunID(agent: agent, task: task)
    return try await store.read { try AttemptQueries.all($0, try #require(try RunQueries.find($0, id))) }
  }
  private func output(_ store: Store, _ attempt: Int) async throws -> String {
    try await store.read { db in
      try Data.fetchAll(db, sql: "SELECT bytes FROM output WHERE attempt = ? ORDER BY offset", arguments: [attempt])
        .reduce(into: "") { $0 += String(decoding: $1, as: UTF8.self) }
    }
  }
  /// As after a start under a new fence: the number that Redis knows is above the store's.
  private func restored(_ store: Store) async throws {
    let agent = agent
    try await store.write { db in
      var row = try AgentRow.fetch(db, agent, now: 0)
      #expect(try row.learn(db, SendNumber(fence: 9, count: 9), now: 0))
      try row.saveNumber(db)
    }
  }

  @Test func aFailedAttemptIsPutAsideWithItsVerdictAndOutputAndTheRunWaits() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      let outcome = try await apply(
        store, [ended(task, 1, .failed, exit: 3, tail: "no\n")], first: 1, tails: Array("no\n".utf8))
      #expect(outcome.changed.map(\.state) == [.queued])
      #expect(outcome.moves == [FlowAttempts.Move(task: task, attempt: 2, wait: .seconds(2))])
      let row = try await run(store, task)
      #expect(row.attempt == 2 && row.knowledge.state == .queued && row.knowledge.held && !row.knowledge.reported)
      #expect(row.knowledge.lastVerdict == .failed && row.outputStored == 0)
      let attempts = try await shown(store, task)
      #expect(attempts.map(\.attempt) == [1, 2] && attempts.map(\.state) == [.failed, .queued])
      #expect(attempts.map(\.exitCode) == [3, nil] && attempts.map(\.outputStored) == [3, 0])
      #expect(attempts.map(\.nextAttemptAt) == [nil, 3000] && attempts[1].startedAt == nil)
      #expect(try await output(store, 1) == "no\n")
    }
  }

  @Test func anAttemptIsMarkedAfterItsDelayAndNeverExpires() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      _ = try await apply(store, [ended(task, 1, .failed)], first: 1)
      let agent = agent
      func mark() async throws -> [MarkedRun] {
        try await store.write { try FlowMarks.mark($0, agent, limit: 10, now: 1) }.marked
      }
      #expect(try await mark().isEmpty)
      #expect(try await store.write { try FlowEnds.expire($0, deadline: 5000, now: 7, limit: 10) } == 0)
      try await store.write { try FlowAttempts.release($0, agent, AttemptID(task: task, attempt: 1)) }
      #expect(try await mark().isEmpty, "the delay of another attempt than the present one")
      try await store.write { try FlowAttempts.release($0, agent, AttemptID(task: task, attempt: 2)) }
      let marked = try await mark()
      #expect(marked.map(\.attempt) == [2] && marked.map(\.startBefore) == [nil])
      #expect(try await run(store, task).knowledge.state == .sent)
    }
  }

  /// The store went back in its knowledge and not in the run's row: it asked about the later attempt for ever.
  @Test func aRunThatIsKnownByALaterAttemptThatWasNeverStartedAloneGoesBackToTheOneBefore() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = ids.next()
      let outcome = try await apply(store, [ended(task, 3, .cancelled)], first: 1, tombstoned: [task])
      #expect(outcome.found == 1 && outcome.moves == [FlowAttempts.Move(task: task, attempt: 2)])
      let row = try await run(store, task)
      #expect(row.attempt == 2 && row.knowledge.state == .sent && row.knowledge.wantsEnd == .cancelled)
      let answer = try await apply(store, [ended(task, 2, .failed, exit: 4)], first: 2)
      #expect(answer.changed.map(\.state) == [.failed])
      #expect(try await run(store, task).knowledge.state == .failed)
    }
  }

  @Test func reportsOfAnEarlierAttemptAreRefusedButItsOutputIsKept() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      _ = try await apply(store, [ended(task, 1, .failed)], first: 1)
      let outcome = try await apply(store, [ended(task, 1, .succeeded)], first: 2)
      #expect(outcome.refused == 1)
      let (agent, address) = (agent, address)
      func frame(_ sequence: UInt64, _ attempt: Int, _ offset: Int64, _ text: String) -> OutputFrame {
        OutputFrame(
          agent: agent, from: address, sequence: sequence, oldest: 1,
          slices: [
            OutputSlice(attempt: AttemptID(task: task, attempt: attempt), offset: offset, segments: [[1, text.utf8.count]])
          ],
          bytes: Array(text.utf8))
      }
      for frame in [frame(1, 1, 0, "late"), frame(2, 1, 2, "te!"), frame(3, 2, 0, "new"), frame(4, 9, 0, "no")] {
        _ = try await store.write { try FlowReports.apply($0, frame, now: 1) }
      }
      #expect(try await output(store, 1) == "late!")
      #expect(try await output(store, 2) == "new")
      #expect(try await output(store, 9) == "", "there is no ninth attempt")
      #expect(try await shown(store, task).map(\.outputBytes) == [5, 3])
    }
  }

  @Test func theDroppedMiddleOfAnEarlierAttemptLeavesTheStoreToo() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      var event = ended(task, 1, .failed)
      event.verdict?.outputBytes = 10
      event.verdict?.droppedBytes = 4
      event.verdict?.droppedFrom = 3
      _ = try await apply(store, [event], first: 1)
      let frame = OutputFrame(
        agent: agent, from: address, sequence: 1, oldest: 1,
        slices: [OutputSlice(attempt: AttemptID(task: task), offset: 0, segments: [[1, 10]])], bytes: Array("0123456789".utf8))
      _ = try await store.write { try FlowReports.apply($0, frame, now: 1) }
      #expect(try await output(store, 1) == "012789")
      #expect(try await shown(store, task)[0].isComplete)
    }
  }

  @Test func cancelledWhileItWaitsTheRunHasTheVerdictOfTheAttemptThatRan() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      _ = try await apply(
        store, [ended(task, 1, .failed, exit: 3, tail: "no\n")], first: 1, tails: Array("no\n".utf8))
      let id = RunID(agent: agent, task: task)
      _ = try await store.write { try FlowStops.stop($0, named: id.description, StopOrder(), now: 9) }
      let toEnd = try await store.read { try FlowEnds.toEnd($0, limit: 10).runs }
      #expect(toEnd.map(\.attempt) == [2])
      #expect(try await store.write { db in try toEnd.map { try FlowEnds.endAlone(db, $0.entombed, now: 10) } } == [.failed])
      let attempts = try await shown(store, task)
      #expect(attempts.map(\.attempt) == [1] && attempts[0].state == .failed && attempts[0].exitCode == 3)
      #expect(attempts[0].startedAt == 2 && attempts[0].finishedAt == 3 && attempts[0].outputStored == 3)
      #expect(attempts[0].note == "attempt 2 was cancelled before it was sent" && attempts[0].nextAttemptAt == nil)
      #expect(try await store.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM attempts") } == 0)
      #expect(try await store.read { try FlowAttempts.held($0, now: 0) }.isEmpty)
    }
  }

  @Test func aSentAttemptThatNeverStartedLeavesTheVerdictOfTheOneBefore() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let (task, agent) = (try await accept(store), agent)
      _ = try await apply(store, [ended(task, 1, .timedOut)], first: 1)
      try await store.write { db in
        try FlowAttempts.release(db, agent, AttemptID(task: task, attempt: 2))
        _ = try FlowMarks.mark(db, agent, limit: 1, now: 1)
      }
      await #expect(throws: TombstoneWanted.self) { try await apply(store, [ended(task, 2, .rejected)], first: 2) }
      _ = try await apply(store, [ended(task, 2, .rejected)], first: 2, tombstoned: [task])
      let attempts = try await shown(store, task)
      #expect(attempts.map(\.state) == [.timedOut] && attempts[0].note == "attempt 2 was rejected before it was started")
    }
  }

  @Test func inARestoredCopyTheNextAttemptIsAQuestionFirst() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let before = try await accept(store)
      try await restored(store)
      _ = try await apply(store, [ended(before, 1, .failed)], first: 1)
      let row = try await run(store, before)
      #expect(row.knowledge.state == .sent && row.knowledge.held && row.knowledge.doubtful)
      let unreported = try await store.read { try FlowEnds.unreported($0, limit: 10) }.runs
      #expect(unreported.map(\.attempt) == [2])
      // Denied, it is sent after its delay, and not before.
      let agent = agent
      #expect(try await store.read { try FlowMarks.load($0, agent, tasks: [before]) }.marked.isEmpty)
      try await store.write { try FlowAttempts.release($0, agent, AttemptID(task: before, attempt: 2)) }
      #expect(try await store.read { try FlowMarks.load($0, agent, tasks: [before]) }.marked.map(\.attempt) == [2])
      // What is marked after the restore is known to be new.
      let after = try await accept(store)
      _ = try await apply(store, [ended(after, 1, .failed)], first: 2)
      #expect(try await run(store, after).knowledge.state == .queued)
    }
  }

  @Test func aReportOfALaterAttemptMovesARestoredCopyForwardAndKeepsEarlyOutput() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store, Retries(count: 5))
      try await restored(store)
      let early = OutputFrame(
        agent: agent, from: address, sequence: 1, oldest: 1,
        slices: [OutputSlice(attempt: AttemptID(task: task, attempt: 3), offset: 0, segments: [[1, 5]])],
        bytes: Array("early".utf8))
      _ = try await store.write { try FlowReports.apply($0, early, now: 1) }
      #expect(try await shown(store, task).map(\.attempt) == [1], "output says nothing about attempts")
      let running = ReportEvent(.running, attempt: AttemptID(task: task, attempt: 3), startedAt: 77)
      let outcome = try await apply(store, [running], first: 1)
      #expect(outcome.moves == [FlowAttempts.Move(task: task, attempt: 3, wait: nil)])
      let attempts = try await shown(store, task)
      #expect(attempts.map(\.state) == [.unknown, .unknown, .running] && attempts.map(\.attempt) == [1, 2, 3])
      #expect(attempts[2].startedAt == 77 && attempts[2].outputStored == 5)
      _ = try await apply(store, [ended(task, 4, .failed, exit: 4)], first: 2)
      #expect(try await shown(store, task).map(\.state) == [.unknown, .unknown, .unknown, .failed, .sent])
    }
  }

  @Test func delaysAreTakenOverByTheNextProcessAndNeverLongerThanTheyCanBe() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store, Retries(count: 1, delay: .seconds(100)))
      _ = try await apply(store, [ended(task, 1, .failed)], first: 1)
      func left(_ now: Int64) async throws -> [Duration] {
        try await store.read { try FlowAttempts.held($0, now: now) }.map(\.wait)
      }
      #expect(try await left(1000) == [.seconds(100)])
      #expect(try await left(61_000) == [.seconds(40)])
      #expect(try await left(1_000_000_000) == [.zero])
      #expect(try await left(-1_000_000_000) == [.seconds(125)], "a clock that went back holds nothing for days")
    }
  }

  @Test func retentionTakesAttemptsWithTheirRun() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store, Retries(count: 1))
      _ = try await apply(
        store, [ended(task, 1, .failed, tail: "no\n"), ended(task, 2, .succeeded)], first: 1, tails: Array("no\n".utf8))
      #expect(try await shown(store, task).map(\.state) == [.failed, .succeeded])
      // First the output of ended runs, also where only an earlier attempt has some.
      let first = try #require(try await store.read { try Retention.surplus($0, over: 0) })
      #expect(first != .tasks)
      #expect(try await store.write { try Retention.take($0, first) })
      #expect(try await output(store, 1) == "")
      #expect(try await shown(store, task).map(\.outputStored) == [0, 0])
      #expect(try await store.read { try Retention.surplus($0, over: 0) } == .tasks)
      #expect(try await store.write { try Retention.take($0, .tasks) })
      let left = try await store.read { db in
        try ["tasks", "runs", "attempts", "output"].map { try Int.fetchOne(db, sql: "SELECT count(*) FROM \($0)") ?? -1 }
      }
      #expect(left == [0, 0, 0, 0])
    }
  }

  @Test func findingWhatIsHeldWalksOnlyThat() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let plan = try await store.read { db in
        try Row.fetchAll(db, sql: "EXPLAIN QUERY PLAN SELECT uuid FROM runs INDEXED BY runs_held WHERE held = 1")
          .map { $0["detail"] as String }
      }
      #expect(plan.contains { $0.contains("runs_held") }, "\(plan)")
    }
  }
}
