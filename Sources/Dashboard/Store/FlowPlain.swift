// Tasks that came by the seeds' plain hash: the dashboard hears of them from the agent and makes their history.
import GRDB
import Shared

enum FlowPlain {
  /// Nil where the task is one of somebody else's: an agent speaks for its own alone.
  static func insert(_ db: Database, _ plain: PlainTask, task: ULID, agent: AgentID, now: Int64) throws -> RunRow? {
    let isForeign = try Bool.fetchOne(
      try db.cachedStatement(sql: "SELECT origin <> ? OR target <> ? FROM tasks WHERE id = ?"),
      arguments: [TaskOrigin.plain.rawValue, agent.text, task.description])
    guard isForeign != true else { return nil }
    let name = String(decoding: plain.name.bytes, as: UTF8.self)
    let spec = TaskSpec(taskname: name, command: plain.command)
    let auuid = RunID(agent: agent, task: task).description
    try db.execute(
      sql: """
        INSERT OR IGNORE INTO tasks (id, auuid, target, target_kind, taskname, spec, origin, created_at)
        VALUES (?, ?, ?, 'agent', ?, ?, 'plain', ?)
        """,
      arguments: [
        task.description, auuid, agent.text, name, String(decoding: try JSONCoder.encode(spec), as: UTF8.self), plain.takenAt,
      ])
    try db.execute(
      sql: """
        INSERT INTO runs (task, uuid, project, state, queued_at, sent_at, alias)
        VALUES (?, ?, \(AgentQueries.ownFirstProject), 'sent', ?, ?, ?)
        """,
      arguments: [task.description, agent.text, agent.text, plain.takenAt, plain.takenAt, agent.text + name])
    guard let run = try RunRow.fetch(db, task: task, agent: agent) else { throw StoredFault("a run just inserted is not there") }
    return run
  }
}
