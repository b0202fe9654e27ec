// The history database: the one way to SQLite. SQL stands in this folder and in /migrations, nowhere else.
//
// Invariants: a write that has returned survives a power cut (WAL, synchronous = FULL); one writer thread (GroupWriter) and a few readers,
// none on Swift's cooperative pool; a reader sees every write that has returned before it began. The loops read on threads of their own: what
// they read is short, and a kill must not wait behind somebody's long list (`forRequests`).
// When adding a query, also: look at its plan over a million runs (`EXPLAIN QUERY PLAN`; no SCAN of tasks, runs or output).

import GRDB
import Shared

final class Store: Sendable {
  let path: String
  private let pool: DatabasePool
  private let writer: GroupWriter
  private let readers: WorkerThreads
  private let requestReaders: WorkerThreads

  /// Opens or makes the database and brings it to the present form. Blocks: call it at start.
  /// - Throws: `StoreError`.
  static func open(at path: String, migrations: [Migration]) throws -> Store {
    do { return try Store(path: path, migrations: migrations) } catch let error as DatabaseError {
      guard isForWantOfRoom(error), StoreReserve.release(path) else { throw atStart(error, path) }
      do { return try Store(path: path, migrations: migrations) } catch let error as DatabaseError { throw atStart(error, path) }
    }
  }

  private static func isForWantOfRoom(_ error: DatabaseError) -> Bool {
    error.resultCode == .SQLITE_FULL || error.resultCode == .SQLITE_IOERR || error.resultCode == .SQLITE_CANTOPEN
  }

  private static func atStart(_ error: DatabaseError, _ path: String) -> StoreError {
    let reason = error.message ?? error.description
    switch error.resultCode {
    case .SQLITE_FULL: return .full("\(reason) (\(path))")
    case .SQLITE_IOERR:
      return .unusable(path: path, "\(reason) (SQLite \(error.extendedResultCode.rawValue)); is its disk full, or broken?")
    case .SQLITE_READONLY: return .unusable(path: path, "\(reason); may this user write it, and is its disk mounted for writing?")
    case .SQLITE_CANTOPEN: return .unusable(path: path, "\(reason); may this user read and write its folder, and is there room?")
    case .SQLITE_CORRUPT, .SQLITE_NOTADB: return .unusable(path: path, "\(reason); restore a copy of it")
    default: return .unusable(path: path, reason)
    }
  }

  /// Why nothing can be written now; nil while writes succeed.
  var fault: StoreError? { writer.fault }

  /// Writes something for no other reason than to learn whether it can be written; more than what is left of a block.
  func probe() async throws {
    let text = String(repeating: "\(UInt64.random(in: .min ... .max))", count: 512)
    try await write { try StoreIdentity.probe($0, text) }
  }

  private static let loopThreads = 2
  private static let requestThreads = 4

  private init(path: String, migrations: [Migration]) throws {
    var configuration = Configuration()
    configuration.label = "store"
    configuration.foreignKeysEnabled = false
    configuration.busyMode = .timeout(5)
    configuration.maximumReaderCount = Self.loopThreads + Self.requestThreads
    configuration.persistentReadOnlyConnections = true
    configuration.prepareDatabase { db in
      // Only takes effect while the file is empty; lets retention give space back to the disk later.
      if !db.configuration.readonly { try db.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL") }
      try db.execute(sql: "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8000")
    }
    self.path = path
    pool = try DatabasePool(path: path, configuration: configuration)
    try pool.writeWithoutTransaction { db in
      // GRDB sets NORMAL, which may lose the last commits in a power cut; an accepted task must not be lost.
      try db.execute(sql: "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 2000")
      try Migrations.apply(migrations, to: db, path: path)
    }
    writer = GroupWriter(pool)
    readers = WorkerThreads(count: Self.loopThreads)
    requestReaders = WorkerThreads(count: Self.requestThreads)
  }

  private init(forRequestsOn store: Store) {
    path = store.path
    pool = store.pool
    writer = store.writer
    readers = store.requestReaders
    requestReaders = store.requestReaders
  }

  /// The same store for whoever answers requests, or looks through much of it: other threads and connections to read with. It is closed with
  /// this one.
  func forRequests() -> Store { Store(forRequestsOn: self) }

  /// Runs `body` in a transaction that it may share with other writes, and returns once that is committed and on the disk.
  ///
  /// `body` may be run more than once (see GroupWriter): it must touch nothing but the database. It is not cancelled with its task.
  /// - Throws: what `body` throws (then nothing of it is kept), `StoreError` for what SQLite says.
  func write<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
    try await writer.write(body)
  }

  /// Runs `body` on one consistent state of the database.
  /// - Throws: what `body` throws, `StoreError` for what SQLite says.
  func read<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
    try await readers.run { [pool] in
      do { return try pool.read(body) } catch { throw StoreError.judge(error) }
    }
  }

  /// Blocks until every write that was begun is committed. Later calls throw `StoreError.closed`.
  func close() throws {
    writer.stop()
    readers.stop()
    requestReaders.stop()
    try pool.close()
  }
}
