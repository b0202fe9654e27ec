// Marking runs as sent, each with its agent's next send number, before the send script may see them (DESIGN section 3, step 2).
import GRDB
import Shared

/// What marking an agent's queued runs brought.
struct Marking: Sendable {
  var marked: [MarkedRun] = []
  /// More are waiting.
  var more = false
  /// Rows that this program cannot have written: left as they are.
  var damaged: [String] = []
}

enum FlowMarks {
  /// The next mark of an agent, its number written in this transaction: for a run that is inserted as `sent` right after.
  static func next(_ db: Database, _ agent: AgentID, now: Int64) throws -> SendMark {
    var row = try AgentRow.fetch(db, agent, now: now)
    let mark = row.knowledge.nextMark()
    try row.saveNumber(db)
    return mark
  }

  /// Marks up to `limit` queued runs of an agent, oldest first; not those that wait for the delay before their next attempt.
  static func mark(_ db: Database, _ agent: AgentID, limit: Int, now: Int64) throws -> Marking {
    guard limit > 0 else { return Marking(more: true) }
    let rows = try Row.fetchAll(
      try db.cachedStatement(
        sql: """
          SELECT runs.id, runs.task, runs.attempt, tasks.spec, runs.start_before FROM runs INDEXED BY runs_to_mark JOIN tasks ON tasks.id = runs.task
          WHERE runs.uuid = ? AND runs.state = 'queued' AND runs.held = 0 AND runs.wants_end IS NULL ORDER BY runs.task LIMIT ?
          """), arguments: [agent.text, limit + 1])
    var row = try AgentRow.fetch(db, agent, now: now)
    let update = try db.cachedStatement(sql: "UPDATE runs SET state = 'sent', number = ?, sent_at = ? WHERE id = ?")
    var marking = Marking(more: rows.count > limit)
    for run in rows.prefix(limit) {
      do {
        var knowledge = row.knowledge
        let next = try read(run, knowledge.nextMark())
        row.knowledge = knowledge
        try update.execute(arguments: [next.mark.number.raw, now, run[0] as Int64])
        marking.marked.append(next)
      } catch let fault as StoredFault { marking.damaged.append(fault.description) }
    }
    if !marking.marked.isEmpty { try row.saveNumber(db) }
    return marking
  }

  /// Runs that are to be sent (again): marked before, denied by the agent since.
  static func load(_ db: Database, _ agent: AgentID, tasks: Set<ULID>) throws -> Marking {
    let statement = try db.cachedStatement(
      sql: """
        SELECT runs.id, runs.task, runs.attempt, tasks.spec, runs.start_before FROM runs JOIN tasks ON tasks.id = runs.task
        WHERE runs.task = ? AND runs.uuid = ? AND runs.state = 'sent' AND runs.wants_end IS NULL AND runs.closing = 0 AND runs.held = 0
        """)
    let mark = try AgentRow.mark(db, agent)
    var marking = Marking()
    for task in tasks.sorted() {
      guard let run = try Row.fetchOne(statement, arguments: [task.description, agent.text]) else { continue }
      do { marking.marked.append(try read(run, mark)) } catch let fault as StoredFault {
        marking.damaged.append(fault.description)
      }
    }
    return marking
  }

  private static func read(_ row: Row, _ mark: SendMark) throws -> MarkedRun {
    let (id, text) = (row[0] as Int64, row[3] as String)
    guard let task = ULID(row[1] as String) else { throw StoredFault("run \(id): task id '\(row[1] as String)'") }
    let spec: TaskSpec
    do { spec = try JSONCoder.decode(TaskSpec.self, from: Array(text.utf8)) } catch {
      throw StoredFault("run \(id): what it is to do cannot be read: \(error)")
    }
    return MarkedRun(task: task, attempt: row[2], spec: spec, mark: mark, startBefore: row[4])
  }

  /// Runs of an agent that are out: `sent` or `running`.
  static func outstanding(_ db: Database, _ agent: AgentID) throws -> Int {
    try Int.fetchOne(
      try db.cachedStatement(
        sql: """
          SELECT count(*) FROM runs INDEXED BY runs_by_agent_state WHERE uuid = ? AND state IN ('sent', 'running', 'unknown')
          """),
      arguments: [agent.text]) ?? 0
  }

  /// The send script met a tombstone: as if the user had cancelled (rule `heed`).
  static func refused(_ db: Database, _ agent: AgentID, _ task: ULID, now: Int64) throws {
    guard var row = try RunRow.fetch(db, task: task, agent: agent), row.knowledge.isOpen else { return }
    row.knowledge.sendRefused()
    try row.saveKnowledge(db)
    try db.cachedStatement(sql: "UPDATE runs SET stop_requested_at = coalesce(stop_requested_at, ?) WHERE id = ?")
      .execute(arguments: [now, row.id])
  }
}
