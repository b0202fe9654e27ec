// A restored store lacks output that its agent takes for safe: it is noticed, written down, asked for, and fits in where it is missing.
import GRDB
import Shared
import Testing

@testable import Dashboard

@Suite struct OutputRecallTests {
  private let agent = AgentID("web-1")
  private let address = AgentAddress(journal: Nonce(1), incarnation: Nonce(2))

  /// A store with one run of the agent that is out.
  private func withRun(_ body: (Store, AttemptID) async throws -> Void) async throws {
    try await withFolder { folder in
      let store = try Store.open(at: folder + "/muster.sqlite", migrations: try migrations())
      let (agent, id) = (agent, ULIDGenerator().next())
      try await store.write { db in
        var run = FreshRun(id: RunID(agent: agent, task: id), project: nil)
        run.state = .sent
        run.mark = try FlowMarks.next(db, agent, now: 0)
        try FreshTask(
          id: id, auuid: "web-1-\(id)", target: "web-1", kind: .agent, spec: TaskSpec(taskname: "true"), origin: .http,
          createdAt: 0, startBefore: 1000, runs: [run]
        ).insert(into: db)
      }
      try await body(store, AttemptID(task: id))
      try store.close()
    }
  }

  private func frame(_ id: AttemptID, _ sequence: UInt64, oldest: UInt64, at offset: Int64, _ text: String) -> OutputFrame {
    OutputFrame(
      agent: agent, from: address, sequence: sequence, oldest: oldest,
      slices: [OutputSlice(attempt: id, offset: offset, segments: [[1, 2], [2, text.utf8.count - 2]])], bytes: Array(text.utf8))
  }

  private func commit(_ store: Store, _ frame: OutputFrame) async throws {
    _ = try await store.write { try FlowReports.apply($0, frame, now: 1) }
  }

  private func wanted(_ store: Store) async throws -> [AttemptID] {
    let agent = agent
    return try await store.read { try OutputRecall.wanted($0)[agent] ?? [] }
  }

  private func rows(_ store: Store) async throws -> [String] {
    try await store.read { db in
      try Row.fetchAll(db, sql: "SELECT offset, segments, CAST(bytes AS TEXT) FROM output ORDER BY offset").map {
        "\($0[0] as Int) \($0[1] as String) \($0[2] as String)"
      }
    }
  }

  private func end(_ store: Store, _ bytes: Int) async throws {
    try await store.write { try $0.execute(sql: "UPDATE runs SET state = 'succeeded', output_bytes = ?", arguments: [bytes]) }
  }

  @Test func whatIsTakenForSafeElsewhereIsWrittenDownUntilItIsWhole() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      try await commit(store, frame(id, 1, oldest: 1, at: 0, "aaaa"))
      #expect(try await wanted(store) == [])
      // Frames 2 and 3 were acknowledged by the store that this one is a copy of.
      try await commit(store, frame(id, 4, oldest: 4, at: 12, "dddd"))
      #expect(try await wanted(store) == [id])
      let agent = agent
      try await end(store, 16)
      try await store.write { try OutputRecall.strike($0, agent, givenUp: []) }
      #expect(try await wanted(store) == [id])
      try await commit(store, frame(id, 5, oldest: 5, at: 0, "aaaabbbbccccdddd"))
      #expect(try await rows(store) == ["0 1:2,2:2 aaaa", "4 2:8 bbbbcccc", "12 1:2,2:2 dddd"])
      try await store.write { try OutputRecall.strike($0, agent, givenUp: []) }
      #expect(try await wanted(store) == [])
      // Once more changes nothing.
      try await commit(store, frame(id, 6, oldest: 5, at: 0, "aaaabbbbccccdddd"))
      #expect(try await rows(store).count == 3)
    }
  }

  /// Found by chaos: its output had been acknowledged to the store that this one is a copy of, and came never again.
  @Test func theOutputOfARunThatOnlyItsAgentKnowsIsAskedFor() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      let (agent, found) = (agent, AttemptID(task: ULIDGenerator(floor: id.task).next()))
      for _ in 0..<2 {
        let made = try await store.write { db in
          try RunRow.fetch(db, task: found.task, agent: agent) == nil
            ? FlowFound.insert(db, task: found.task, agent: agent, attempt: 1, now: 1) != nil : false
        }
        #expect(try await wanted(store) == [found], "\(made)")
      }
      try await commit(store, frame(found, 1, oldest: 1, at: 0, "aaaa"))
      try await store.write { db in
        try db.execute(
          sql: "UPDATE runs SET state = 'succeeded', output_bytes = 4 WHERE task = ?", arguments: [found.task.description])
        try OutputRecall.strike(db, agent, givenUp: [])
      }
      #expect(try await wanted(store) == [], "it is whole")
    }
  }

  @Test func aSendNumberThatThisStoreNeverGaveTellsItToo() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      let agent = agent
      let restored = try await store.write { db in
        var row = try AgentRow.fetch(db, agent, now: 1)
        return try row.learn(db, SendNumber(fence: 9), now: 1)
      }
      #expect(restored)
      #expect(try await wanted(store) == [id])
      try await store.write { try OutputRecall.strike($0, agent, givenUp: [id]) }
      #expect(try await wanted(store) == [])
    }
  }

  /// Found by chaos: the run had gone on to its second attempt by the time the first one's output was to be asked for, and neither came.
  @Test func aRunThatHasGoneOnIsAskedForBothItsAttempts() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      let agent = agent
      try await commit(store, frame(id, 3, oldest: 3, at: 0, "aaaa"))
      try await store.write { db in
        try db.execute(sql: "INSERT INTO attempts (run, attempt, state, output_bytes) SELECT id, 1, 'failed', 9 FROM runs")
        try db.execute(sql: "UPDATE runs SET attempt = 2, state = 'succeeded', output_bytes = 4, retries = 3")
        try OutputRecall.strike(db, agent, givenUp: [])
      }
      let next = AttemptID(task: id.task, attempt: 2)
      #expect(try await wanted(store) == [id, next])
      try await commit(store, frame(next, 4, oldest: 3, at: 0, "bbbb"))
      try await store.write { try OutputRecall.strike($0, agent, givenUp: [id]) }
      #expect(try await wanted(store) == [])
    }
  }

  /// Found by review: after a restore the hosts were asked for what had been removed to save room, up to 5,000 runs each.
  @Test func whatRetentionHasRemovedIsNeitherAskedForNorTakenAgain() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      let agent = agent
      try await commit(store, frame(id, 1, oldest: 1, at: 0, "aaaa"))
      // It is open when the store is found to be a restored copy: so it is written down.
      try await commit(store, frame(id, 5, oldest: 5, at: 4, "bbbb"))
      #expect(try await wanted(store) == [id])
      try await end(store, 20)
      let surplus = try #require(try await store.read { try Retention.surplus($0, over: 0) })
      #expect(try await store.write { try Retention.take($0, surplus) })
      try await store.write { try OutputRecall.strike($0, agent, givenUp: []) }
      #expect(try await wanted(store) == [])
      // The next restore finds it removed already; and what is still on its way is not kept.
      try await commit(store, frame(id, 9, oldest: 9, at: 0, "aaaa"))
      #expect(try await wanted(store) == [])
      #expect(try await rows(store) == [])
    }
  }

  @Test func whatIsWholeAlreadyIsNotAskedFor() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      try await commit(store, frame(id, 1, oldest: 1, at: 0, "aaaa"))
      try await end(store, 4)
      try await commit(store, frame(id, 9, oldest: 9, at: 0, "aaaa"))
      #expect(try await wanted(store) == [])
    }
  }
}
