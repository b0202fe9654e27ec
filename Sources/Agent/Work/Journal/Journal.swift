// The agent's durable record of attempts: an append-only file with one writer. Records are written (to the kernel) at once and in order;
// `sync` makes them durable, one fdatasync for everybody who waits. What is not synced survives a crash of the agent, not one of the host.
// Records are found again by their counts, which stay when the file is written anew (`Journal+Rewriting`); offsets do not.
//
// What if: the disk is full: nothing is left behind that a reader would take for a record, the caller is told and may try again. Room
// is kept back for ends, so that what runs when the disk fills up can still be journaled. A sync failed: the kernel may have dropped what
// it could not write and say "done" the next time, so nothing behind the last good sync is believed to be on the disk: the journal takes
// nothing until `recover` has written it anew, that part from memory, and synced that file.

import Dispatch
import Glibc
import Shared
import Synchronization

final class Journal: Sendable {
  typealias Waiter = CheckedContinuation<Result<JournalPosition, AgentWorkError>, Never>

  struct State {
    var file: JournalFile
    var end: UInt64
    var position: JournalPosition
    var synced: JournalPosition
    /// Behind the last durable record.
    var syncedEnd: UInt64
    /// What was written behind it, record by record.
    var unsynced: [UInt8] = []
    /// Up to here the file has its room on the disk.
    var reservedEnd: UInt64 = 0
    /// So many bytes could not be appended for want of room.
    var missed: UInt64 = 0
    var fault: AgentWorkError?
    var marks: JournalMarks
    /// Counts up to this one have gaps.
    var compactedThrough: UInt64
    var waiters: [(count: UInt64, continuation: Waiter)] = []
    var isSyncing = false
    /// It is being written anew.
    var isRewriting = false
    /// When it is to be written anew next.
    var rewriteAt: UInt64
  }

  /// Room that only ends may use.
  static let keptBack: UInt64 = 256 << 10
  static let reserveStep: UInt64 = 1 << 20
  /// So much is kept in memory until it is synced, asked for or not.
  private static let unsyncedLimit = 1 << 20

  let path: String
  let compactFrom: UInt64
  let state: Mutex<State>
  private let queue = DispatchQueue(label: "journal")
  let rewriting = DispatchQueue(label: "journal.rewriting")

  init(path: String, compactFrom: UInt64, state: sending State) {
    self.path = path
    self.compactFrom = compactFrom
    self.state = Mutex(state)
  }

  // MARK: Writing

  /// Appends records, in order, in one write: all of them or none. They are not durable until `sync`.
  /// - Returns: the records with their places.
  /// - Throws: also for one that is too long to be read back.
  @discardableResult
  func append(_ records: [JournalRecord]) throws(AgentWorkError) -> [PlacedRecord] {
    guard !records.isEmpty else { return [] }
    do {
      return try state.withLock { state in try append(records, &state) }
    } catch let error as AgentWorkError {
      throw error
    } catch {
      throw .journal("\(error)")
    }
  }

  private func append(_ records: [JournalRecord], _ state: inout State) throws -> [PlacedRecord] {
    if let fault = state.fault { throw fault }
    var bytes: [UInt8] = []
    var placed: [PlacedRecord] = []
    var next = state.position
    for record in records {
      next.count += 1
      next.nonce = .random()
      if case .identity(let id) = record { next.journal = id }
      let offset = state.end + UInt64(bytes.count)
      placed.append(PlacedRecord(offset: offset, count: next.count, nonce: next.nonce, record: record))
      let payload = try record.payload(count: next.count, nonce: next.nonce)
      guard payload.count <= JournalRecord.maximumPayload else {
        throw AgentWorkError.journal("a record of \(payload.count) bytes is longer than any may be")
      }
      JournalScanner.frame(payload, into: &bytes)
    }
    try reserve(for: UInt64(bytes.count), essential: records.allSatisfy(\.isEssential), &state)
    do {
      try state.file.write(bytes, at: state.end)
    } catch {
      do { try state.file.truncate(to: state.end) } catch { state.fault = .journal("\(error)") }
      state.reservedEnd = 0
      throw error
    }
    for place in placed { state.marks.note(place.count, place.offset) }
    state.end += UInt64(bytes.count)
    state.position = next
    state.unsynced += bytes
    if state.unsynced.count > Journal.unsyncedLimit, !state.isSyncing {
      state.isSyncing = true
      queue.async { self.syncForWaiters() }
    }
    if state.end >= state.rewriteAt, !state.isRewriting {
      state.isRewriting = true
      rewriting.async { self.compactInBackground() }
    }
    return placed
  }

