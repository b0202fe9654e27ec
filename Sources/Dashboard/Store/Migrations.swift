// Applies the numbered files of /migrations, in order, each in a transaction of its own. Once applied a file is frozen: its checksum is
// kept and compared at every start. A database with a migration that is not known here is refused. When adding a migration, also:
// docs/ADDING.md.

import GRDB

/// One file of /migrations.
struct Migration: Sendable, Equatable {
  /// Without `.sql`; sorts in the order of application: `0001_history`.
  var name: String
  var sql: String

  init(name: String, sql: String) {
    self.name = name
    self.sql = sql
  }

  /// FNV-1a, 64 bits: enough to notice an edit, and no secret is at stake.
  var checksum: String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in sql.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

enum Migrations {
  /// - Throws: `StoreError.newer`, `.altered`, or what SQLite says.
  static func apply(_ migrations: [Migration], to db: Database, path: String) throws {
    try db.execute(
      sql: """
        CREATE TABLE IF NOT EXISTS migrations (
          name       TEXT NOT NULL PRIMARY KEY,
          checksum   TEXT NOT NULL,
          applied_at INTEGER NOT NULL
        ) WITHOUT ROWID
        """)
    var applied: [String: String] = [:]
    for row in try Row.fetchAll(db, sql: "SELECT name, checksum FROM migrations") { applied[row[0]] = row[1] }
    let known = Set(migrations.map(\.name))
    let unknown = applied.keys.filter { !known.contains($0) }.sorted()
    guard unknown.isEmpty else { throw StoreError.newer(path: path, unknown: unknown) }
    for migration in migrations.sorted(by: { $0.name < $1.name }) {
      if let checksum = applied[migration.name] {
        guard checksum == migration.checksum else { throw StoreError.altered(path: path, migration: migration.name) }
        continue
      }
      try db.inTransaction(.immediate) {
        try db.execute(sql: migration.sql)
        try db.execute(
          sql: "INSERT INTO migrations (name, checksum, applied_at) VALUES (?, ?, CAST(strftime('%s', 'now') AS INTEGER) * 1000)",
          arguments: [migration.name, migration.checksum])
        return .commit
      }
    }
  }
}
