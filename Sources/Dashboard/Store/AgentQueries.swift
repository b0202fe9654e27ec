// Reading agents, projects, and the counters over everything.

import GRDB
import Shared

/// An agent as the store knows it; whether it is there now, only the loops know.
struct AgentRecord: Sendable {
  var id: AgentID
  /// Nil: known by its key or by a project only.
  var hello: Hello?
  var projects: [String]
  var lastSeenAt: Int64?
}

enum AgentQueries {
  /// Nil where there is none, or where it was removed. A hello that cannot be read is shown as none (`FlowDesks.load` has told of it).
  static func find(_ db: Database, _ id: AgentID) throws -> AgentRecord? {
    let statement = try db.cachedStatement(sql: "SELECT hello, last_seen_at FROM agents WHERE uuid = ? AND removed_at IS NULL")
    guard let row = try Row.fetchOne(statement, arguments: [id.text]) else { return nil }
    let hello = (try row.cell(0) as String?).flatMap { try? JSONCoder.decode(Hello.self, from: Array($0.utf8)) }
    let stored = try String.fetchAll(
      try db.cachedStatement(sql: "SELECT project FROM members WHERE uuid = ? ORDER BY project"), arguments: [id.text])
    // The agent's own order first: its first project is the one that its runs are shown under.
    let own = (hello?.projects ?? []).filter(stored.contains)
    return AgentRecord(id: id, hello: hello, projects: own + stored.filter { !own.contains($0) }, lastSeenAt: try row.cell(1))
  }

  /// Names of agents that were not removed, in order, with the time that the store last saw them.
  static func page(
    _ db: Database, project: String?, uuid: String?, after: String, limit: Int
  ) throws -> [(id: AgentID, lastSeenAt: Int64?)] {
    var sql = "SELECT uuid, last_seen_at FROM agents WHERE removed_at IS NULL AND uuid > ?"
    var arguments: StatementArguments = [after]
    if let uuid {
      sql += " AND uuid = ?"
      arguments += [uuid]
    }
    if let project {
      sql += " AND EXISTS (SELECT 1 FROM members WHERE members.project = ? AND members.uuid = agents.uuid)"
      arguments += [project]
    }
    sql += " ORDER BY uuid LIMIT ?"
    arguments += [limit]
    return try Row.fetchAll(try db.cachedStatement(sql: sql), arguments: arguments).map { (AgentID($0[0] as String), $0[1]) }
  }

  /// SQL: the first project of the hello of the agent `?`; NULL also where that hello cannot be read.
  static let ownFirstProject =
    "(SELECT CASE WHEN json_valid(hello) THEN json_extract(hello, '$.projects[0]') END FROM agents WHERE uuid = ?)"

  /// The project under which a run of this agent is shown when it was posted to the agent itself.
  static func firstProject(_ db: Database, _ id: AgentID) throws -> String? {
    let sql = """
      SELECT coalesce(\(ownFirstProject), (SELECT min(project) FROM members WHERE uuid = ?))
      """
    return try String.fetchOne(try db.cachedStatement(sql: sql), arguments: [id.text, id.text])
  }

  /// Whether the agent is, or was when the run was posted, of that project.
  static func isMember(_ db: Database, _ id: AgentID, of project: String) throws -> Bool {
    try Bool.fetchOne(
      try db.cachedStatement(sql: "SELECT EXISTS (SELECT 1 FROM members WHERE project = ? AND uuid = ?)"),
      arguments: [project, id.text]) ?? false
  }

  // MARK: Projects

  /// Projects by name, each with its members that were not removed.
  static func projects(
    _ db: Database, project: String?, uuid: String?, after: String, limit: Int
  ) throws -> [(project: String, members: [(agent: AgentID, lastSeenAt: Int64?)])] {
    // Hops from project to project: ten thousand members are one step.
    let sql =
      uuid == nil
      ? "SELECT project FROM members WHERE project > ? ORDER BY project LIMIT 1"
      : "SELECT project FROM members WHERE project > ? AND uuid = ? ORDER BY project LIMIT 1"
    let hop = try db.cachedStatement(sql: sql)
    let members = try db.cachedStatement(
      sql: """
        SELECT members.uuid, agents.last_seen_at FROM members LEFT JOIN agents ON agents.uuid = members.uuid
        WHERE members.project = ? AND agents.removed_at IS NULL
        """)
    var found: [(project: String, members: [(agent: AgentID, lastSeenAt: Int64?)])] = []
    var last = after
    while found.count < limit,
      let name = try String.fetchOne(hop, arguments: uuid.map { [last, $0] } ?? [last])
    {
      last = name
      if let project, project != name { continue }
      let rows = try Row.fetchAll(members, arguments: [name]).map {
        (agent: AgentID($0[0] as String), lastSeenAt: $0[1] as Int64?)
      }
      if !rows.isEmpty { found.append((name, rows)) }
    }
    return found
  }

  // MARK: Counters

  struct Counters: Sendable, Equatable {
    var agents = 0
    var running = 0
    /// Queued or sent.
    var waiting = 0
    /// Accepted since the given time, and ended as `failed`, `timedOut` or `lost`.
    var failed = 0
    var unknown = 0
  }

  static func counters(_ db: Database, failedSince: Int64) throws -> Counters {
    let count = try db.cachedStatement(sql: "SELECT count(*) FROM runs INDEXED BY runs_by_state WHERE state = ? AND task >= ?")
    func runs(_ states: RunState..., since: ULID = .min) throws -> Int {
      try states.reduce(0) { try $0 + (Int.fetchOne(count, arguments: [$1.rawValue, since.description]) ?? 0) }
    }
    return Counters(
      agents: try Int.fetchOne(db, sql: "SELECT count(*) FROM agents WHERE removed_at IS NULL") ?? 0,
      running: try runs(.running), waiting: try runs(.queued, .sent),
      failed: try runs(.failed, .timedOut, .lost, since: .first(ofMillisecond: failedSince)), unknown: try runs(.unknown))
  }
}
