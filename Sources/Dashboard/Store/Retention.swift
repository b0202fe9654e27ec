// What history may go: output of ended runs beyond the border, then their tasks; beyond the size, the oldest output, then the oldest tasks.
import GRDB
import Shared

enum Retention {
  private static let open = "('queued', 'sent', 'running', 'unknown')"
  private static let tasksInStep = 200

  /// Deletes a little. Returns true when it deleted something.
  static func step(_ db: Database, olderThan border: Int64, bytes limit: Int64) throws -> Bool {
    // The tasks are in the order of their ids, which begin with the time.
    let old = try ended(db, before: ULID.text(firstAt: border))
    if !old.isEmpty {
      try delete(db, old)
      return true
    }
    guard try size(db) > limit else { return false }
    let withOutput = try Int64.fetchAll(
      db,
      sql: """
        SELECT id FROM runs WHERE (output_stored > 0
            OR retries > 0 AND EXISTS (SELECT 1 FROM attempts WHERE run = runs.id AND attempts.output_stored > 0))
          AND state NOT IN \(open) ORDER BY id LIMIT ?
        """, arguments: [tasksInStep])
    if !withOutput.isEmpty {
      for run in withOutput {
        try db.execute(sql: "DELETE FROM output WHERE run = ?", arguments: [run])
        try db.execute(sql: "UPDATE attempts SET output_stored = 0 WHERE run = ?", arguments: [run])
        try db.execute(
          sql:
            "UPDATE runs SET output_stored = 0, note = coalesce(note || '; ', '') || 'its output was removed to save room' WHERE id = ?",
          arguments: [run])
      }
      return true
    }
    let oldest = try ended(db, before: ULID.max.description)
    try delete(db, oldest)
    return !oldest.isEmpty
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

  private static func ended(_ db: Database, before id: String) throws -> [String] {
    try String.fetchAll(
      db,
      sql: """
        SELECT id FROM tasks WHERE id < ? AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.task = tasks.id AND runs.state IN \(open))
        ORDER BY id LIMIT ?
        """, arguments: [id, tasksInStep])
  }

  private static func delete(_ db: Database, _ tasks: [String]) throws {
    for task in tasks {
      try db.execute(sql: "DELETE FROM output WHERE run IN (SELECT id FROM runs WHERE task = ?)", arguments: [task])
      try db.execute(sql: "DELETE FROM attempts WHERE run IN (SELECT id FROM runs WHERE task = ?)", arguments: [task])
      try db.execute(sql: "DELETE FROM runs WHERE task = ?", arguments: [task])
      try db.execute(sql: "DELETE FROM tasks WHERE id = ?", arguments: [task])
    }
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
