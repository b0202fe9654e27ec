// How a run goes from one attempt to another in the store (RunFlow+Attempts decides): its row holds the present attempt, table `attempts` the
// others. When adding a column that tells how an attempt ended, also: `columns` here, and the same column in both tables.
import GRDB
import Shared

enum FlowAttempts {
  /// What stands in both tables.
  static let columns = """
    exit_code, signal, reason, note, sent_at, started_at, finished_at, output_bytes, output_stored, dropped_bytes, dropped_from,
    stdout_sha256, stderr_sha256, signalled, remaining
    """

  /// What the rest of the dashboard has to know when a run goes on with another attempt.
  struct Move: Sendable, Equatable {
    var task: ULID
    var attempt: Int
    /// The delay before it; nil: none.
    var wait: Duration?
  }

  /// Puts the present attempt aside and makes `next` the present one. The row's state is written by `RunRow.saveKnowledge`.
  /// - Parameters:
  ///   - state: how the present one ended; `.unknown` where this store cannot know.
  ///   - notBefore: end of the delay by the clock for deadlines.
  static func advance(_ db: Database, _ run: inout RunRow, to next: Int, state: RunState, notBefore: Int64? = nil) throws {
    try db.cachedStatement(
      sql: """
        INSERT OR REPLACE INTO attempts (run, attempt, state, \(columns)) SELECT id, attempt, ?, \(columns) FROM runs WHERE id = ?
        """
    ).execute(arguments: [state.rawValue, run.id])
    if next - run.attempt > 1 {
      for missed in run.attempt + 1..<next {
        try db.execute(
          sql: "INSERT OR IGNORE INTO attempts (run, attempt, state) VALUES (?, ?, ?)",
          arguments: [run.id, missed, RunState.unknown.rawValue])
      }
    }
    // The time to start is the first attempt's alone. NULL: not marked by this store.
    try db.cachedStatement(
      sql: """
        UPDATE runs SET attempt = ?, number = NULL, start_before = NULL, not_before = ?, overdue = 0, deadline = NULL, exit_code = NULL, signal = NULL,
          reason = NULL, note = NULL, sent_at = NULL, started_at = NULL, finished_at = NULL, output_bytes = 0, output_stored = 0,
          dropped_bytes = 0, dropped_from = NULL, stdout_sha256 = NULL, stderr_sha256 = NULL, signalled = 0, remaining = 0
        WHERE id = ?
        """
    ).execute(arguments: [next, notBefore, run.id])
    // In a restored store its output may have come before any word about it.
    let early = try Row.fetchOne(
      try db.cachedStatement(
        sql: "SELECT output_bytes, output_stored, dropped_bytes, dropped_from FROM attempts WHERE run = ? AND attempt = ?"),
      arguments: [run.id, next])
    (run.attempt, run.outputBytes, run.outputStored, run.dropped) = (next, early?[0] ?? 0, early?[1] ?? 0, nil)
    guard let early else { return }
    run.dropped = (early[3] as Int64?).flatMap { DroppedMiddle(from: $0, count: early[2]).range }
    try db.execute(
      sql: "UPDATE runs SET output_bytes = ?, output_stored = ?, dropped_bytes = ?, dropped_from = ? WHERE id = ?",
      arguments: [run.outputBytes, run.outputStored, run.dropped.map { Int64($0.count) } ?? 0, run.dropped?.lowerBound, run.id])
    try db.execute(sql: "DELETE FROM attempts WHERE run = ? AND attempt = ?", arguments: [run.id, next])
  }

  /// Makes the attempt before the present one the present one again: the later one was never started.
  static func goBack(_ db: Database, _ run: inout RunRow, to earlier: Int) throws {
    let assignments = columns.split(separator: ",").map { name in
      let name = name.filter { !$0.isWhitespace }
      return "\(name) = earlier.\(name)"
    }
    try db.execute(
      sql: """
        UPDATE runs SET attempt = earlier.attempt, number = NULL, not_before = NULL, overdue = 0, deadline = NULL, \(assignments.joined(separator: ", "))
        FROM attempts AS earlier WHERE runs.id = ? AND earlier.run = runs.id AND earlier.attempt = ?
        """, arguments: [run.id, earlier])
    if db.changesCount == 0 {
      // This store never heard of it: only its agent can tell how it ended.
      try db.execute(
        sql: "UPDATE runs SET attempt = ?, number = NULL, not_before = NULL, overdue = 0, deadline = NULL WHERE id = ?",
        arguments: [earlier, run.id])
    }
    try db.execute(sql: "DELETE FROM attempts WHERE run = ? AND attempt >= ?", arguments: [run.id, earlier])
    guard let row = try Row.fetchOne(db, sql: "SELECT \(RunRow.columns) FROM runs WHERE id = ?", arguments: [run.id]) else {
      return
    }
    let knowledge = run.knowledge
    run = try RunRow(row)
    run.knowledge = knowledge
  }

  /// Adds a sentence to the run's note.
  static func note(_ db: Database, _ run: Int64, _ text: String) throws {
    try db.execute(
      sql: "UPDATE runs SET note = coalesce(note || '; ', '') || ? WHERE id = ?", arguments: [text, run])
  }

  // MARK: Delays

  /// A run whose delay is not over.
  struct Held: Sendable {
    var agent: AgentID
    var task: ULID
    var attempt: Int
    var wait: Duration
  }

  /// All of them, with what is left of their delays: never more than the delay can be, for after another boot the clock for deadlines has
  /// asked the wall clock.
  /// - Parameter now: the present moment by the clock for deadlines.
  static func held(_ db: Database, now: Int64) throws -> [Held] {
    let rows = try Row.fetchAll(
      db,
      sql: "SELECT uuid, task, attempt, retries, retry_delay, not_before FROM runs INDEXED BY runs_held WHERE held = 1")
    return rows.compactMap { row in
      guard let task = ULID(row[1] as String) else { return nil }
      let attempt: Int = row[2]
      let most = Retries(count: row[3], delay: .milliseconds(row[4] as Int64)).longestWait(before: attempt)
      let left: Duration = .milliseconds(max(0, (row[5] as Int64? ?? now) - now))
      return Held(agent: AgentID(row[0]), task: task, attempt: attempt, wait: min(left, most))
    }
  }

  /// The delay before this attempt is over. Nothing where the run went another way meanwhile.
  static func release(_ db: Database, _ agent: AgentID, _ id: AttemptID) throws {
    guard var run = try RunRow.fetch(db, task: id.task, agent: agent), run.attempt == id.attempt, run.knowledge.held else {
      return
    }
    run.knowledge.delayIsOver()
    try run.saveKnowledge(db)
  }
}

extension Duration {
  var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
