// What goes when the store has grown too large or history too old: in which order, in what portions, and what never.
import Foundation
import GRDB
import Shared
import Testing

@testable import Dashboard

@Suite struct RetentionTests {
  private let agent = AgentID("web-1")
  private let ids = ULIDGenerator()

  /// A run with so much output; returns its row.
  private func run(_ store: Store, _ state: RunState, bytes: Int, retries: Retries = .none) async throws -> Int64 {
    let (agent, task) = (agent, try await store.accept(ids.next(), on: agent, retries: retries, sent: true))
    return try await store.write { db in
      var run = try #require(try RunRow.fetch(db, task: task, agent: agent))
      for offset in stride(from: 0, to: bytes, by: 65536) {
        let part = [UInt8](repeating: 120, count: min(65536, bytes - offset))
        let slice = OutputSlice(attempt: AttemptID(task: task), offset: Int64(offset), segments: [[1, part.count]])
        #expect(try FlowOutput.store(db, run: &run, attempt: 1, slice, part[...]))
      }
      try db.execute(sql: "UPDATE runs SET state = ? WHERE id = ?", arguments: [state.rawValue, run.id])
      return run.id
    }
  }

  /// What is too much where history may take so many bytes.
  private func surplus(_ store: Store, history: Int64) async throws -> Retention.Surplus? {
    try await store.read { try Retention.surplus($0, over: try Retention.room($0, history: history)) }
  }

  private func count(_ store: Store, _ table: String) async throws -> Int {
    try await store.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM \(table)") ?? -1 }
  }

  /// Found by review: one run that printed for hours emptied the whole history, and its own output stayed.
  @Test func whatAnOpenRunHoldsIsNoReasonToDeleteAnybodysHistory() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let first = try await run(store, .succeeded, bytes: 1 << 20)
      let second = try await run(store, .failed, bytes: 1 << 20)
      let history = try await store.read { try Retention.size($0) } + 1 << 19
      let open = try await run(store, .running, bytes: 8 << 20)
      #expect(try await store.read { try Retention.size($0) } > history + 7 << 20)
      #expect(try await surplus(store, history: history) == nil)
      // What is too much beside it goes, and never its own.
      let third = try await run(store, .lost, bytes: 1 << 20)
      #expect(try await surplus(store, history: history) == .output([first, second, third]))
      #expect(try await store.read { try Retention.surplus($0, over: 0) } == .output([first, second, third]))
      // Once it has ended it is history like any other.
      try await store.write { try $0.execute(sql: "UPDATE runs SET state = 'succeeded' WHERE id = ?", arguments: [open]) }
      #expect(try await surplus(store, history: history) == .output([first, second, open, third]))
    }
  }

  @Test func whatEarlierAttemptsOfAnOpenRunHoldIsNoReasonEither() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let waiting = try await run(store, .queued, bytes: 4 << 20, retries: Retries(count: 1))
      try await store.write { db in
        try db.execute(
          sql: """
            INSERT INTO attempts (run, attempt, state, output_stored) SELECT id, 1, 'failed', output_stored FROM runs WHERE id = ?
            """, arguments: [waiting])
        try db.execute(sql: "UPDATE runs SET attempt = 2, output_stored = 0 WHERE id = ?", arguments: [waiting])
      }
      let room = try await store.read { try Retention.room($0, history: 0) }
      #expect(room == 4 << 20)
      #expect(try await store.read { try Retention.surplus($0, over: 0) } == .tasks)
      #expect(try await !store.write { try Retention.take($0, .tasks) })
      #expect(try await count(store, "output") == 64)
    }
  }

  @Test func outputGoesInPortionsAndARunsAllAtOnce() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let runs = [
        try await run(store, .succeeded, bytes: 1000), try await run(store, .succeeded, bytes: 1000),
        try await run(store, .succeeded, bytes: 1000),
      ]
      try await store.write { db in
        for run in runs {
          for offset in 1...700 {
            try db.execute(
              sql: "INSERT INTO output (run, attempt, offset, segments, bytes) VALUES (?, 1, ?, '1:1', x'00')",
              arguments: [run, offset * 1000])
          }
        }
      }
      let surplus = try #require(try await store.read { try Retention.surplus($0, over: 0) })
      #expect(surplus == .output(runs))
      #expect(try await store.write { try Retention.take($0, surplus) })
      #expect(try await count(store, "output") == 701, "two runs' rows are enough for one step")
      #expect(try await store.read { try Retention.surplus($0, over: 0) } == .output([runs[2]]))
      let notes = try await store.read { try String.fetchAll($0, sql: "SELECT note FROM runs WHERE output_stored = 0") }
      #expect(notes == Array(repeating: "its output was removed to save room", count: 2))
    }
  }

  @Test func aTaskOnThousandsOfHostsIsGoneAtOnceForReadersAndInPortionsForTheWriter() async throws {
    try await withStore { (store: Store) async throws -> Void in
      let (old, kept) = (ids.next(), ids.next())
      try await store.write { [agent] db in
        for (id, hosts) in [(old, 2500), (kept, 2)] {
          try FreshTask(
            id: id, auuid: "web-\(id)", target: "web", kind: .project, spec: TaskSpec(taskname: "true"), origin: .http,
            createdAt: 0,
            startBefore: 1000,
            runs: (0..<hosts).map { FreshRun(id: RunID(agent: AgentID("\(agent)\($0)"), task: id), project: "web") }
          ).insert(into: db)
        }
        try db.execute(sql: "UPDATE runs SET state = 'succeeded'")
        try db.execute(sql: "UPDATE runs SET state = 'running' WHERE task = ?", arguments: [kept.description])
      }
      let border = WallTime.now().milliseconds + 60_000
      #expect(try await store.write { try Retention.step($0, olderThan: border) })
      #expect(try await store.read { try TaskQueries.find($0, old) } == nil)
      #expect(try await store.read { try RunQueries.page($0, RunFilter(task: old), after: nil, limit: 10).runs.isEmpty })
      #expect(try await (1000..<2500).contains(count(store, "runs")), "no more than its portion")
      // The process is killed here and starts anew: nothing but the store knows how far it was.
      var steps = 1
      while try await store.write({ try Retention.step($0, olderThan: 0) }) { steps += 1 }
      #expect(steps == 3)
      #expect(try await count(store, "runs") == 2)
      #expect(try await count(store, "tasks") == 1)
      #expect(try await store.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM store WHERE key LIKE 'going%'") } == 0)
    }
  }
}
