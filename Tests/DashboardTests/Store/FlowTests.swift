// The flow's decisions carried out on a real store: what a batch of reports changes, and what a repetition, a gap, another journal or a
// restored copy changes. Each test names its rule of DESIGN section 3.
import Foundation
import GRDB
import Shared
import Testing

@testable import Dashboard

@Suite struct FlowTests {
  private let agent = AgentID("web-1")
  private let address = AgentAddress(journal: Nonce(1), incarnation: Nonce(2))
  private let ids = ULIDGenerator()

  /// Accepts a run; `sent` where it is marked in the same transaction.
  private func accept(_ store: Store, sent: Bool = true) async throws -> ULID {
    try await store.accept(ids.next(), on: agent, sent: sent)
  }

  private func batch(
    _ events: [ReportEvent], first: UInt64 = 1, oldest: UInt64 = 1, from: AgentAddress? = nil, tails: [UInt8] = []
  ) -> ReportBatch {
    let address = from ?? address
    return ReportBatch(
      agent: agent, from: address, position: JournalPosition(journal: address.journal, count: 1, nonce: Nonce(1)), first: first,
      oldest: oldest, events: events, tails: tails)
  }

  private func apply(_ store: Store, _ batch: ReportBatch, tombstoned: Set<ULID> = []) async throws -> BatchOutcome {
    try await store.write { db in
      try FlowReports.apply(db, batch, now: 5, deadline: 5) { (tombstoned.contains($0) ? .cancelled : nil, false) }
    }
  }

