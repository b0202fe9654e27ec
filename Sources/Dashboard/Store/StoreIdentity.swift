// The store's own facts: its id (made with it, so that a second dashboard is told apart), and the highest fence it ever used.
import GRDB
import Shared

struct StoreIdentity: Sendable {
  let id: Nonce

  /// Reads the id, or makes it in a new store.
  static func load(_ db: Database) throws -> StoreIdentity {
    if let text = try value(db, "id"), let id = Nonce(text) { return StoreIdentity(id: id) }
    let id = Nonce.random()
    try set(db, "id", id.description)
    return StoreIdentity(id: id)
  }

  static func fence(_ db: Database) throws -> Fence { try value(db, "fence").flatMap { Fences.read($0) } ?? 0 }
  static func saveFence(_ db: Database, _ fence: Fence) throws { try set(db, "fence", String(max(fence, try self.fence(db)))) }

  /// Where the clock for deadlines stood; nil in a new store.
  static func clock(_ db: Database) throws -> ClockAnchor? { try value(db, "clock").flatMap { ClockAnchor($0) } }
  static func saveClock(_ db: Database, _ anchor: ClockAnchor) throws { try set(db, "clock", anchor.description) }

  static func probe(_ db: Database, _ text: String) throws { try set(db, "probe", text) }

  private static func value(_ db: Database, _ key: String) throws -> String? {
    try String.fetchOne(db, sql: "SELECT value FROM store WHERE key = ?", arguments: [key])
  }
  private static func set(_ db: Database, _ key: String, _ value: String) throws {
    try db.execute(
      sql: "INSERT INTO store (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
      arguments: [key, value])
  }
}
