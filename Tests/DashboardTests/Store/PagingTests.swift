// Pages against the plain truth: for every filter, going through the pages finds what looking at every run finds, in the same order.

import GRDB
import Shared
import Testing

@testable import Dashboard

@Suite struct PagingTests {
  private struct Truth {
    var task: ULID
    var row: Int64
    var uuid: String
    var project: String?
    var state: RunState
  }

  private func fill(_ store: Store) async throws -> [Truth] {
    let ids = ULIDGenerator()
    let projects = ["web", "db", nil]
    let states: [RunState] = [.queued, .running, .succeeded, .succeeded, .succeeded, .failed, .lost]
    return try await store.write { db in
      var all: [Truth] = []
      for _ in 0..<60 {
        let id = ids.next()
        let project = projects[Int.random(in: 0..<3)]
        let agents = (0..<7).filter { _ in Bool.random() }
        guard !agents.isEmpty else { continue }
        var task = FreshTask(
          id: id, auuid: "x-\(id)", target: project ?? "x", kind: .project, spec: TaskSpec(taskname: "t"), origin: .http,
          createdAt: 0,
          startBefore: nil, runs: agents.map { FreshRun(id: RunID(agent: AgentID("a\($0)"), task: id), project: project) })
        for index in task.runs.indices { task.runs[index].state = states[Int.random(in: 0..<states.count)] }
        try task.insert(into: db)
        for run in task.runs {
          let row = try Int64.fetchOne(
            db, sql: "SELECT id FROM runs WHERE task = ? AND uuid = ?", arguments: [id.description, run.id.agent.text])
          all.append(Truth(task: id, row: try #require(row), uuid: run.id.agent.text, project: project, state: run.state))
        }
      }
      return all.sorted { ($0.task, $0.row) > ($1.task, $1.row) }
    }
  }

  @Test func everyFilterFindsEveryRunOnceAndInOrder() async throws {
    try await withFolder { folder in
      let store = try Store.open(at: folder + "/muster.sqlite", migrations: try migrations())
      let all = try await fill(store)
      let middle = all[all.count / 2].task
      for states in [[], [.succeeded], [.failed], [.failed, .succeeded, .queued]] as [[RunState]] {
        for project in [nil, "web", "nowhere"] {
          for uuid in [nil, "a3"] {
            for task in [nil, middle] {
              let filter = RunFilter(states: states, project: project, uuid: uuid, task: task)
              let expected = all.filter { run in
                (states.isEmpty || states.contains(run.state)) && (project == nil || run.project == project)
                  && (uuid == nil || run.uuid == uuid) && (task == nil || run.task == task)
              }
              try await check(store, filter, expected)
            }
          }
        }
      }
      try store.close()
    }
  }

  private func check(_ store: Store, _ filter: RunFilter, _ expected: [Truth]) async throws {
    let rows = try await store.read { db in
      var rows: [Int64] = []
      var after: RunQueries.Cursor?
      repeat {
        let (runs, next) = try RunQueries.page(db, filter, after: after, limit: 7)
        rows += runs.map(\.row)
        after = next
      } while after != nil
      return rows
    }
    #expect(rows == expected.map(\.row), "\(filter)")
    let tasks = try await store.read { db in
      var tasks: [ULID] = []
      var after: String?
      repeat {
        let (page, next) = try TaskQueries.page(db, filter, after: after, limit: 7)
        tasks += page.map(\.id)
        after = next
      } while after != nil
      return tasks
    }
    var distinct: [ULID] = []
    for run in expected where distinct.last != run.task { distinct.append(run.task) }
    #expect(tasks == distinct, "\(filter)")
  }

  /// An agent with a million runs of which few failed, a project among a hundred others: nobody looks at the rest.
  @Test func aPageReadsNoMoreOfAnIndexThanItShows() async throws {
    try await withStore { (store: Store) async throws -> Void in
      for (filter, index) in [
        (RunFilter(uuid: "a"), "runs_by_agent_state (uuid=? AND state=? AND task<?)"),
        (RunFilter(states: [.failed], uuid: "a"), "runs_by_agent_state (uuid=? AND state=? AND task<?)"),
        (RunFilter(project: "p"), "runs_by_project_state (project=? AND state=? AND task<?)"),
        (RunFilter(states: [.succeeded], project: "p"), "runs_by_project_state (project=? AND state=? AND task<?)"),
        (RunFilter(states: [.lost]), "runs_by_state (state=? AND task<?)"),
      ] {
        for state in filter.ranges {
          let (conditions, arguments) = filter.conditions(for: state)
          let plan = try await store.read { db in
            try Row.fetchAll(
              db,
              sql: """
                EXPLAIN QUERY PLAN SELECT task, id FROM runs \(filter.index(for: state)) WHERE \(conditions) AND task < ?
                ORDER BY task DESC, id DESC LIMIT 5
                """, arguments: arguments + ["~"]
            ).map { $0["detail"] as String }
          }
          #expect(plan.count == 1 && plan[0].hasSuffix("COVERING INDEX " + index), "\(filter): \(plan)")
        }
      }
    }
  }

  @Test func timesAreBoundsOnTheId() async throws {
    try await withFolder { folder in
      let store = try Store.open(at: folder + "/muster.sqlite", migrations: try migrations())
      let times: [Int64] = [999, 1000, 1001, 1 << 48 - 1]
      try await store.write { db in
        for time in times {
          let id = ULIDGenerator(clock: { WallTime(milliseconds: time) }).next()
          let run = FreshRun(id: RunID(agent: AgentID("a"), task: id), project: nil)
          try FreshTask(
            id: id, auuid: "a-\(id)", target: "a", kind: .agent, spec: TaskSpec(taskname: "t"), origin: .http, createdAt: time,
            startBefore: nil, runs: [run]
          ).insert(into: db)
        }
      }
      func found(since: Int64?, until: Int64?) async throws -> [Int64] {
        try await store.read { db in
          try RunQueries.page(db, RunFilter(since: since, until: until), after: nil, limit: 10).runs.map(\.queuedAt).reversed()
        }
      }
      for (since, until, expected) in [
        (nil, nil, times), (1000, nil, Array(times[1...])), (nil, 1000, [999]), (1000, 1001, [1000]),
        (Int64.min, Int64.max, Array(times[..<3])),
      ] as [(Int64?, Int64?, [Int64])] {
        let rows = try await found(since: since, until: until)
        #expect(rows == expected)
      }
      try store.close()
    }
  }
}
