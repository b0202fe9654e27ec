// Runs whose agents are silent: `unknown` when the lease lapsed, and `overdue` beside it once their time limit has passed. Neither is a
// verdict; the agent's next word about a run takes both away (FlowReports).
import GRDB
import Shared

enum FlowLapses {
  /// What `lapse` found.
  struct Lapse {
    var tasks: [ULID] = []
    /// There may be more.
    var more = false
    /// Rows that this program cannot have written: left as they are.
    var damaged: [String] = []
  }

  /// Makes up to `limit` runs of an agent that may be out `unknown`.
  static func lapse(_ db: Database, _ agent: AgentID, limit: Int) throws -> Lapse {
    let rows = try Row.fetchAll(
      try db.cachedStatement(
        sql: """
          SELECT task, \(RunRow.columns) FROM runs INDEXED BY runs_by_agent_state
          WHERE uuid = ? AND state IN ('sent', 'running') LIMIT ?
          """), arguments: [agent.text, limit])
    var lapse = Lapse()
    for row in rows {
      do {
        let name: String = try row.cell(0)
        guard let task = ULID(name) else { throw StoredFault("a run's task id is '\(name)'") }
        var run = try RunRow(row, from: 1)
        guard run.knowledge.agentLapsed() else { continue }
        try run.saveKnowledge(db)
        lapse.tasks.append(task)
      } catch let fault as StoredFault { lapse.damaged.append(fault.description) }
    }
    // A look that changed nothing would find the same again.
    lapse.more = rows.count == limit && !lapse.tasks.isEmpty
    return lapse
  }

  /// Its agent said something of the run: it is silent no longer. A wish for its end that was dropped (`RunFlow`) is not shown either.
  static func spokenOf(_ db: Database, _ run: RunRow) throws {
    try db.cachedStatement(
      sql: """
        UPDATE runs SET overdue = 0, stop_requested_at = CASE WHEN wants_end IS NULL THEN NULL ELSE stop_requested_at END
        WHERE id = ? AND (overdue = 1 OR (wants_end IS NULL AND stop_requested_at IS NOT NULL))
        """
    ).execute(arguments: [run.id])
  }

  /// Whether `overdue` would find one: most seconds it would not, and a look costs no write.
  static func isAnyOverdue(_ db: Database, deadline now: Int64) throws -> Bool {
    try Bool.fetchOne(
      try db.cachedStatement(
        sql: """
          SELECT EXISTS (SELECT 1 FROM runs INDEXED BY runs_overdue
            WHERE state = 'unknown' AND overdue = 0 AND deadline IS NOT NULL AND deadline <= ?)
          """), arguments: [now]) ?? false
  }

  /// Notes which silent runs are past their time limit.
  /// - Parameter now: the clock for deadlines.
  static func overdue(_ db: Database, deadline now: Int64, limit: Int) throws -> [RunID] {
    try Row.fetchAll(
      try db.cachedStatement(
        sql: """
          UPDATE runs SET overdue = 1 WHERE id IN (
            SELECT id FROM runs INDEXED BY runs_overdue
            WHERE state = 'unknown' AND overdue = 0 AND deadline IS NOT NULL AND deadline <= ? LIMIT ?)
          RETURNING uuid, task
          """), arguments: [now, limit]
    ).compactMap { row in ULID(row[1] as String).map { RunID(agent: AgentID(row[0] as String), task: $0) } }
  }
}
