// What the store says of runs on silent, removed or unheard-of agents, and of rows that it cannot read; on a real database. Each test names its
// rule of DESIGN section 3, "States" or "The rules that close the holes".
import GRDB
import Shared
import Testing

@testable import Dashboard

@Suite struct TruthFlowTests {
  private let agent = AgentID("web-1")
  private let address = AgentAddress(journal: Nonce(1), incarnation: Nonce(2))
  private let ids = ULIDGenerator()

  private func accept(_ store: Store, sent: Bool = true) async throws -> ULID {
    try await store.accept(ids.next(), on: agent, sent: sent)
  }

  @discardableResult
  private func report(_ store: Store, _ events: [ReportEvent], first: UInt64 = 1, from: AgentAddress? = nil) async throws
    -> BatchOutcome
  {
    let from = from ?? address
    let batch = ReportBatch(
      agent: agent, from: from, position: JournalPosition(journal: from.journal, count: 1, nonce: Nonce(1)), first: first,
      oldest: 1,
      events: events)
    return try await store.write { db in try FlowReports.apply(db, batch, now: 5, deadline: 5) { _ in (.cancelled, false) } }
  }

  private func running(_ task: ULID, deadline: Int64? = nil) -> ReportEvent {
    ReportEvent(.running, attempt: AttemptID(task: task), startedAt: 3, deadline: deadline)
  }
  private func ended(_ task: ULID, _ state: RunState = .succeeded, note: String? = nil) -> ReportEvent {
    ReportEvent(.ended, attempt: AttemptID(task: task), verdict: Verdict(state: state, exitCode: 0, note: note))
  }

