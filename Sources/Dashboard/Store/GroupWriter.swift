// Group commit: every write that waits when the writer thread comes round runs in one transaction, and all of them return after its
// COMMIT, which is on the disk by then (synchronous = FULL). One fsync for many writes is what makes thousands of accepted tasks a second
// possible.
//
// Invariants: writes run in the order in which they were submitted; a write that throws leaves no trace, and the others of its batch are
// run again without it. So a write may be run more than once and must touch nothing but the database it is given; only what its last run
// returned counts.

import Dispatch
import GRDB
import Synchronization

final class GroupWriter: Sendable {
  private struct State {
    var waiting: [Write] = []
    var asleep = false
    var stopped = false
  }
  private let pool: DatabasePool
  private let trouble = Mutex<StoreError?>(nil)
  private let state = Mutex(State())
  private let wake = DispatchSemaphore(value: 0)
  private let ended = DispatchSemaphore(value: 0)
  /// So that the first of a crowd does not wait for all of it.
  private static let largestBatch = 512
  #if DEBUG
    private let faults: Mutex<CommitFaults?>
  #endif

  init(_ pool: DatabasePool) {
    self.pool = pool
    #if DEBUG
      faults = Mutex(CommitFaults.ofEnvironment())
    #endif
    startThread { [self] in
      while let batch = next() { commit(batch) }
      ended.signal()
    }
  }

  /// Why nothing can be written; nil since something was.
  var fault: StoreError? { trouble.withLock { $0 } }

  func write<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
      let write = WriteOf(body, continuation)
      let (accepted, rouse) = state.withLock { state -> (Bool, Bool) in
        guard !state.stopped else { return (false, false) }
        state.waiting.append(write)
        let rouse = state.asleep
        state.asleep = false
        return (true, rouse)
      }
      if rouse { wake.signal() }
      if !accepted { write.fail(StoreError.closed) }
    }
  }

  /// Blocks until everything that was submitted is committed.
  func stop() {
    let first = state.withLock { state -> Bool in
      defer { state.stopped = true }
      return !state.stopped
    }
    guard first else { return }
    wake.signal()
    ended.wait()
  }

  private func next() -> ArraySlice<Write>? {
    while true {
      let (batch, over) = state.withLock { state -> (ArraySlice<Write>, Bool) in
        guard !state.waiting.isEmpty else {
          state.asleep = !state.stopped
          return ([], state.stopped)
        }
        let batch = state.waiting.prefix(Self.largestBatch)
        if batch.count == state.waiting.count { state.waiting = [] } else { state.waiting.removeFirst(batch.count) }
        return (batch, false)
      }
      if !batch.isEmpty { return batch }
      if over { return nil }
      wake.wait()
    }
  }

  // MARK: One batch

  private func commit(_ batch: ArraySlice<Write>) {
    pool.writeWithoutTransaction { db in
      if runTogether(batch, in: db) {
        committed(batch)
        return
      }
      // One of them fails: the others go on without it.
      var rest = Array(batch)
      while !rest.isEmpty { rest = runApart(rest, in: db) }
    }
  }

  /// The usual way. False: nothing was committed.
  private func runTogether(_ batch: ArraySlice<Write>, in db: Database) -> Bool {
    do {
      try db.beginTransaction(.immediate)
      let before = db.totalChangesCount
      for write in batch { try write.run(in: db) }
      try db.commit()
      passed(db, before)
      return true
    } catch {
      rollBack(db)
      return false
    }
  }

  /// Each write in a savepoint of its own. Returns those that have to be run again, fewer than were given.
  private func runApart(_ batch: [Write], in db: Database) -> [Write] {
    var good: [Write] = []
    do {
      try db.beginTransaction(.immediate)
      let before = db.totalChangesCount
      for (index, write) in batch.enumerated() {
        do {
          try db.execute(sql: "SAVEPOINT one")
          try write.run(in: db)
          try db.execute(sql: "RELEASE one")
          good.append(write)
        } catch {
          write.fail(judged(error))
          // A full disk may have made SQLite roll everything back by itself.
          guard db.isInsideTransaction else { return good + batch[(index + 1)...] }
          try db.execute(sql: "ROLLBACK TO one")
          try db.execute(sql: "RELEASE one")
        }
      }
      try db.commit()
      passed(db, before)
      committed(good[...])
    } catch {
      rollBack(db)
      let fault = judged(error)
      for write in batch { write.fail(fault) }
    }
    return []
  }

  private func judged(_ error: any Error) -> any Error {
    let judged = StoreError.judge(error)
    switch judged as? StoreError {
    case .full, .damaged: trouble.withLock { $0 = judged as? StoreError }
    default: break
    }
    return judged
  }

  /// A transaction that changed nothing needs no room: it proves nothing.
  private func passed(_ db: Database, _ before: Int) {
    guard db.totalChangesCount > before else { return }
    trouble.withLock { $0 = nil }
  }

  private func committed(_ writes: ArraySlice<Write>) {
    #if DEBUG
      if faults.withLock({ $0?.isDue() ?? false }) {
        for write in writes { write.fail(StoreError.failed("done, but reported as failed (MUSTER_FAULTS)")) }
        return
      }
    #endif
    for write in writes { write.succeed() }
  }

  private func rollBack(_ db: Database) {
    guard db.isInsideTransaction else { return }
    // Fails only where the transaction is gone already, which is what is wanted.
    do { try db.rollback() } catch {}
  }
}

/// One waiting write. `@unchecked Sendable`: made by the caller, and from then on touched by the writer thread alone (or by the caller
/// alone, where it was not accepted).
private class Write: @unchecked Sendable {
  func run(in db: Database) throws {}
  func succeed() {}
  func fail(_ error: any Error) {}
}

/// `@unchecked Sendable`: see `Write`.
private final class WriteOf<T: Sendable>: Write, @unchecked Sendable {
  private let body: @Sendable (Database) throws -> T
  private var continuation: CheckedContinuation<T, any Error>?
  private var value: T?

  init(_ body: @escaping @Sendable (Database) throws -> T, _ continuation: CheckedContinuation<T, any Error>) {
    self.body = body
    self.continuation = continuation
  }

  override func run(in db: Database) throws { value = try body(db) }

  override func succeed() {
    guard let value else { return fail(StoreError.failed("a write was committed that was not run")) }
    continuation?.resume(returning: value)
    continuation = nil
  }

  override func fail(_ error: any Error) {
    continuation?.resume(throwing: error)
    continuation = nil
  }
}