  func reserve(for length: UInt64, essential: Bool, _ state: inout State) throws {
    let needed = state.end + length + (essential ? 0 : Journal.keptBack)
    guard needed > state.reservedEnd else { return }
    let end = needed + Journal.reserveStep
    do {
      try state.file.reserve(from: max(state.end, state.reservedEnd), to: end)
      state.reservedEnd = end
      state.missed = 0
    } catch {
      if essential { return }
      state.missed = max(state.missed, length)
      throw error
    }
  }

  // MARK: Syncing

  /// Returns once everything appended before is durable, with the position of the last durable record.
  nonisolated(nonsending) func sync() async throws(AgentWorkError) -> JournalPosition {
    let outcome = await withCheckedContinuation { continuation in
      let now: Result<JournalPosition, AgentWorkError>? = state.withLock { state in
        if let fault = state.fault { return .failure(fault) }
        if state.synced.count == state.position.count { return .success(state.synced) }
        state.waiters.append((state.position.count, continuation))
        if !state.isSyncing {
          state.isSyncing = true
          queue.async { self.syncForWaiters() }
        }
        return nil
      }
      if let now { continuation.resume(returning: now) }
    }
    return try outcome.get()
  }

  private func syncForWaiters() {
    while true {
      let outcome = Result { () throws(AgentWorkError) in try syncNow() }
      let (done, more) = state.withLock { state in
        let reached = state.fault == nil ? state.synced.count : .max
        let done = state.waiters.filter { $0.count <= reached }
        state.waiters.removeAll { $0.count <= reached }
        state.isSyncing = !state.waiters.isEmpty
        return (done, state.isSyncing)
      }
      for waiter in done { waiter.continuation.resume(returning: outcome) }
      if !more { return }
    }
  }

  /// The same, blocking.
  @discardableResult
  func syncNow() throws(AgentWorkError) -> JournalPosition {
    let (file, position, end) = state.withLock { ($0.file, $0.position, $0.end) }
    let code = fdatasync(file.descriptor) == 0 ? 0 : errno
    return try state.withLock { state -> Result<JournalPosition, AgentWorkError> in
      // Another file by now, with all of it, synced.
      if state.file !== file, state.fault == nil { return .success(state.synced) }
      if let fault = state.fault { return .failure(fault) }
      guard code == 0 else {
        let fault = AgentWorkError.journal("\(FileError("sync", path, code: code))")
        state.fault = fault
        return .failure(fault)
      }
      if end > state.syncedEnd {
        state.unsynced.removeFirst(Int(clamping: end - state.syncedEnd))
        state.syncedEnd = end
        state.synced = position
      }
      return .success(state.synced)
    }.get()
  }

  // MARK: Asking

  /// Why the journal takes nothing any more.
  var fault: AgentWorkError? { state.withLock { $0.fault } }
  var identity: JournalID { state.withLock { $0.position.journal } }
  /// The last durable record.
  var synced: JournalPosition { state.withLock { $0.synced } }
  var size: UInt64 { state.withLock { $0.end } }

  /// Whether this journal was rolled back or copied, by what Redis holds of it (rule `position`). Blocks for a short read.
  ///
  /// What was dropped when the file was written anew is taken for its own: the newest records always stay, and a copy that had written so many
  /// since it parted would have met Redis on the way.
  func lacks(_ stored: JournalPosition?) throws(AgentWorkError) -> Bool {
    guard let stored else { return false }
    let (found, through) = (try nonce(at: stored.count), state.withLock { $0.compactedThrough })
    if found == nil, stored.count <= through { return false }
    return AttemptFlow.lacks(stored, journal: identity) { _ in found }
  }

  /// The nonce of the record with that count; nil where the journal has none. Blocks for a short read.
  func nonce(at count: UInt64) throws(AgentWorkError) -> Nonce? { try placed(at: count)?.nonce }

  /// The record with that count. Blocks for a short read.
  func record(at count: UInt64) throws(AgentWorkError) -> JournalRecord? { try placed(at: count)?.record }

  private func placed(at count: UInt64) throws(AgentWorkError) -> PlacedRecord? {
    let (file, start, last) = state.withLock { ($0.file, $0.marks.start(for: count), $0.position.count) }
    guard let start, count <= last else { return nil }
    var reader = JournalFileReader(descriptor: file.descriptor, offset: start, piece: 1 << 14)
    while true {
      switch try reader.next(path) {
      case .record(let placed):
        if placed.count == count { return placed }
        if placed.count > count { return nil }
      case .damage: continue
      case .end: return nil
      }
    }
  }
}
