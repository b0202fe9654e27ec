// Runs that are to end, that are silent, or that have to be put to their agents: what the reconciler looks for, and ends in the store alone.
import GRDB
import Shared

/// An open run with its agent, as the reconciler sees it.
struct OpenRun: Sendable {
  var agent: AgentID
  var task: ULID
  var attempt: Int
  var knowledge: RunKnowledge
  /// How it is to be ended, where somebody said.
  var stop = StopOrder()
}

/// Some of the runs that want attention, in the order of agent and task.
struct OpenPage: Sendable {
  struct Cursor: Sendable {
    var agent: String
    var task: String
  }
  var runs: [OpenRun] = []
  /// Where the next page begins; nil on the last one.
  var next: Cursor?
  /// Rows that this program cannot have written: left out.
  var damaged: [String] = []
}

enum FlowEnds {
  private static let columns = "uuid, task, stop_signal, stop_grace, \(RunRow.columns)"

  private static func read(_ row: Row) throws -> OpenRun {
    let name: String = try row.cell(1)
    guard let task = ULID(name) else { throw StoredFault("a run's task id is '\(name)'") }
    let run = try RunRow(row, from: 4)
    return try OpenRun(
      agent: AgentID(row.cell(0)), task: task, attempt: run.attempt, knowledge: run.knowledge,
      stop: StopOrder(signal: row.cell(2), grace: row.cell(3)))
  }

  private static func page(_ rows: [Row], limit: Int) -> OpenPage {
    var page = OpenPage()
    for row in rows {
      do { page.runs.append(try read(row)) } catch { page.damaged.append("\(error)") }
    }
    if rows.count == limit, let last = rows.last { page.next = OpenPage.Cursor(agent: last[0], task: last[1]) }
    return page
  }

  /// Those of these runs that are open.
  static func open(_ db: Database, _ runs: [RunID]) throws -> OpenPage {
    let statement = try db.cachedStatement(
      sql: """
        SELECT \(columns) FROM runs WHERE task = ? AND uuid = ? AND state IN ('queued', 'sent', 'running', 'unknown')
        """)
    return page(
      try runs.compactMap { try Row.fetchOne(statement, arguments: [$0.task.description, $0.agent.text]) }, limit: .max)
  }

  /// Open runs that somebody wants ended, or that are a matter of a new journal, in the order of agent and task.
  /// - Parameter after: where the page before ended; nil for the first page.
  static func toEnd(_ db: Database, after: OpenPage.Cursor? = nil, limit: Int) throws -> OpenPage {
    let rows = try Row.fetchAll(
      db,
      sql: """
        SELECT \(columns) FROM runs INDEXED BY runs_to_end
        WHERE state IN ('queued', 'sent', 'running', 'unknown') AND (wants_end IS NOT NULL OR closing = 1)
          AND (uuid, task) > (?, ?) ORDER BY uuid, task LIMIT ?
        """, arguments: [after?.agent ?? "", after?.task ?? "", limit])
    return page(rows, limit: limit)
  }

  /// Runs that are marked as sent and of which no agent has said a word; pages as in `toEnd`.
  static func unreported(_ db: Database, after: OpenPage.Cursor? = nil, limit: Int) throws -> OpenPage {
    let rows = try Row.fetchAll(
      db,
      sql: """
        SELECT \(columns) FROM runs INDEXED BY runs_unreported WHERE state = 'sent' AND reported = 0
          AND (uuid, task) > (?, ?) ORDER BY uuid, task LIMIT ?
        """, arguments: [after?.agent ?? "", after?.task ?? "", limit])
    return page(rows, limit: limit)
  }

  /// An agent's runs that may be out.
  static func out(_ db: Database, _ agent: AgentID) throws -> Set<ULID> {
    let tasks = try String.fetchAll(
      db, sql: "SELECT task FROM runs WHERE uuid = ? AND state IN ('sent', 'running', 'unknown')", arguments: [agent.text])
    return Set(tasks.compactMap { ULID($0) })
  }

  /// Agents that have runs waiting in the store, and agents that have runs out.
  static func busyAgents(_ db: Database) throws -> Set<AgentID> {
    let names = try String.fetchAll(
      db, sql: "SELECT DISTINCT uuid FROM runs INDEXED BY runs_by_state WHERE state IN ('queued', 'sent', 'running', 'unknown')")
    return Set(names.map { AgentID($0) })
  }

  /// Asks for the end of runs whose time to start has passed. Returns their number.
  /// - Parameters:
  ///   - deadline: the present moment by the clock for deadlines, in which `start_before` is written.
  ///   - now: the wall clock, for people.
  static func expire(_ db: Database, deadline: Int64, now: Int64, limit: Int) throws -> Int {
    try db.execute(
      sql: """
        UPDATE runs SET wants_end = 'expired', stop_requested_at = coalesce(stop_requested_at, ?) WHERE id IN (
          SELECT id FROM runs INDEXED BY runs_to_start WHERE state IN ('queued', 'sent') AND start_before <= ? AND wants_end IS NULL LIMIT ?)
        """, arguments: [now, deadline, limit])
    return db.changesCount
  }

  /// Ends a run that was never sent, if that is still so. A tombstone stands in Redis (rule `tombFirst`), and says as what: `knowledge.tomb`.
  static func endAlone(_ db: Database, _ run: OpenRun, now: Int64) throws -> RunState? {
    guard let tomb = run.knowledge.tomb, var row = try RunRow.fetch(db, task: run.task, agent: run.agent),
      row.attempt == run.attempt
    else { return nil }
    return try endAlone(db, &row, tomb, now: now)
  }

  /// The same of a run whose agent is removed: nothing is sent to it any more.
  static func endForGood(_ db: Database, task: ULID, agent: AgentID, now: Int64) throws -> RunState? {
    guard var row = try RunRow.fetch(db, task: task, agent: agent) else { return nil }
    let cause = row.knowledge.wantsEnd ?? .cancelled
    row.knowledge.wantsEnd = cause
    return try endAlone(db, &row, cause, now: now)
  }

  private static func endAlone(_ db: Database, _ row: inout RunRow, _ tomb: EndCause, now: Int64) throws -> RunState? {
    let attempt = row.attempt
    row.knowledge.tomb = tomb
    let circumstances = RunCircumstances(agentLives: false, compared: true, silent: false, room: false)
    guard case .endAlone(let verdict) = row.knowledge.due(circumstances) else { return nil }
    row.knowledge.endAlone(verdict)
    if row.knowledge.attempt < attempt {
      try FlowAttempts.goBack(db, &row, to: row.knowledge.attempt)
      try FlowAttempts.note(db, row.id, "attempt \(attempt) was cancelled before it was sent")
    } else {
      try db.execute(sql: "UPDATE runs SET finished_at = ? WHERE id = ?", arguments: [now, row.id])
    }
    try row.saveKnowledge(db)
    return verdict
  }
}
