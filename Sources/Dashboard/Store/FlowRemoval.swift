// An operator removes an agent: its journals are fenced for good, its open runs end as `lost` (one that waits for a further attempt keeps the
// verdict of the attempt that ran), and its name is no target until an agent with another journal comes under it. The fence stands in Redis before any of this is written (`AgentRemoval`).
import GRDB
import Shared

enum FlowRemoval {
  /// Whether what this journal says is refused.
  static func isFenced(_ db: Database, _ agent: AgentID, _ journal: JournalID) throws -> Bool {
    try Bool.fetchOne(
      try db.cachedStatement(sql: "SELECT EXISTS (SELECT 1 FROM fenced WHERE uuid = ? AND journal = ?)"),
      arguments: [agent.text, journal.description]) ?? false
  }

  /// Every fenced journal.
  static func fenced(_ db: Database) throws -> [AgentID: [JournalID]] {
    var found: [AgentID: [JournalID]] = [:]
    for row in try Row.fetchAll(db, sql: "SELECT uuid, journal FROM fenced") {
      guard let journal = Nonce(row[1] as String) else { continue }
      found[AgentID(row[0] as String), default: []].append(journal)
    }
    return found
  }

  /// The journal of its last judged report. Nil: none, or there is no such agent.
  static func journal(_ db: Database, _ agent: AgentID) throws -> JournalID? {
    try String.fetchOne(db, sql: "SELECT journal FROM agents WHERE uuid = ?", arguments: [agent.text]).flatMap { Nonce($0) }
  }

  /// Marks it removed and ends its open runs. Returns these, with their verdicts.
  static func remove(
    _ db: Database, _ agent: AgentID, journals: [JournalID], by who: String, now: Int64
  ) throws -> [(task: ULID, state: RunState)] {
    for journal in journals {
      try db.execute(
        sql: "INSERT OR IGNORE INTO fenced (uuid, journal) VALUES (?, ?)", arguments: [agent.text, journal.description])
    }
    var ended: [(task: ULID, state: RunState)] = []
    let waiting = try String.fetchAll(
      db, sql: "SELECT task FROM runs WHERE uuid = ? AND state = 'queued' AND attempt > 1", arguments: [agent.text])
    let removal = "the agent \(agent) was removed by an operator (from \(who))"
    for task in waiting.compactMap({ ULID($0) }) {
      guard let state = try FlowEnds.endForGood(db, task: task, agent: agent, now: now) else { continue }
      try db.execute(
        sql: """
          UPDATE runs SET reason = coalesce(reason, 'agent_removed'), note = coalesce(note || '; ', '') || ? WHERE task = ? AND uuid = ?
          """, arguments: ["\(removal) before its next attempt", task.description, agent.text])
      ended.append((task, state))
    }
    let note = "\(removal): nobody can tell what became of this run"
    let lost = try String.fetchAll(
      db,
      sql: """
        UPDATE runs SET state = 'lost', reason = 'agent_removed', note = ?, finished_at = ?, overdue = 0, held = 0
        WHERE uuid = ? AND state IN ('queued', 'sent', 'running', 'unknown') RETURNING task
        """, arguments: [note, now, agent.text])
    try db.execute(sql: "UPDATE agents SET removed_at = ? WHERE uuid = ?", arguments: [now, agent.text])
    try db.execute(sql: "DELETE FROM members WHERE uuid = ?", arguments: [agent.text])
    return ended + lost.compactMap { ULID($0) }.map { ($0, .lost) }
  }
}
