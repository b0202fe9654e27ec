// Asking for the end of runs: what a user's kill changes in the store. How they end is the flow's matter (`RunFlow`, `Attendant`).
import GRDB
import Shared

/// What became of a kill.
enum StopOutcome: Sendable {
  case asked(RunRecord)
  /// It has its verdict: nothing changed.
  case endedAlready(RunRecord)
}

/// What became of a kill of a whole task.
struct TaskStop: Sendable {
  var task: TaskRecord
  var counts: [RunState: Int]
  var asked: [RunID]
  /// Those of them that were never sent.
  var unsent: [RunID]
  /// The last of them, where all have their verdicts.
  var lastFinishedAt: Int64?
}

enum FlowStops {
  /// One run, by its `auuid` or alias. Nil where there is none.
  static func stop(_ db: Database, named name: String, _ order: StopOrder, now: Int64) throws -> StopOutcome? {
    guard let run = try RunQueries.find(db, named: name) else { return nil }
    guard !run.state.isVerdict else { return .endedAlready(run) }
    try ask(db, run: run.row, order, now: now)
    return try RunQueries.find(db, run.id).map { .asked($0) }
  }

  /// Every open run of a task, by its id, its `auuid` or that of a run. Nil where there is none.
  static func stopTask(_ db: Database, named name: String, _ order: StopOrder, now: Int64) throws -> TaskStop? {
    guard let task = try TaskQueries.find(db, named: name) else { return nil }
    let open = try Row.fetchAll(
      try db.cachedStatement(
        sql: "SELECT id, uuid, state FROM runs WHERE task = ? AND state IN ('queued', 'sent', 'running', 'unknown') ORDER BY uuid"
      ),
      arguments: [task.id.description])
    for run in open { try ask(db, run: run[0], order, now: now) }
    let last = try Int64.fetchOne(
      try db.cachedStatement(sql: "SELECT max(finished_at) FROM runs WHERE task = ?"), arguments: [task.id.description])
    func ids(_ rows: some Sequence<Row>) -> [RunID] { rows.map { RunID(agent: AgentID($0[1] as String), task: task.id) } }
    return TaskStop(
      task: task, counts: try TaskQueries.counts(db, task.id), asked: ids(open),
      unsent: ids(open.lazy.filter { $0[2] == RunState.queued.rawValue }), lastFinishedAt: open.isEmpty ? last : nil)
  }

  /// A user's wish goes before an expiry: a run that turns out to have been started in time is ended all the same.
  private static func ask(_ db: Database, run: Int64, _ order: StopOrder, now: Int64) throws {
    let row = try Row.fetchOne(
      try db.cachedStatement(sql: "SELECT wants_end, stop_signal, stop_grace FROM runs WHERE id = ?"), arguments: [run])
    var present = StopOrder()
    if let row, row[0] as String? == EndCause.cancelled.rawValue { present = StopOrder(signal: row[1], grace: row[2]) }
    let whole = present.followed(by: order)
    try db.cachedStatement(
      sql: """
        UPDATE runs SET wants_end = 'cancelled', stop_requested_at = coalesce(stop_requested_at, ?), stop_signal = ?, stop_grace = ?
        WHERE id = ?
        """
    ).execute(arguments: [now, whole.signal, whole.grace, run])
  }
}
