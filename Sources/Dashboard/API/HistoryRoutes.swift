// Lists and single objects: tasks, runs, agents, projects.

import HTTP
import Shared

struct HistoryRoutes: Sendable {
  let services: APIServices
  let counts: TaskCounts

  // MARK: Tasks

  /// Runs that one task shows.
  private static let runsOfTask = 1000
  /// Runs that one page of tasks shows in all; tasks further down show fewer of theirs. Their `counts` are always whole.
  private static let runsOfPage = 2000

  func tasks(_ request: Request) async throws -> Response {
    try request.allow("limit", "after", "state", "project", "uuid", "since", "until", "runs")
    let (filter, limit, after) = (try request.runFilter(), try request.limit(), try request.filter("after"))
    if let after, ULID(after) == nil { throw APIError.badField("after", "\"after\" is not what a list answered as \"next\"") }
    var perTask = Self.runsOfTask
    if let text = request.query["runs"] {
      guard let number = Int(text), (0...Self.runsOfTask).contains(number) else {
        throw APIError.badField("runs", "\"runs\" must be a whole number from 0 to \(Self.runsOfTask)")
      }
      perTask = number
    }
    return try await services.store.read { [counts, perTask] db in
      let (tasks, next) = try TaskQueries.page(db, filter, after: after, limit: limit)
      var room = Self.runsOfPage
      return try .page(tasks, next: next) { task, body in
        let runs = min(perTask, room) > 0 ? try RunQueries.ofTask(db, task.id, limit: min(perTask, room)) : []
        room -= runs.count
        task.write(to: &body, counts: try counts.counts(of: task, db), runs: runs)
      }
    }
  }

  func task(_ name: String, _ request: Request) async throws -> Response {
    try request.allow()
    return try await services.store.read { [counts] db in
      guard let task = try TaskQueries.find(db, named: name) else { throw APIError.unknownTask(name) }
      let runs = try RunQueries.ofTask(db, task.id, limit: Self.runsOfTask)
      return .json(try JSONBody.object { task.write(to: &$0, counts: try counts.counts(of: task, db), runs: runs) })
    }
  }

  // MARK: Runs

  func runs(_ request: Request) async throws -> Response {
    try request.allow("limit", "after", "state", "project", "uuid", "since", "until", "task")
    let limit = try request.limit()
    var filter = try request.runFilter()
    if let name = try request.filter("task") {
      guard let task = ULID(name) ?? RunID.split(name)?.task else { throw APIError.unknownTask(name) }
      filter.task = task
    }
    var after: RunQueries.Cursor?
    if let text = try request.filter("after") {
      let parts = text.split(separator: ".")
      guard parts.count == 2, ULID(String(parts[0])) != nil, let row = Int64(parts[1]) else {
        throw APIError.badField("after", "\"after\" is not what a list answered as \"next\"")
      }
      after = RunQueries.Cursor(task: String(parts[0]), row: row)
    }
    return try await services.store.read { [after, filter] db in
      let (runs, next) = try RunQueries.page(db, filter, after: after, limit: limit)
      return .page(runs, next: next.map { "\($0.task).\($0.row)" }) { run, body in run.write(to: &body) }
    }
  }

  func run(_ name: String, _ request: Request) async throws -> Response {
    try request.allow()
    return try await services.store.read { db in
      guard let run = try RunQueries.find(db, named: name) else { throw APIError.unknownRun(name) }
      let attempts = try AttemptQueries.all(db, run)
      return .json(JSONBody.object { run.write(to: &$0, attempts: attempts) })
    }
  }

  // MARK: Agents

  func agents(_ request: Request) async throws -> Response {
    try request.allow("limit", "after", "state", "project", "uuid", "since", "until")
    let (project, uuid, limit) = (try request.filter("project"), try request.filter("uuid"), try request.limit())
    let (since, until, online) = (try request.time("since"), try request.time("until"), try Self.presence(request))
    let start = try request.filter("after") ?? ""
    return try await services.store.read { [presence = services.presence] db in
      var found: [(id: AgentID, presence: Presence)] = []
      var after = start
      // Whether an agent is there is not in the store: what does not fit is left out here.
      while found.count <= limit {
        let agents = try AgentQueries.page(db, project: project, uuid: uuid, after: after, limit: limit + 1)
        for agent in agents {
          let there = presence(agent.id)
          let seen = there.lastSeenAt ?? agent.lastSeenAt ?? 0
          guard online ?? there.online == there.online, seen >= since ?? .min, seen < until ?? .max else { continue }
          found.append((agent.id, there))
        }
        guard agents.count > limit, let last = agents.last else { break }
        after = last.id.text
      }
      let page = Array(found.prefix(limit))
      return try .page(page, next: found.count > limit ? page.last?.id.text : nil) { item, body in
        try AgentQueries.find(db, item.id)?.write(to: &body, item.presence)
      }
    }
  }

  func agent(_ name: String, _ request: Request) async throws -> Response {
    try request.allow()
    return try await services.store.read { [presence = services.presence] db in
      guard let agent = try AgentQueries.find(db, AgentID(name)) else { throw APIError.unknownAgent(name) }
      return .json(JSONBody.object { agent.write(to: &$0, presence(agent.id)) })
    }
  }

  /// `?state=online` or `offline`, of agents and projects.
  private static func presence(_ request: Request) throws(APIError) -> Bool? {
    let states = Set(request.query.all("state"))
    guard states.isSubset(of: ["online", "offline"]) else {
      throw .badField("state", "\"state\" must be online or offline here")
    }
    return states.count == 1 ? states.contains("online") : nil
  }

  // MARK: Projects

  func projects(_ request: Request) async throws -> Response {
    try request.allow("limit", "after", "state", "project", "uuid", "since", "until")
    let (project, uuid, limit) = (try request.filter("project"), try request.filter("uuid"), try request.limit())
    let (since, until, online) = (try request.time("since"), try request.time("until"), try Self.presence(request))
    let start = try request.filter("after") ?? ""
    return try await services.store.read { [presence = services.presence] db in
      var found: [(project: String, agents: Int, online: Int)] = []
      var after = start
      while found.count <= limit {
        let projects = try AgentQueries.projects(db, project: project, uuid: uuid, after: after, limit: limit + 1)
        for (name, members) in projects {
          let there = members.map { presence($0.agent) }
          let seen = zip(there, members).map { $0.lastSeenAt ?? $1.lastSeenAt ?? 0 }.max() ?? 0
          let count = there.count { $0.online }
          guard online ?? (count > 0) == (count > 0), seen >= since ?? .min, seen < until ?? .max else { continue }
          found.append((name, members.count, count))
        }
        guard projects.count > limit, let last = projects.last else { break }
        after = last.project
      }
      let page = Array(found.prefix(limit))
      return .page(page, next: found.count > limit ? page.last?.project : nil) { item, body in
        body.field("project", item.project)
        body.field("agents", item.agents)
        body.field("online", item.online)
      }
    }
  }
}
