// Runs that this store knows by their agent's report alone: it is a restored copy, or another dashboard had sent them. They are kept as
// history, marked as such; what the command was, the agent does not repeat.
import GRDB
import Shared

enum FlowFound {
  static let taskname = "(unknown)"
  static let note = "this dashboard has no record of accepting it: its agent reported it"

  /// Makes the history of a run. Nil where the task is one of this store's own, which did not have that agent.
  static func insert(_ db: Database, task: ULID, agent: AgentID, attempt: Int, now: Int64) throws -> RunRow? {
    let origin = try String.fetchOne(
      try db.cachedStatement(sql: "SELECT origin FROM tasks WHERE id = ?"), arguments: [task.description])
    guard origin == nil || origin == TaskOrigin.report.rawValue else { return nil }
    if origin == nil {
      let spec = String(decoding: try JSONCoder.encode(TaskSpec(taskname: taskname)), as: UTF8.self)
      try db.execute(
        sql: """
          INSERT INTO tasks (id, auuid, target, target_kind, taskname, spec, origin, created_at) VALUES (?, ?, ?, 'agent', ?, ?, ?, ?)
          """,
        arguments: [
          task.description, "tasks-\(task)", agent.text, taskname, spec, TaskOrigin.report.rawValue, task.timestampMilliseconds,
        ])
    }
    try db.execute(
      sql: """
        INSERT INTO runs (task, uuid, project, state, attempt, queued_at, sent_at, note)
        VALUES (?, ?, \(AgentQueries.ownFirstProject), 'sent', ?, ?, ?, ?)
        """,
      arguments: [task.description, agent.text, agent.text, attempt, task.timestampMilliseconds, now, note])
    guard let run = try RunRow.fetch(db, task: task, agent: agent) else { throw StoredFault("a run just inserted is not there") }
    try OutputRecall.add(db, agent, AttemptID(task: task, attempt: attempt))
    return run
  }
}
