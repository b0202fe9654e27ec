// Reading runs: one, a task's, and pages of all.
//
// Pages are newest first, by (task, row), and never skip: each query walks one index backwards from where the last page ended, and each index
// begins with what is filtered by. So each state is asked for by itself, also where any will do, and the answers are merged: SQLite would
// sort them all otherwise.

import GRDB
import Shared

/// A run as the store holds it, with its task's name.
struct RunRecord: Sendable, Equatable {
  var row: Int64
  var id: RunID
  var project: String?
  var taskname: String
  /// JSON list, as stored.
  var args: String?
  var state: RunState
  var attempt: Int
  var exitCode: Int?
  var signal: String?
  var reason: String?
  var overdue: Bool
  var queuedAt: Int64
  var sentAt: Int64?
  var startedAt: Int64?
  var finishedAt: Int64?
  var stopRequestedAt: Int64?
  var outputBytes: Int64
  var outputStored: Int64
  var droppedBytes: Int64
  var droppedFrom: Int64?
  var stdoutSha256: String?
  var stderrSha256: String?
  var signalled: Int
  var left: Int
  var note: String?
  /// Attempts after the first that the task asked for.
  var retries: Int
  /// The run waits for its next attempt at least until then.
  var nextAttemptAt: Int64?

  /// The verdict is there, and so is all the output that was kept.
  var isComplete: Bool {
    guard state.isVerdict else { return false }
    if outputStored >= outputBytes { return true }
    guard droppedBytes > 0, let droppedFrom else { return false }
    return outputStored >= droppedFrom && droppedFrom + droppedBytes >= outputBytes
  }
}

/// Which runs, or the runs of which tasks.
struct RunFilter: Sendable, Equatable {
  /// Empty: any.
  var states: [RunState] = []
  var project: String?
  var uuid: String?
  var task: ULID?
  /// Bounds on the time of acceptance, milliseconds since 1970: from `since` on, before `until`.
  var since: Int64?
  var until: Int64?

  /// The states to ask for, one after the other; nil: any at once.
  var ranges: [RunState?] {
    if !states.isEmpty { return states }
    return task == nil && (uuid != nil || project != nil) ? RunState.allCases : [nil]
  }

  /// The index of which one range is what is asked for. A task's runs are few enough.
  func index(for state: RunState?) -> String {
    guard state != nil else { return "" }
    if task != nil { return uuid == nil ? "INDEXED BY runs_by_state" : "" }
    if uuid != nil { return "INDEXED BY runs_by_agent_state" }
    return project != nil ? "INDEXED BY runs_by_project_state" : "INDEXED BY runs_by_state"
  }

  /// Conditions on `runs`, beginning with one that always holds.
  func conditions(for state: RunState?) -> (sql: String, arguments: StatementArguments) {
    var sql = "1"
    var arguments = StatementArguments()
    func add(_ condition: String, _ value: (any DatabaseValueConvertible)?) {
      guard let value else { return }
      sql += " AND " + condition
      arguments += [value]
    }
    add("state = ?", state?.rawValue)
    add("project = ?", project)
    add("uuid = ?", uuid)
    add("task = ?", task?.description)
    add("task >= ?", since.map { ULID.first(ofMillisecond: $0).description })
    add("task < ?", until.map { ULID.first(ofMillisecond: $0).description })
    return (sql, arguments)
  }
}

enum RunQueries {
  static let columns = """
    runs.id, runs.task, runs.uuid, runs.project, tasks.taskname, tasks.args, runs.state, runs.attempt, runs.exit_code, runs.signal,
    runs.reason, runs.overdue, runs.queued_at, runs.sent_at, runs.started_at, runs.finished_at, runs.stop_requested_at,
    runs.output_bytes, runs.output_stored, runs.dropped_bytes, runs.dropped_from, runs.stdout_sha256, runs.stderr_sha256,
    runs.signalled, runs.remaining, runs.note, runs.retries, CASE WHEN runs.held THEN runs.not_before END
    """
  private static let from = "FROM runs JOIN tasks ON tasks.id = runs.task"

  static func find(_ db: Database, _ id: RunID) throws -> RunRecord? {
    let statement = try db.cachedStatement(sql: "SELECT \(columns) \(from) WHERE runs.task = ? AND runs.uuid = ?")
    return try Row.fetchOne(statement, arguments: [id.task.description, id.agent.text]).map(read)
  }

  /// An `auuid`, or an alias `<uuid><name>`: then its newest run.
  static func find(_ db: Database, named text: String) throws -> RunRecord? {
    if let id = RunID(text), let run = try find(db, id) { return run }
    let statement = try db.cachedStatement(sql: "SELECT \(columns) \(from) WHERE runs.alias = ? ORDER BY runs.task DESC LIMIT 1")
    return try Row.fetchOne(statement, arguments: [text]).map(read)
  }

