// What history may go: ended tasks beyond the border; beyond the size, the oldest output of ended runs, then the oldest ended tasks.
//
// Invariants: a step deletes a bounded number of rows, for everything else that is written waits for it; what has to be looked for is looked
// for by a reader. A task goes at once for whoever reads: its row first, its runs after it, a few at a time (`going` in table `store`
// says which). What open runs hold is no reason to delete anybody's history: it comes on top of the size (`room`).
import GRDB
import Shared

enum Retention {
  private static let open = "('queued', 'sent', 'running', 'unknown')"
  private static let tasksInStep = 200
  private static let runsInStep = 200
  /// Rows of output hold up to 64 KiB each.
  private static let rowsInStep = 1000
  private static let going = "going "

  /// What there is too much of.
  enum Surplus: Sendable, Equatable {
    /// The oldest ended runs that have output.
    case output([Int64])
    /// No ended run has any.
    case tasks
  }

  /// Deletes a little of what is older than the border, or on its way out. Returns true when it deleted something.
  static func step(_ db: Database, olderThan border: Int64) throws -> Bool {
    if try clear(db) { return true }
    // The tasks are in the order of their ids, which begin with the time.
    return try remove(db, before: ULID.text(firstAt: border))
  }

  /// What has to go for the store to come down to that size; nil where it is no larger.
  static func surplus(_ db: Database, over room: Int64) throws -> Surplus? {
    guard try size(db) > room else { return nil }
    // From run to run in the table's own order: no index of the runs that have output, to be kept with each slice, is needed for it.
    let next = try db.cachedStatement(sql: "SELECT run FROM output WHERE run > ? ORDER BY run LIMIT 1")
    let isOpen = try db.cachedStatement(sql: "SELECT 1 FROM runs WHERE id = ? AND state IN \(open)")
    var found: [Int64] = []
    var last: Int64 = -1
    while found.count < runsInStep, let run = try Int64.fetchOne(next, arguments: [last]) {
      if try Int.fetchOne(isOpen, arguments: [run]) == nil { found.append(run) }
      last = run
    }
    return found.isEmpty ? .tasks : .output(found)
  }

  /// Deletes a little of it. Returns true when it deleted something.
  static func take(_ db: Database, _ surplus: Surplus) throws -> Bool {
    guard case .output(let runs) = surplus else { return try remove(db, before: ULID.max.description) }
    var rows = 0
    for run in runs where rows < rowsInStep {
      try db.execute(sql: "DELETE FROM output WHERE run = ?", arguments: [run])
      rows += db.changesCount
      try db.execute(sql: "UPDATE attempts SET output_stored = 0 WHERE run = ?", arguments: [run])
      try db.execute(
        sql: """
          UPDATE runs SET output_stored = 0, output_removed = 1,
            note = coalesce(note || '; ', '') || 'its output was removed to save room' WHERE id = ?
          """, arguments: [run])
    }
    return rows > 0
  }

  /// How large the store may be: as large as history may be, and what open runs hold besides. That is bounded by their hosts' caps.
  static func room(_ db: Database, history limit: Int64) throws -> Int64 {
    guard try size(db) > limit else { return limit }
    // Of a run that goes on past its cap, as much as its head stays behind the head (FlowOutput).
    let held = "total(max(0, output_stored - dropped_bytes + min(dropped_bytes, coalesce(dropped_from, 0))))"
    let present = try Double.fetchOne(
      db, sql: "SELECT \(held) FROM runs INDEXED BY runs_by_state WHERE state IN ('sent', 'running', 'unknown')")
    let earlier = try Double.fetchOne(
      db,
      sql: """
        SELECT \(held) FROM attempts
        WHERE run IN (SELECT id FROM runs INDEXED BY runs_retried WHERE attempt > 1 AND state IN \(open))
        """)
    return limit + (Int64(exactly: ((present ?? 0) + (earlier ?? 0)).rounded()) ?? 0)
  }

  /// The oldest task's id.
  static func oldest(_ db: Database) throws -> ULID? {
    try String.fetchOne(db, sql: "SELECT id FROM tasks ORDER BY id LIMIT 1").flatMap { ULID($0) }
  }

  /// Up to which time history was allowed to go; nil in a new store.
  static func border(_ db: Database) throws -> Int64? {
    try String.fetchOne(db, sql: "SELECT value FROM store WHERE key = 'retention_border'").flatMap { Int64($0) }
  }

  static func saveBorder(_ db: Database, _ border: Int64) throws {
    try db.execute(
      sql:
        "INSERT INTO store (key, value) VALUES ('retention_border', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
      arguments: [String(border)])
  }

  /// Takes ended tasks out of sight, the oldest first, and deletes a little of them.
  private static func remove(_ db: Database, before id: String) throws -> Bool {
    let tasks = try String.fetchAll(
      db,
      sql: """
        SELECT id FROM tasks WHERE id < ? AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.task = tasks.id AND runs.state IN \(open))
        ORDER BY id LIMIT ?
        """, arguments: [id, tasksInStep])
    for task in tasks {
      try db.execute(sql: "DELETE FROM tasks WHERE id = ?", arguments: [task])
      try db.execute(sql: "INSERT OR REPLACE INTO store (key, value) VALUES (?, '')", arguments: [going + task])
    }
    return try clear(db)
  }

  /// Deletes a little of what hangs on tasks that are out of sight. Returns true when there was something.
  private static func clear(_ db: Database) throws -> Bool {
    var rows = 0
    while rows < rowsInStep,
      let key = try String.fetchOne(
        db, sql: "SELECT key FROM store WHERE key >= ? AND key < 'going!' ORDER BY key LIMIT 1", arguments: [going])
    {
      let task = String(key.dropFirst(going.count))
      let runs = try Int64.fetchAll(
        db, sql: "SELECT id FROM runs WHERE task = ? LIMIT ?", arguments: [task, rowsInStep - rows])
      for run in runs where rows < rowsInStep {
        try db.execute(sql: "DELETE FROM output WHERE run = ?", arguments: [run])
        rows += db.changesCount
        try db.execute(sql: "DELETE FROM attempts WHERE run = ?", arguments: [run])
        try db.execute(sql: "DELETE FROM runs WHERE id = ?", arguments: [run])
        rows += 1
      }
      guard runs.isEmpty else { continue }
      try db.execute(sql: "DELETE FROM store WHERE key = ?", arguments: [key])
      rows += 1
    }
    return rows > 0
  }

  /// Bytes in use, without pages that wait to be used again.
  static func size(_ db: Database) throws -> Int64 {
    let pages = try Int64.fetchOne(db, sql: "PRAGMA page_count") ?? 0
    let free = try Int64.fetchOne(db, sql: "PRAGMA freelist_count") ?? 0
    return (pages - free) * (try Int64.fetchOne(db, sql: "PRAGMA page_size") ?? 4096)
  }
}

extension ULID {
  /// The smallest id of a moment, as text.
  static func text(firstAt milliseconds: Int64) -> String {
    let time = UInt64(Swift.max(0, milliseconds))
    var bytes = [UInt8](repeating: 0, count: 16)
    for index in 0..<6 { bytes[index] = UInt8(truncatingIfNeeded: time >> UInt64(40 - 8 * index)) }
    return (ULID(bytes: bytes) ?? .min).description
  }
}
