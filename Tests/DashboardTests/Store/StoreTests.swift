// The store's promises: what was written is there, what failed left nothing, and nobody opens a database that is not theirs.

import Dispatch
import GRDB
import Glibc
import Shared
import Synchronization
import Testing

@testable import Dashboard

private struct Refused: Error, Equatable {}

private func put(_ store: Store, _ key: String) async throws {
  try await store.write { try $0.execute(sql: "INSERT INTO store (key, value) VALUES (?, '')", arguments: [key]) }
}
private func keys(_ store: Store) async throws -> Set<String> {
  Set(try await store.read { try String.fetchAll($0, sql: "SELECT key FROM store") })
}

@Suite struct StoreTests {
  @Test func aCommitIsOnTheDiskBeforeTheWriteReturns() async throws {
    try await withStore { store in
      let (mode, synchronous) = try await store.write { db in
        (try Int.fetchOne(db, sql: "PRAGMA synchronous"), try Int.fetchOne(db, sql: "PRAGMA auto_vacuum"))
      }
      #expect(mode == 2, "FULL")
      #expect(synchronous == 2, "incremental")
      #expect(try await store.read { try String.fetchOne($0, sql: "PRAGMA journal_mode") } == "wal")
    }
  }

  @Test func concurrentWritesAreAllThere() async throws {
    try await withStore { store in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<500 { group.addTask { try await put(store, "k\(number)") } }
        try await group.waitForAll()
      }
      #expect(try await keys(store).count == 500)
    }
  }

  @Test func aWriteThatThrowsLeavesNoTraceAndSparesTheOthers() async throws {
    try await withStore { store in
      let failures = try await withThrowingTaskGroup(of: Bool.self) { group in
        for number in 0..<200 {
          group.addTask {
            do {
              try await store.write { db in
                try db.execute(sql: "INSERT INTO store (key, value) VALUES (?, '')", arguments: ["k\(number)"])
                if number % 3 == 0 { throw Refused() }
              }
              return false
            } catch is Refused {
              return true
            }
          }
        }
        return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      #expect(failures == 67)
      let there = try await keys(store)
      #expect(there == Set((0..<200).filter { $0 % 3 != 0 }.map { "k\($0)" }))
    }
  }

  @Test func aConstraintIsAFailureOfThatWriteAlone() async throws {
    try await withStore { store in
      try await put(store, "a")
      await #expect(throws: StoreError.self) { try await put(store, "a") }
      try await put(store, "b")
      #expect(try await keys(store) == ["a", "b"])
    }
  }

  @Test func aFullDiskIsSaidAndPasses() async throws {
    try await withStore { store in
      try await store.write { db in
        let pages = try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 0
        try db.execute(sql: "PRAGMA max_page_count = \(pages + 2)")
      }
      var full = false
      for number in 0..<50 {
        do {
          try await store.write { db in
            try db.execute(
              sql: "INSERT INTO store (key, value) VALUES (?, ?)", arguments: ["k\(number)", String(repeating: "x", count: 4000)])
          }
        } catch StoreError.full {
          full = true
          break
        }
      }
      #expect(full)
      try await store.write { try $0.execute(sql: "PRAGMA max_page_count = 1000000") }
      try await put(store, "after")
      #expect(try await keys(store).contains("after"))
    }
  }

  @Test func readersSeeWhatWasWrittenBefore() async throws {
    try await withStore { store in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<64 {
          group.addTask {
            try await put(store, "k\(number)")
            #expect(try await keys(store).contains("k\(number)"))
          }
        }
        try await group.waitForAll()
      }
    }
  }

  /// Found by review: four slow lists at once held up tombstones and kills.
  @Test func whatARequestReadsHoldsUpNoLoop() async throws {
    try await withStore { store in
      let requests = store.forRequests()
      let gate = DispatchSemaphore(value: 0)
      final class Progress: Sendable {
        let begun = Atomic(0)
        let done = Atomic(false)
      }
      let progress = Progress()
      let slow = (0..<12).map { _ in
        Task {
          try await requests.read { db in
            progress.begun.add(1, ordering: .relaxed)
            gate.wait()
            return try Int.fetchOne(db, sql: "SELECT 1")
          }
        }
      }
      #expect(await eventually { progress.begun.load(ordering: .relaxed) >= 4 })
      let short = Task {
        let two = try await store.read { try Int.fetchOne($0, sql: "SELECT 2") }
        #expect(two == 2)
        progress.done.store(true, ordering: .relaxed)
      }
      #expect(await eventually { progress.done.load(ordering: .relaxed) })
      for _ in slow { gate.signal() }
      try await short.value
      for read in slow { #expect(try await read.value == 1) }
      // Both are one store.
      try await put(requests, "x")
      #expect(try await keys(store).contains("x"))
    }
  }

  @Test func aClosedStoreRefuses() async throws {
    try await withFolder { folder in
      let store = try Store.open(at: folder + "/muster.sqlite", migrations: try migrations())
      try await put(store, "a")
      try store.close()
      await #expect(throws: StoreError.closed) { try await put(store, "b") }
      await #expect(throws: StoreError.closed) { try await keys(store) }
    }
  }
}

