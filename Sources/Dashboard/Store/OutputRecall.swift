// Output that a restored store lacks. What was acknowledged after the copy was made, the agent takes for safe and does not send again by itself;
// its host still has the bytes. So each attempt that may be concerned is written down when the loss is noticed (an agent that keeps nothing
// older than what this store never saw, or a send number that it never gave), and asked for until its output is whole.
// Stands in the table `store`, one row per agent, so that it outlives the process. What retention has removed is not lacking.
import GRDB
import Shared

enum OutputRecall {
  private static let prefix = "recall "
  private static let limit = 5000
  /// Of an id in the list, with its space.
  private static let characters = 27

  /// The store has just been found to be a restored copy, as far as this agent is concerned.
  static func note(_ db: Database, _ agent: AgentID) throws {
    let rows = try Row.fetchAll(
      db,
      sql: """
        SELECT task, attempt FROM runs WHERE uuid = ? AND output_removed = 0
          AND (state IN ('sent', 'running', 'unknown') OR output_stored < output_bytes) ORDER BY task DESC LIMIT ?
        """, arguments: [agent.text, limit])
    let found = rows.compactMap { row in ULID(row[0] as String).map { AttemptID(task: $0, attempt: row[1]) } }
    let known = try wanted(db, of: agent)
    try save(db, agent, known + found.filter { !known.contains($0) })
  }

  /// The store has just made a run's history from its agent's report: what was acknowledged to the store that knew it is not said again.
  static func add(_ db: Database, _ agent: AgentID, _ id: AttemptID) throws {
    try db.execute(
      sql: """
        INSERT INTO store (key, value) VALUES (?, ?)
        ON CONFLICT (key) DO UPDATE SET value = value || ' ' || excluded.value WHERE length(value) < ?
        """, arguments: [prefix + agent.text, id.description, limit * characters])
  }

  /// What is still to be asked for, by agent.
  static func wanted(_ db: Database) throws -> [AgentID: [AttemptID]] {
    let rows = try Row.fetchAll(db, sql: "SELECT key, value FROM store WHERE key >= ? AND key < 'recall!'", arguments: [prefix])
    var all: [AgentID: [AttemptID]] = [:]
    for row in rows { all[AgentID(String((row[0] as String).dropFirst(prefix.count)))] = attempts(row[1]) }
    return all
  }

  private static func wanted(_ db: Database, of agent: AgentID) throws -> [AttemptID] {
    let text = try String.fetchOne(db, sql: "SELECT value FROM store WHERE key = ?", arguments: [prefix + agent.text])
    return text.map(attempts) ?? []
  }

  private static func attempts(_ text: String) -> [AttemptID] { text.split(separator: " ").compactMap { AttemptID(String($0)) } }

  /// Strikes off what has become whole, and what is given up. A run that has gone on to another attempt since is asked for that one as well.
  static func strike(_ db: Database, _ agent: AgentID, givenUp: Set<AttemptID>) throws {
    let before = try wanted(db, of: agent)
    let after = try rest(db, of: agent, before, givenUp: givenUp)
    if after != before { try save(db, agent, after) }
  }

  /// What `strike` would leave of these.
  static func rest(_ db: Database, of agent: AgentID, _ before: [AttemptID], givenUp: Set<AttemptID>) throws -> [AttemptID] {
    var after: [AttemptID] = []
    var seen: Set<AttemptID> = []
    for id in before {
      let sql = "SELECT id, attempt FROM runs WHERE task = ? AND uuid = ? AND output_removed = 0"
      guard let row = try Row.fetchOne(db, sql: sql, arguments: [id.task.description, agent.text]) else { continue }
      let present = AttemptID(task: id.task, attempt: row[1])
      for one in id == present ? [id] : [id, present] where !givenUp.contains(one) && seen.insert(one).inserted {
        if try isWanting(db, run: row[0], one, isPresent: one == present) { after.append(one) }
      }
    }
    return after
  }

  /// Open, or ended without all of its output.
  private static func isWanting(_ db: Database, run: Int64, _ id: AttemptID, isPresent: Bool) throws -> Bool {
    let sql =
      isPresent
      ? "SELECT state, output_bytes - dropped_bytes FROM runs WHERE id = ? AND attempt = ?"
      : "SELECT state, output_bytes - dropped_bytes FROM attempts WHERE run = ? AND attempt = ?"
    guard let row = try Row.fetchOne(db, sql: sql, arguments: [run, id.attempt]), let state = RunState(rawValue: row[0]) else {
      return false
    }
    guard state.isVerdict else { return true }
    let stored = try Int64.fetchOne(
      db, sql: "SELECT coalesce(sum(length(bytes)), 0) FROM output WHERE run = ? AND attempt = ?", arguments: [run, id.attempt])
    return (stored ?? 0) < row[1]
  }

  private static func save(_ db: Database, _ agent: AgentID, _ ids: [AttemptID]) throws {
    if ids.isEmpty {
      try db.execute(sql: "DELETE FROM store WHERE key = ?", arguments: [prefix + agent.text])
    } else {
      try db.execute(
        sql: "INSERT INTO store (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        arguments: [prefix + agent.text, ids.prefix(limit).map(\.description).joined(separator: " ")])
    }
  }
}
