// What the store knows of names that tasks are posted to.
import GRDB
import Shared

enum TargetQueries {
  enum Standing: Sendable {
    /// Its hello is in the store.
    case heard
    /// Never, or only as a name that somebody posted to.
    case unheard
    case removed
  }

  static func standing(_ db: Database, _ name: String) throws -> Standing {
    let row = try Row.fetchOne(
      try db.cachedStatement(sql: "SELECT hello IS NOT NULL, removed_at IS NOT NULL FROM agents WHERE uuid = ?"),
      arguments: [name])
    guard let row else { return .unheard }
    if row[1] as Bool { return .removed }
    return row[0] as Bool ? .heard : .unheard
  }

  static func isRemoved(_ db: Database, _ agent: AgentID) throws -> Bool {
    try Bool.fetchOne(
      try db.cachedStatement(sql: "SELECT EXISTS (SELECT 1 FROM agents WHERE uuid = ? AND removed_at IS NOT NULL)"),
      arguments: [agent.text]) ?? false
  }

  static func members(_ db: Database, of project: String) throws -> [String] {
    try String.fetchAll(db, sql: "SELECT uuid FROM members WHERE project = ?", arguments: [project])
  }

  static func removed(_ db: Database) throws -> Set<String> {
    try String.fetchSet(db, sql: "SELECT uuid FROM agents WHERE removed_at IS NOT NULL")
  }
}