  private func run(_ store: Store, _ task: ULID) async throws -> RunRecord {
    let agent = agent
    return try await store.read { db in try #require(try RunQueries.find(db, RunID(agent: agent, task: task))) }
  }
  private func lapse(_ store: Store, limit: Int = 100) async throws -> FlowLapses.Lapse {
    let agent = agent
    return try await store.write { try FlowLapses.lapse($0, agent, limit: limit) }
  }

  @Test func onlyWhatMayBeOutIsUnknownAndOnlyBoundedlyManyAtOnce() async throws {
    try await withStore { (store: Store) async throws -> Void in
      var out: Set<ULID> = []
      for _ in 0..<3 { out.insert(try await accept(store)) }
      let (queued, done) = (try await accept(store, sent: false), try await accept(store))
      try await report(store, [running(out.first!), ended(done)])
      let first = try await lapse(store, limit: 2)
      #expect(first.tasks.count == 2 && first.more)
      let rest = try await lapse(store, limit: 2)
      #expect(Set(first.tasks + rest.tasks) == out && !rest.more)
      #expect(try await lapse(store).tasks.isEmpty)
      #expect(try await run(store, queued).state == .queued)
      #expect(try await run(store, done).state == .succeeded)
    }
  }

  @Test func aSilentRunIsOverdueOncePastItsLimitAndTheNextWordTakesBothAway() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let (limited, free) = (try await accept(store), try await accept(store))
      try await report(store, [running(limited, deadline: 1000), running(free)])
      #expect(try await !store.read { try FlowLapses.isAnyOverdue($0, deadline: 9999) }, "it is not silent")
      _ = try await lapse(store)
      #expect(try await !store.read { try FlowLapses.isAnyOverdue($0, deadline: 999) })
      #expect(try await store.read { try FlowLapses.isAnyOverdue($0, deadline: 1000) })
      let overdue = try await store.write { try FlowLapses.overdue($0, deadline: 1000, limit: 10) }
      #expect(overdue.map(\.task) == [limited])
      let silent = try await run(store, limited)
      #expect(silent.overdue && silent.state == .unknown)
      // A re-adopted run says it again, and may not know its limit any more.
      let outcome = try await report(store, [running(limited), ReportEvent(.taken, attempt: AttemptID(task: free))], first: 3)
      #expect(outcome.changed.map(\.state) == [.running, .sent])
      #expect(try await !run(store, limited).overdue)
      _ = try await lapse(store)
      #expect(try await store.write { try FlowLapses.overdue($0, deadline: 1000, limit: 10) }.count == 1)
      try await report(store, [ended(limited, .timedOut)], first: 5)
      #expect(try await !run(store, limited).overdue)
    }
  }

  @Test func whatIsOverdueIsFoundWithoutLookingAtEveryRun() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let plan = try await store.read { db in
        try Row.fetchAll(
          db,
          sql: """
            EXPLAIN QUERY PLAN SELECT id FROM runs INDEXED BY runs_overdue
            WHERE state = 'unknown' AND overdue = 0 AND deadline IS NOT NULL AND deadline <= 5 LIMIT 3
            """
        ).map { $0["detail"] as String }
      }
      #expect(plan.contains { $0.contains("SEARCH runs USING") && $0.contains("runs_overdue (deadline") }, "\(plan)")
    }
  }

  @Test func aRunThatWasStartedInTimeDoesNotExpireAndShowsNoWishThatNobodyHad() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      #expect(try await store.write { try FlowEnds.expire($0, deadline: 1000, now: 7, limit: 10) } == 1)
      #expect(try await run(store, task).stopRequestedAt == 7)
      try await report(store, [running(task)])
      #expect(try await run(store, task).stopRequestedAt == nil)
      #expect(try await store.read { try FlowEnds.toEnd($0, limit: 10).runs.isEmpty })
      // A user's wish stays.
      let name = "web-1-\(task)"
      _ = try await store.write { try FlowStops.stop($0, named: name, StopOrder(), now: 8) }
      try await report(store, [running(task)], first: 2)
      #expect(try await run(store, task).stopRequestedAt == 8)
      #expect(try await store.read { try FlowEnds.toEnd($0, limit: 10).runs.count } == 1)
    }
  }

  @Test func aRemovalEndsWhatIsOpenOnceAndFencesTheJournalForGood() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let (sent, queued, done) = (try await accept(store), try await accept(store, sent: false), try await accept(store))
      let hello = Hello(
        projects: ["web"], hostname: "h", address: "a", version: "v", os: "o", arch: "x", startedAt: 0, concurrency: 2,
        httpPort: 1,
        sends: .zero)
      try await report(store, [ReportEvent(.hello, hello: hello), ended(done)])
      let (agent, journal) = (agent, address.journal)
      let closed = try await store.write { try FlowRemoval.remove($0, agent, journals: [journal], by: "10.1.2.3:4", now: 50) }
      #expect(Set(closed.map(\.task)) == [sent, queued])
      for (task, state) in closed {
        #expect(state == .lost)
        let lost = try await run(store, task)
        #expect(lost.state == .lost && lost.finishedAt == 50 && lost.reason == "agent_removed")
        #expect(lost.note?.contains("removed by an operator (from 10.1.2.3:4)") == true)
      }
      #expect(try await run(store, done).state == .succeeded)
      #expect(try await store.read { try AgentQueries.find($0, agent) } == nil)
      #expect(try await store.read { try TargetQueries.members($0, of: "web").isEmpty })
      // Its last words change nothing, and are counted.
      let late = try await report(store, [ended(sent)], first: 3)
      #expect(!late.applied && late.refusedAsRemoved == 1 && late.acknowledgement == nil)
      #expect(try await run(store, sent).state == .lost)
      let frame = OutputFrame(
        agent: agent, from: address, sequence: 1, oldest: 1,
        slices: [OutputSlice(attempt: AttemptID(task: sent), offset: 0, segments: [[1, 1]])], bytes: [65])
      #expect(try await !store.write { try FlowReports.apply($0, frame, now: 1) }.applied)
      // The same name with another journal is welcome.
      let fresh = AgentAddress(journal: Nonce(7), incarnation: Nonce(8))
      #expect(try await report(store, [ReportEvent(.hello, hello: hello)], from: fresh).applied)
      #expect(try await store.read { try AgentQueries.find($0, agent) }?.projects == ["web"])
      #expect(try await report(store, [ended(sent)], first: 4).refusedAsRemoved == 1)
      #expect(try await store.read { try FlowRemoval.fenced($0) } == [agent: [journal]])
    }
  }

  @Test func aRunThatNobodyHereAcceptedIsKeptAsHistoryOnceAndMarked() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let (open, done, cancelled) = (ids.next(), ids.next(), ids.next())
      let tombstone = ReportEvent(
        .ended, attempt: AttemptID(task: cancelled), verdict: Verdict(state: .cancelled), tombstone: true)
      let events = [
        running(open), ended(done, .failed, note: "its own note"), tombstone,
        ReportEvent(.unknown, attempt: AttemptID(task: ids.next())),
      ]
      let outcome = try await report(store, events)
      #expect(outcome.found == 3 && outcome.unknown == 1 && outcome.changed.map(\.state) == [.running, .failed, .cancelled])
      let record = try await run(store, done)
      #expect(record.taskname == "(unknown)" && record.note == "\(FlowFound.note); its own note")
      #expect(record.queuedAt == done.timestampMilliseconds)
      let task = try await store.read { try TaskQueries.find($0, done) }
      #expect(task?.origin == "report" && task?.auuid == "tasks-\(done)" && task?.target == "web-1")
      // The same again, in the same sequence and after the agent's restart under new numbers.
      #expect(try await !report(store, events).applied)
      let again = try await report(store, events, from: AgentAddress(journal: address.journal, incarnation: Nonce(3)))
      #expect(again.applied && again.found == 0 && again.refused == 2 && again.changed.isEmpty)
      #expect(try await run(store, done) == record)
      // It ends like any other.
      #expect(
        try await report(store, [ended(open)], first: 5, from: AgentAddress(journal: address.journal, incarnation: Nonce(3)))
          .applied)
      #expect(try await run(store, open).state == .succeeded)
    }
  }

  @Test func anAgentCannotPutItselfUnderATaskThatWasNotForIt() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let task = try await accept(store)
      try await store.write { try $0.execute(sql: "UPDATE runs SET uuid = 'other'") }
      let outcome = try await report(store, [ended(task)])
      #expect(outcome.found == 0 && outcome.unknown == 1)
      #expect(try await store.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM runs") } == 1)
    }
  }

  @Test func aPlainTaskPutsNoAgentUnderATaskThatWasNotForIt() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let (task, plain) = (try await accept(store), PlainTask(name: Array("n".utf8), command: Array("true".utf8), takenAt: 7))
      try await store.write { try $0.execute(sql: "UPDATE runs SET uuid = 'other'") }
      let word = ReportEvent(.taken, attempt: AttemptID(task: task), plain: plain)
      let outcome = try await report(store, [word])
      #expect(outcome.unknown == 1 && outcome.found == 0 && outcome.changed.isEmpty)
      #expect(try await store.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM runs") } == 1)
      // Nor under another agent's plain task.
      let theirs = ids.next()
      let other = AgentID("web-2")
      _ = try await store.write { try FlowPlain.insert($0, plain, task: theirs, agent: other, now: 1) }
      #expect(
        try await report(store, [ReportEvent(.taken, attempt: AttemptID(task: theirs), plain: plain)], first: 2).unknown == 1)
      let own = ids.next()
      #expect(
        try await report(store, [ReportEvent(.taken, attempt: AttemptID(task: own), plain: plain)], first: 3).changed.count == 1)
    }
  }

  /// Cells that somebody else has written: the program would end at them.
  @Test func aCellThatHoldsSomethingElseIsDamageLikeAnyOther() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let (bad, good) = (try await accept(store), try await accept(store))
      let (agent, unheard) = (agent, ids.next())
      try await store.write { db in
        try db.execute(sql: "UPDATE runs SET attempt = 'many' WHERE task = ?", arguments: [bad.description])
        try db.execute(sql: "UPDATE agents SET hello = '{'")
      }
      let outcome = try await report(store, [running(bad), running(good), running(unheard)])
      #expect(outcome.changed.map(\.task) == [good, unheard] && outcome.found == 1)
      #expect(outcome.damaged.count == 1 && outcome.damaged[0].contains("attempt is \"many\""), "\(outcome.damaged)")
      #expect(try await store.read { try FlowEnds.open($0, [RunID(agent: agent, task: bad)]) }.damaged.count == 1)
      let silent = try await lapse(store, limit: 3)
      #expect(Set(silent.tasks) == [good, unheard] && silent.damaged.count == 1)
      // Nothing but what is damaged: it is not looked for without end.
      let rest = try await lapse(store, limit: 1)
      #expect(rest.tasks.isEmpty && !rest.more && rest.damaged.count == 1)
      // The agent is shown, and can be removed, without what it said of itself.
      let shown = try await store.read { try AgentQueries.find($0, agent) }
      #expect(shown != nil && shown?.hello == nil)
      try await store.write { try $0.execute(sql: "UPDATE agents SET reports = 'none'") }
      let last = try await report(store, [ended(good)], first: 4)
      #expect(!last.applied && last.acknowledgement == nil && last.damaged.count == 1)
    }
  }

  @Test func aDamagedRowIsLeftOutAndEverythingElseGoesOn() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let (bad, good) = (try await accept(store), try await accept(store))
      let (spoilt, waiting) = (try await accept(store, sent: false), try await accept(store, sent: false))
      try await store.write { db in
        try db.execute(sql: "UPDATE runs SET state = 'nonsense' WHERE task = ?", arguments: [bad.description])
        try db.execute(sql: "UPDATE tasks SET spec = '{' WHERE id = ?", arguments: [spoilt.description])
      }
      let outcome = try await report(store, [running(bad), ended(good)])
      #expect(outcome.applied && outcome.acknowledgement?.reports == 2 && outcome.changed.map(\.task) == [good])
      #expect(outcome.damaged.count == 1 && outcome.damaged[0].contains("'nonsense'"))
      let agent = agent
      let marking = try await store.write { try FlowMarks.mark($0, agent, limit: 10, now: 1) }
      #expect(marking.marked.map(\.task) == [waiting] && marking.damaged.count == 1)
      // A task id that is none, among those that are to end.
      try await store.write { db in
        try db.execute(
          sql: "UPDATE runs SET wants_end = 'cancelled', task = 'x' || task WHERE task = ?", arguments: [spoilt.description])
        try db.execute(sql: "UPDATE runs SET wants_end = 'cancelled' WHERE task = ?", arguments: [waiting.description])
      }
      var (found, damaged, next): ([ULID], Int, OpenPage.Cursor?) = ([], 0, nil)
      repeat {
        let after = next
        let page = try await store.read { try FlowEnds.toEnd($0, after: after, limit: 1) }
        found += page.runs.map(\.task)
        damaged += page.damaged.count
        next = page.next
      } while next != nil
      #expect(found == [waiting] && damaged == 1)
    }
  }

  @Test func damageIsLoggedOnceAndStaysInHealth() {
    let health = HealthBoard()
    let lines = LinesLog()
    let book = DamageBook(health: health, logger: lines.logger)
    book.found([])
    #expect(health.warnings.isEmpty)
    book.found(["run 1: odd", "run 2: odd"])
    book.found(["run 1: odd"])
    #expect(lines.errors == 2)
    #expect(health.warnings.count == 1 && health.warnings[0].hasPrefix("2 damaged rows"), "\(health.warnings)")
  }
}
