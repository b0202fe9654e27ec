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

/// Specs that were read for one transaction's marks: each task's once, however many hosts it goes to, and no more than may wait in memory until
/// they are sent.
final class SpecShelf {
  private let limit: Int
  private var specs: [String: TaskSpec] = [:]
  private var bytes = 0
  var isFull: Bool { bytes >= limit }

  init(limit: Int = 8 << 20) { self.limit = limit }

  /// - Throws: `StoredFault`.
  func spec(_ db: Database, of task: String) throws -> TaskSpec {
    if let spec = specs[task] { return spec }
    let sql = "SELECT spec FROM tasks WHERE id = ?"
    guard let row = try Row.fetchOne(try db.cachedStatement(sql: sql), arguments: [task]) else {
      throw StoredFault("task \(task): it has runs and is not there")
    }
    let text: String = try row.cell(0)
    let spec: TaskSpec
    do { spec = try JSONCoder.decode(TaskSpec.self, from: Array(text.utf8)) } catch {
      throw StoredFault("task \(task): what it is to do cannot be read: \(error)")
    }
    specs[task] = spec
    bytes += text.utf8.count
    return spec
  }
}

enum FlowMarks {
  /// The next mark of an agent, its number written in this transaction: for a run that is inserted as `sent` right after.
  static func next(_ db: Database, _ agent: AgentID, now: Int64) throws -> SendMark {
    var row = try AgentRow.fetch(db, agent, now: now)
    let mark = row.knowledge.nextMark()
    try row.saveNumber(db)
    return mark
  }

  /// Marks up to `limit` queued runs of an agent, oldest first, while there is room on the shelf; not those that wait for the delay before their
  /// next attempt.
  static func mark(_ db: Database, _ agent: AgentID, limit: Int, now: Int64, shelf: SpecShelf = SpecShelf()) throws
    -> Marking
  {
    guard limit > 0 else { return Marking(more: true) }
    let rows = try Row.fetchAll(
      try db.cachedStatement(
        sql: """
          SELECT id, task, attempt, start_before FROM runs INDEXED BY runs_to_mark
          WHERE uuid = ? AND state = 'queued' AND held = 0 AND wants_end IS NULL ORDER BY task LIMIT ?
          """), arguments: [agent.text, limit + 1])
    var row = try AgentRow.fetch(db, agent, now: now)
    let update = try db.cachedStatement(sql: "UPDATE runs SET state = 'sent', number = ?, sent_at = ? WHERE id = ?")
    var marking = Marking(more: rows.count > limit)
    for run in rows.prefix(limit) {
      if shelf.isFull {
        marking.more = true
        break
      }
      do {
        var knowledge = row.knowledge
        let next = try read(db, run, knowledge.nextMark(), shelf)
        row.knowledge = knowledge
        try update.execute(arguments: [next.mark.number.raw, now, try run.cell(0) as Int64])
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
        SELECT id, task, attempt, start_before FROM runs
        WHERE task = ? AND uuid = ? AND state = 'sent' AND wants_end IS NULL AND closing = 0 AND held = 0
        """)
    let mark = try AgentRow.mark(db, agent)
    var marking = Marking()
    let shelf = SpecShelf()
    for task in tasks.sorted() {
      guard let run = try Row.fetchOne(statement, arguments: [task.description, agent.text]) else { continue }
      do { marking.marked.append(try read(db, run, mark, shelf)) } catch let fault as StoredFault {
        marking.damaged.append(fault.description)
      }
    }
    return marking
  }

  private static func read(_ db: Database, _ row: Row, _ mark: SendMark, _ shelf: SpecShelf) throws -> MarkedRun {
    let (id, name): (Int64, String) = try (row.cell(0), row.cell(1))
    guard let task = ULID(name) else { throw StoredFault("run \(id): task id '\(name)'") }
    return try MarkedRun(
      task: task, attempt: row.cell(2), spec: shelf.spec(db, of: name), mark: mark, startBefore: row.cell(3))
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
