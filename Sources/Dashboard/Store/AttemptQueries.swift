// Reading a run's attempts. Each is shown as the run with that attempt's values in it, so that logs and lists need not know more than runs.

import GRDB
import Shared

enum AttemptQueries {
  /// All of them in order, the present one last.
  static func all(_ db: Database, _ run: RunRecord) throws -> [RunRecord] {
    guard run.attempt > 1 else { return [run] }
    let sql = "SELECT attempt, state, \(FlowAttempts.columns) FROM attempts WHERE run = ? AND attempt < ? ORDER BY attempt"
    let rows = try Row.fetchAll(try db.cachedStatement(sql: sql), arguments: [run.row, run.attempt])
    return try rows.map { try read($0, run) } + [run]
  }

  /// One of them; nil where there is none (yet).
  static func find(_ db: Database, _ run: RunRecord, _ attempt: Int) throws -> RunRecord? {
    guard attempt != run.attempt else { return run }
    let sql = "SELECT attempt, state, \(FlowAttempts.columns) FROM attempts WHERE run = ? AND attempt = ? AND attempt < ?"
    let row = try Row.fetchOne(try db.cachedStatement(sql: sql), arguments: [run.row, attempt, run.attempt])
    return try row.map { try read($0, run) }
  }

  /// The newest one that was started: while the next one waits, the one before it.
  static func newestStarted(_ db: Database, _ run: RunRecord) throws -> RunRecord {
    let waits = !run.state.isVerdict && run.state != .running
    guard run.attempt > 1, waits, run.startedAt == nil, run.outputStored == 0 else { return run }
    return try find(db, run, run.attempt - 1) ?? run
  }

  private static func read(_ row: Row, _ run: RunRecord) throws -> RunRecord {
    let word: String = try row.cell(1)
    guard let state = RunState(rawValue: word) else { throw StoredFault("attempt of run \(run.row): state '\(word)'") }
    var shown = run
    shown.attempt = try row.cell(0)
    shown.state = state
    shown.exitCode = try row.cell(2)
    shown.signal = try row.cell(3)
    shown.reason = try row.cell(4)
    shown.note = try row.cell(5)
    shown.sentAt = try row.cell(6)
    shown.startedAt = try row.cell(7)
    shown.finishedAt = try row.cell(8)
    shown.outputBytes = try row.cell(9)
    shown.outputStored = try row.cell(10)
    shown.droppedBytes = try row.cell(11)
    shown.droppedFrom = try row.cell(12)
    shown.stdoutSha256 = try row.cell(13)
    shown.stderrSha256 = try row.cell(14)
    shown.signalled = try row.cell(15)
    shown.left = try row.cell(16)
    shown.nextAttemptAt = nil
    return shown
  }
}