@Suite struct MigrationTests {
  private let first = Migration(name: "0001_a", sql: "CREATE TABLE a (x); INSERT INTO a VALUES (1)")
  private let second = Migration(name: "0002_b", sql: "INSERT INTO a VALUES (2)")

  private func expect(
    _ folder: String, _ migrations: [Migration], holds expected: [Int], _ location: SourceLocation = #_sourceLocation
  ) async throws {
    let store = try Store.open(at: folder + "/muster.sqlite", migrations: migrations)
    let rows = try await store.read { try Int.fetchAll($0, sql: "SELECT x FROM a") }
    try store.close()
    #expect(rows == expected, sourceLocation: location)
  }

  @Test func theyAreAppliedOnceAndInOrder() async throws {
    try await withFolder { folder in
      try await expect(folder, [first], holds: [1])
      try await expect(folder, [second, first], holds: [1, 2])
      try await expect(folder, [first, second], holds: [1, 2])
    }
  }

  @Test func anAlteredOneIsRefused() async throws {
    try await withFolder { folder in
      try await expect(folder, [first], holds: [1])
      let altered = Migration(name: "0001_a", sql: first.sql + " ")
      #expect(throws: StoreError.altered(path: folder + "/muster.sqlite", migration: "0001_a")) {
        try Store.open(at: folder + "/muster.sqlite", migrations: [altered])
      }
    }
  }

  @Test func aNewerDatabaseIsRefused() async throws {
    try await withFolder { folder in
      try await expect(folder, [first, second], holds: [1, 2])
      #expect(throws: StoreError.newer(path: folder + "/muster.sqlite", unknown: ["0002_b"])) {
        try Store.open(at: folder + "/muster.sqlite", migrations: [first])
      }
      try await expect(folder, [first, second], holds: [1, 2])
    }
  }

  @Test func aFailingOneLeavesNothing() async throws {
    try await withFolder { folder in
      let broken = Migration(name: "0002_b", sql: "INSERT INTO a VALUES (2); INSERT INTO nowhere VALUES (3)")
      #expect(throws: StoreError.self) { try Store.open(at: folder + "/muster.sqlite", migrations: [first, broken]) }
      try await expect(folder, [first, second], holds: [1, 2])
    }
  }

  @Test func aFileThatIsNoDatabaseIsRefused() async throws {
    try await withFolder { folder in
      let path = folder + "/muster.sqlite"
      let file = try #require(fopen(path, "w"))
      fputs(String(repeating: "this is no database. ", count: 100), file)
      fclose(file)
      #expect { try Store.open(at: path, migrations: [first]) } throws: { error in
        guard case StoreError.unusable(path, _) = error else { return false }
        return true
      }
    }
  }
}
