// What the tests of the store share: a real database in a folder of its own, and a run accepted in it.
import Shared

@testable import Dashboard

/// Closed whatever happens.
func withStore(_ body: (Store) async throws -> Void) async throws {
  try await withFolder { folder in
    let store = try Store.open(at: folder + "/muster.sqlite", migrations: try migrations())
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body(store)) } catch { outcome = .failure(error) }
    try store.close()
    try outcome.get()
  }
}

extension Store {
  /// Accepts a run of a task for one agent; `sent` where it is marked in the same transaction.
  func accept(_ id: ULID, on agent: AgentID, retries: Retries = .none, sent: Bool) async throws -> ULID {
    try await write { db in
      var run = FreshRun(id: RunID(agent: agent, task: id), project: nil)
      if sent {
        run.state = .sent
        run.mark = try FlowMarks.next(db, agent, now: 0)
      }
      try FreshTask(
        id: id, auuid: "\(agent)-\(id)", target: agent.text, kind: .agent, spec: TaskSpec(taskname: "true"), origin: .http,
        createdAt: 0, startBefore: 1000, retries: retries, runs: [run]
      ).insert(into: db)
    }
    return id
  }
}