  /// A task's runs by uuid.
  /// - Parameter after: only those with a greater uuid.
  static func ofTask(_ db: Database, _ task: ULID, after: String = "", limit: Int) throws -> [RunRecord] {
    let statement = try db.cachedStatement(
      sql: "SELECT \(columns) \(from) WHERE runs.task = ? AND runs.uuid > ? ORDER BY runs.uuid LIMIT ?")
    return try Row.fetchAll(statement, arguments: [task.description, after, limit]).map(read)
  }

  /// Those runs of a task that have no verdict yet, or not yet all of their output.
  static func incomplete(_ db: Database, _ task: ULID) throws -> [(agent: AgentID, state: RunState)] {
    let statement = try db.cachedStatement(
      sql: """
        SELECT uuid, state FROM runs WHERE task = ? AND (state IN ('queued', 'sent', 'running', 'unknown') OR
          (output_stored < output_bytes AND NOT (dropped_bytes > 0 AND output_stored >= dropped_from
            AND dropped_from + dropped_bytes >= output_bytes)))
        """)
    return try Row.fetchAll(statement, arguments: [task.description]).compactMap { row in
      RunState(rawValue: row[1] as String).map { (AgentID(row[0] as String), $0) }
    }
  }

  /// Where a page ends.
  struct Cursor: Sendable, Equatable, Comparable {
    var task: String
    var row: Int64
    static func < (left: Cursor, right: Cursor) -> Bool { (left.task, left.row) < (right.task, right.row) }
  }

  /// One page, newest first. `next` is nil on the last one.
  static func page(_ db: Database, _ filter: RunFilter, after: Cursor?, limit: Int) throws -> (runs: [RunRecord], next: Cursor?) {
    var found: [Cursor] = []
    for state in filter.ranges {
      var (conditions, arguments) = filter.conditions(for: state)
      if let after {
        conditions += " AND (task, id) < (?, ?)"
        arguments += [after.task, after.row]
      }
      arguments += [limit + 1]
      let sql = "SELECT task, id FROM runs \(filter.index(for: state)) WHERE \(conditions) ORDER BY task DESC, id DESC LIMIT ?"
      found += try Row.fetchAll(try db.cachedStatement(sql: sql), arguments: arguments).map { Cursor(task: $0[0], row: $0[1]) }
    }
    if filter.ranges.count > 1 { found.sort(by: >) }
    let page = found.prefix(limit)
    let statement = try db.cachedStatement(sql: "SELECT \(columns) \(from) WHERE runs.id = ?")
    let runs = try page.compactMap { try Row.fetchOne(statement, arguments: [$0.row]).map(read) }
    return (runs, found.count > limit ? page.last : nil)
  }

  private static func read(_ row: Row) throws -> RunRecord {
    let (id, name, word): (Int64, String, String) = try (row.cell(0), row.cell(1), row.cell(6))
    guard let task = ULID(name), let state = RunState(rawValue: word) else {
      throw StoredFault("run \(id) has the task '\(name)' and the state '\(word)'")
    }
    return try RunRecord(
      row: id, id: RunID(agent: AgentID(row.cell(2)), task: task), project: row.cell(3), taskname: row.cell(4), args: row.cell(5),
      state: state, attempt: row.cell(7), exitCode: row.cell(8), signal: row.cell(9), reason: row.cell(10), overdue: row.cell(11),
      queuedAt: row.cell(12), sentAt: row.cell(13), startedAt: row.cell(14), finishedAt: row.cell(15),
      stopRequestedAt: row.cell(16), outputBytes: row.cell(17), outputStored: row.cell(18), droppedBytes: row.cell(19),
      droppedFrom: row.cell(20), stdoutSha256: row.cell(21), stderrSha256: row.cell(22), signalled: row.cell(23),
      left: row.cell(24), note: row.cell(25), retries: row.cell(26), nextAttemptAt: row.cell(27))
  }
}

extension ULID {
  /// Sorts before every id of that millisecond. Times that no id can have are held at the bounds.
  static func first(ofMillisecond time: Int64) -> ULID {
    let bounded = UInt64(Swift.min(Swift.max(time, 0), 1 << 48 - 1))
    var bytes = [UInt8](repeating: 0, count: 16)
    for index in 0..<6 { bytes[index] = UInt8(truncatingIfNeeded: bounded >> UInt64(40 - 8 * index)) }
    return ULID(bytes: bytes) ?? .min
  }
}
