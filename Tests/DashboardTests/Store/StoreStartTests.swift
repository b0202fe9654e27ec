// What a store says that cannot be opened, and how it stands while it runs.
import Foundation
import GRDB
import Testing

@testable import Dashboard

@Suite struct StoreStartTests {
  private func withFolder(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("muster-start-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try await body(folder)
  }

  private func fault(_ path: String) throws -> StoreError? {
    do {
      try Store.open(at: path, migrations: try Embedded.migrations()).close()
      return nil
    } catch let error as StoreError { return error }
  }

  @Test func aDamagedOneIsRefusedWithWhatToDo() async throws {
    try await withFolder { folder in
      let path = folder + "/muster.sqlite"
      #expect(try fault(path) == nil)
      let file = try #require(FileHandle(forUpdatingAtPath: path))
      // Behind the header: it is a database, and its pages make no sense.
      try file.seek(toOffset: 100)
      try file.write(contentsOf: Data(repeating: 0xA5, count: 8000))
      try file.close()
      let error = try #require(try fault(path))
      #expect("\(error)".contains(path) && "\(error)".contains("restore a copy"), "\(error)")
    }
  }

  @Test func oneThatCannotBeOpenedSaysWhy() async throws {
    try await withFolder { folder in
      try FileManager.default.createDirectory(atPath: folder + "/muster.sqlite", withIntermediateDirectories: true)
      let error = try #require(try fault(folder + "/muster.sqlite"))
      #expect("\(error)".contains("cannot be used as the store") && "\(error)".contains("may this user"), "\(error)")
    }
  }

  @Test func aFullStoreSaysSoUntilSomethingWasWritten() async throws {
    try await withFolder { folder in
      let store = try Store.open(at: folder + "/muster.sqlite", migrations: try Embedded.migrations())
      try await store.write { db in
        let pages = try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 0
        try db.execute(sql: "PRAGMA max_page_count = \(pages)")
      }
      await #expect(throws: StoreError.self) { try await store.probe() }
      guard case .full? = store.fault else {
        Issue.record("\(String(describing: store.fault))")
        return
      }
      // What only reads, or changes nothing, proves nothing.
      _ = try await store.write { try Int.fetchOne($0, sql: "SELECT 1") }
      #expect(store.fault != nil)
      try await store.write { try $0.execute(sql: "PRAGMA max_page_count = 1000000") }
      try await store.probe()
      #expect(store.fault == nil)
      try store.close()
    }
  }

  @Test func roomIsKeptAndGivenUpOnce() async throws {
    try await withFolder { folder in
      let path = folder + "/muster.sqlite"
      #expect(!StoreReserve.release(path))
      #expect(try fault(path) == nil)
      StoreReserve.keep(path)
      let size = try FileManager.default.attributesOfItem(atPath: path + ".reserve")[.size] as? Int
      #expect(size == 1 << 20)
      #expect(StoreReserve.release(path))
      #expect(!StoreReserve.release(path))
    }
  }

  @Test func tooFewDescriptorsForTheServersConnectionsAreSaid() {
    #expect(DescriptorLimit.risk(connections: 10_000, limit: 1024)?.contains("LimitNOFILE") ?? false)
    #expect(DescriptorLimit.risk(connections: 10_000, limit: 20_000) == nil)
  }
}