  private func state(_ store: Store, _ task: ULID) async throws -> RunState {
    let agent = agent
    return try await store.read { db in try #require(try RunRow.fetch(db, task: task, agent: agent)).knowledge.state }
  }

  private func ended(_ task: ULID, _ state: RunState, exit: Int? = 0, tail: OutputSlice? = nil) -> ReportEvent {
    ReportEvent(
      .ended, attempt: AttemptID(task: task),
      verdict: Verdict(state: state, exitCode: exit, outputBytes: Int64(tail?.length ?? 0)), tail: tail)
  }

  @Test func aShortRunIsOneBatchWithItsOutput() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      let tail = OutputSlice(attempt: AttemptID(task: task), offset: 0, segments: [[1, 3], [2, 2]])
      let outcome = try await apply(store, batch([ended(task, .succeeded, tail: tail)], tails: Array("outer".utf8)))
      #expect(outcome.applied && outcome.changed.map(\.state) == [.succeeded] && outcome.grown.map(\.upTo) == [5])
      #expect(outcome.acknowledgement == Acknowledgement(incarnation: Nonce(2), reports: 1, output: 0))
      let row = try await store.read { db in
        try #require(
          try Row.fetchOne(
            db, sql: "SELECT segments, bytes, output_stored, exit_code FROM runs JOIN output ON output.run = runs.id")
        )
        .databaseValues.map(\.description)
      }
      #expect(row[0] == "\"1:3,2:2\"" && row[2] == "5" && row[3] == "0")
    }
  }

  /// Rule `sequence`.
  @Test func aReplayedBatchChangesNothingAndIsAcknowledgedAgain() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      let first = batch([ReportEvent(.taken, attempt: AttemptID(task: task)), ended(task, .succeeded)])
      _ = try await apply(store, first)
      let again = try await apply(store, first)
      #expect(!again.applied && again.changed.isEmpty && again.acknowledgement?.reports == 2)
    }
  }

  @Test func aBatchAfterAGapIsNotJudged() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      _ = try await apply(store, batch([ReportEvent(.taken, attempt: AttemptID(task: task))]))
      let outcome = try await apply(store, batch([ended(task, .succeeded)], first: 3))
      #expect(!outcome.applied && outcome.acknowledgement?.reports == 1)
      #expect(try await state(store, task) == .sent)
    }
  }

  /// Rule `anyOpen`.
  @Test func aLaterReportForAVerdictIsRefusedAndCounted() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      _ = try await apply(store, batch([ended(task, .failed, exit: 1)]))
      let outcome = try await apply(store, batch([ended(task, .succeeded)], first: 2))
      #expect(outcome.refused == 1)
      #expect(try await state(store, task) == .failed)
    }
  }

  /// Rule `tomb`.
  @Test func aWordThatNothingStartedIsNotCommittedBeforeItsTombstone() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      let word = batch([ended(task, .rejected, exit: nil)])
      await #expect(throws: TombstoneWanted.self) { try await apply(store, word) }
      #expect(try await state(store, task) == .sent)
      _ = try await apply(store, word, tombstoned: [task])
      #expect(try await state(store, task) == .rejected)
    }
  }

  /// Rules `close`, `stream`.
  @Test func anotherJournalMakesOpenRunsItsMatterAndTombstonesBecomeLost() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let sent = try await accept(store)
      let queued = try await accept(store, sent: false)
      _ = try await apply(store, batch([ReportEvent(.running, attempt: AttemptID(task: sent), startedAt: 3)]))
      let other = AgentAddress(journal: Nonce(9), incarnation: Nonce(10))
      _ = try await apply(store, batch([ReportEvent(.unknown, attempt: AttemptID(task: queued))], from: other))
      let toEnd = try await store.read { try FlowEnds.toEnd($0, limit: 10).runs }
      #expect(toEnd.map(\.task) == [sent], "what was never sent is no matter of any journal")
      let tombstone = ReportEvent(.ended, attempt: AttemptID(task: sent), verdict: Verdict(state: .cancelled), tombstone: true)
      _ = try await apply(store, batch([tombstone], first: 2, from: other))
      #expect(try await state(store, sent) == .lost)
      #expect(try await state(store, queued) == .queued)
    }
  }

  /// Rule `former`: Redis has fallen back, and shows again what a process said that was followed by another one.
  @Test func whatAFormerProcessSaidIsNotHeardAgainAlsoByARestartedDashboard() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      let (agent, id) = (agent, AttemptID(task: task))
      let denial = batch([ReportEvent(.unknown, attempt: id)])
      let next = AgentAddress(journal: address.journal, incarnation: Nonce(12))
      #expect(try await apply(store, denial).denied == [task])
      #expect(try await apply(store, batch([ReportEvent(.taken, attempt: id)], from: next)).applied)
      let again = try await apply(store, denial)
      #expect(!again.applied && again.denied.isEmpty)
      let run = try await store.read { db in try #require(try RunRow.fetch(db, task: task, agent: agent)).knowledge }
      #expect(run.state == .sent && run.reported && !run.closing, "a run that is there would be called lost")
      #expect(again.acknowledgement?.incarnation == next.incarnation)
      let desks = try await store.read { try FlowDesks.load($0) }
      #expect(desks.first { $0.0 == agent }?.1.address == next)
    }
  }

  /// Rule `meant`. What the former journal denied could be started by it all the same; sent to the new one, it would be started again.
  @Test func aRunThatWasMarkedForAJournalIsNeverSentToTheOneThatTookItsPlace() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let agent = agent
      _ = try await apply(store, batch([ReportEvent(.unknown, attempt: AttemptID(task: ids.next()))]))
      let task = try await accept(store, sent: false)
      let marked = try await store.write { try FlowMarks.mark($0, agent, limit: 1, now: 0) }.marked
      let other = AgentAddress(journal: Nonce(9), incarnation: Nonce(10))
      _ = try await apply(store, batch([ReportEvent(.unknown, attempt: AttemptID(task: ids.next()))], from: other))
      let envelope = try #require(marked.first).envelope(for: agent, at: other, number: .zero)
      #expect(envelope.task == task && envelope.journal == address.journal)
      #expect(
        try await store.read { try FlowMarks.load($0, agent, tasks: [task]) }.marked.isEmpty, "it is the new journal's matter")
      let fresh = try await accept(store, sent: false)
      let next = try await store.write { try FlowMarks.mark($0, agent, limit: 1, now: 0) }.marked
      #expect(next.first?.task == fresh && next.first?.envelope(for: agent, at: other, number: .zero).journal == other.journal)
    }
  }

  /// Rule `number`.
  @Test func inARestoredCopyWhatIsQueuedCountsAsSentOnceAHigherNumberIsKnown() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let queued = try await accept(store, sent: false)
      let hello = Hello(
        projects: ["web"], hostname: "h", address: "a", version: "v", os: "o", arch: "x", startedAt: 0, concurrency: 2,
        httpPort: 1,
        sends: SendNumber(fence: 4, count: 7))
      let outcome = try await apply(store, batch([ReportEvent(.hello, hello: hello)]))
      #expect(outcome.restored && outcome.hello?.concurrency == 2)
      #expect(try await state(store, queued) == .sent)
      let agent = agent
      #expect(try await store.read { try AgentRow.number($0, agent) } == SendNumber(fence: 4, count: 7))
    }
  }

  @Test func aTaskFromThePlainHashMakesItsHistoryWithItsAlias() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = ids.next()
      let plain = PlainTask(name: Array("a b".utf8), command: Array("echo hi".utf8), takenAt: 77)
      let outcome = try await apply(store, batch([ReportEvent(.taken, attempt: AttemptID(task: task), plain: plain)]))
      #expect(outcome.changed.map(\.state) == [.sent])
      let found = try await store.read { db in
        try String.fetchOne(
          db, sql: "SELECT alias || ' ' || origin || ' ' || queued_at FROM runs JOIN tasks ON tasks.id = runs.task")
      }
      #expect(found == "web-1a b plain 77")
    }
  }

  @Test func outputIsIdempotentByOffset() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      let address = address
      let agent = agent
      func frame(_ sequence: UInt64, _ offset: Int64, _ text: String) -> OutputFrame {
        OutputFrame(
          agent: agent, from: address, sequence: sequence, oldest: 1,
          slices: [OutputSlice(attempt: AttemptID(task: task), offset: offset, segments: [[1, text.utf8.count]])],
          bytes: Array(text.utf8))
      }
      _ = try await apply(store, batch([ReportEvent(.running, attempt: AttemptID(task: task), startedAt: 1)]))
      var acknowledged: [UInt64] = []
      for frame in [frame(1, 0, "hello "), frame(1, 0, "hello "), frame(2, 3, "lo world"), frame(3, 0, "hello")] {
        let outcome = try await store.write { try FlowReports.apply($0, frame, now: 1) }
        acknowledged.append(outcome.acknowledgement?.output ?? 0)
      }
      #expect(try await kept(store) == "hello world")
      #expect(acknowledged == [1, 1, 2, 3], "each commit says at once how far it is")
    }
  }

  private func kept(_ store: Store) async throws -> String {
    try await store.read { db in
      try Data.fetchAll(db, sql: "SELECT bytes FROM output ORDER BY offset").reduce(into: "") {
        $0 += String(decoding: $1, as: UTF8.self)
      }
    }
  }

  @Test(arguments: [(2, 5), (0, 3), (7, 3), (3, 3), (0, 10), (4, 1)])
  func theDroppedMiddleLeavesTheStore(_ from: Int, _ count: Int) async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      let agent = agent
      let text = "0123456789"
      try await store.write { db in
        var run = try #require(try RunRow.fetch(db, task: task, agent: agent))
        for (offset, length) in [(0, 3), (3, 4), (7, 3)] {
          let bytes = Array(text.utf8)[offset..<offset + length]
          let slice = OutputSlice(attempt: AttemptID(task: task), offset: Int64(offset), segments: [[1, 1], [2, length - 1]])
          _ = try FlowOutput.store(db, run: &run, attempt: 1, slice, bytes)
        }
        try FlowOutput.drop(db, run: run.id, attempt: 1, Int64(from)..<Int64(from + count))
      }
      #expect(try await kept(store) == String(text.prefix(from)) + String(text.dropFirst(from + count)))
      let lengths = try await store.read { db in
        try Row.fetchAll(db, sql: "SELECT segments, length(bytes) FROM output").map { row in
          (Segments.parse(row[0]).reduce(0) { $0 + $1[1] }, row[1] as Int)
        }
      }
      for (segments, bytes) in lengths { #expect(segments == bytes) }
    }
  }

  @Test func outputOfTheDroppedMiddleThatComesAfterTheVerdictIsDroppedAsWell() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store), address = address, agent = agent
      @Sendable func frame(_ sequence: UInt64, _ offset: Int, _ text: String) -> OutputFrame {
        OutputFrame(
          agent: agent, from: address, sequence: sequence, oldest: 1,
          slices: [OutputSlice(attempt: AttemptID(task: task), offset: Int64(offset), segments: [[1, text.utf8.count]])],
          bytes: Array(text.utf8))
      }
      _ = try await store.write { try FlowReports.apply($0, frame(1, 0, "012"), now: 1) }
      let verdict = Verdict(state: .succeeded, exitCode: 0, outputBytes: 10, droppedBytes: 4, droppedFrom: 4)
      _ = try await apply(store, batch([ReportEvent(.ended, attempt: AttemptID(task: task), verdict: verdict)]))
      for late in [frame(2, 3, "3456"), frame(3, 8, "89")] {
        _ = try await store.write { try FlowReports.apply($0, late, now: 1) }
      }
      #expect(try await kept(store) == "012389")
    }
  }

  @Test func marksTakeTheOldestFirstAndEachAGrowingNumber() async throws {
    try await withStore { (store: Store) async throws -> Void in
      var queued: [ULID] = []
      for _ in 0..<5 { queued.append(try await accept(store, sent: false)) }
      let agent = agent
      let marking = try await store.write { try FlowMarks.mark($0, agent, limit: 3, now: 1) }
      #expect(marking.marked.map(\.task) == Array(queued.prefix(3)) && marking.more)
      #expect(marking.marked.map(\.mark.number.raw) == [1, 2, 3])
      #expect(try await store.read { try FlowMarks.outstanding($0, agent) } == 3)
      let rest = try await store.write { try FlowMarks.mark($0, agent, limit: 10, now: 1) }
      #expect(rest.marked.count == 2 && !rest.more)
    }
  }

  /// Found by review: a broadcast of 700 KB to ten thousand hosts that had been away was ten thousand copies in memory.
  @Test func whatIsMarkedWaitsInMemoryOnceForEachTaskAndInPortions() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let (one, other) = (agent, AgentID("web-2"))
      let stdin = Base64Bytes([UInt8](repeating: 120, count: 1000))
      let tasks = (0..<20).map { _ in ids.next() }
      try await store.write { db in
        for id in tasks {
          try FreshTask(
            id: id, auuid: "web-\(id)", target: "web", kind: .project, spec: TaskSpec(taskname: "cat", stdin: stdin),
            origin: .http, createdAt: 0, startBefore: 1000,
            runs: [one, other].map { FreshRun(id: RunID(agent: $0, task: id), project: "web") }
          ).insert(into: db)
        }
      }
      var (marked, portions): ([ULID], Int) = ([], 0)
      while marked.count < tasks.count {
        let marking = try await store.write { db in
          let shelf = SpecShelf(limit: 8000)
          let first = try FlowMarks.mark(db, one, limit: 64, now: 1, shelf: shelf)
          #expect(shelf.isFull == first.more)
          return first
        }
        #expect(!marking.marked.isEmpty && marking.marked.count < 10)
        marked += marking.marked.map(\.task)
        portions += 1
      }
      #expect(marked == tasks && portions > 2)
      // Another host's runs of what was read already cost nothing more.
      let shared = try await store.write { db in
        let shelf = SpecShelf()
        let first = try FlowMarks.mark(db, other, limit: 1, now: 1, shelf: shelf).marked
        try db.execute(sql: "UPDATE runs SET state = 'queued' WHERE uuid = ?", arguments: [other.text])
        return first + (try FlowMarks.mark(db, other, limit: 1, now: 1, shelf: shelf).marked)
      }
      let places = shared.map { run in run.spec.stdin?.bytes.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) } }
      #expect(shared.map(\.task) == [tasks[0], tasks[0]] && places[0] == places[1])
    }
  }

  @Test func marksAndCountsOfAnAgentSearchOnlyWhatIsOpenOfIt() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let plans = try await store.read { db in
        try [
          "SELECT count(*) FROM runs INDEXED BY runs_by_agent_state WHERE uuid = 'a' AND state IN ('sent', 'running', 'unknown')",
          "SELECT id FROM runs INDEXED BY runs_to_mark WHERE uuid = 'a' AND state = 'queued' AND held = 0 ORDER BY task LIMIT 5",
        ].map { sql in try Row.fetchAll(db, sql: "EXPLAIN QUERY PLAN " + sql).map { $0["detail"] as String } }
      }
      for (plan, index) in zip(plans, ["runs_by_agent_state (uuid=? AND state=?", "runs_to_mark (uuid=?"]) {
        #expect(plan.contains { $0.contains(index) }, "\(plan)")
        #expect(!plan.contains { $0.contains("TEMP B-TREE") }, "\(plan)")
      }
    }
  }

  @Test func whatWasNeverSentExpiresAloneAndWhatMayHaveBeenSentDoesNot() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let queued = try await accept(store, sent: false)
      let sent = try await accept(store)
      #expect(try await store.write { try FlowEnds.expire($0, deadline: 999, now: 7, limit: 10) } == 0)
      #expect(try await store.write { try FlowEnds.expire($0, deadline: 1000, now: 7, limit: 10) } == 2)
      let toEnd = try await store.read { try FlowEnds.toEnd($0, limit: 10).runs }
      let ended = try await store.write { db in try toEnd.map { try FlowEnds.endAlone(db, $0.entombed, now: 1001) } }
      #expect(Set(zip(toEnd.map(\.task), ended).filter { $0.1 == .expired }.map(\.0)) == [queued])
      #expect(try await state(store, sent) == .sent)
    }
  }

  @Test func runsThatWantAttentionAreReadPageAfterPageAndNoneIsLeftOut() async throws {
    try await withStore { (store: Store) async throws -> Void in
      var wanted: Set<ULID> = []
      for _ in 0..<7 { wanted.insert(try await accept(store)) }
      #expect(try await store.write { try FlowEnds.expire($0, deadline: 1000, now: 7, limit: 10) } == 7)
      for page in 0..<2 {
        var found: [ULID] = []
        var next: OpenPage.Cursor?
        repeat {
          let after = next
          let open = try await store.read { db in
            page == 0 ? try FlowEnds.toEnd(db, after: after, limit: 3) : try FlowEnds.unreported(db, after: after, limit: 3)
          }
          found += open.runs.map(\.task)
          next = open.next
        } while next != nil
        #expect(found.count == 7 && Set(found) == wanted)
      }
    }
  }

  @Test func retentionRemovesOldTasksAndNeverAnOpenRun() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let open = try await accept(store)
      let done = try await accept(store)
      _ = try await apply(store, batch([ended(done, .succeeded)]))
      let border = WallTime.now().milliseconds + 60_000
      #expect(try await store.write { try Retention.step($0, olderThan: border) })
      #expect(try await !store.write { try Retention.step($0, olderThan: border) })
      #expect(try await !store.write { try Retention.take($0, .tasks) })
      let left = try await store.read { try String.fetchAll($0, sql: "SELECT task FROM runs") }
      #expect(left == [open.description])
    }
  }
}

extension OpenRun {
  /// Its tombstone stands in Redis and says what is wanted.
  var entombed: OpenRun {
    var run = self
    run.knowledge.tomb = run.knowledge.wantsEnd
    return run
  }
}
