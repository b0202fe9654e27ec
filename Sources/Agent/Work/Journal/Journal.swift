// The agent's durable record of attempts: an append-only file with one writer. Records are written (to the kernel) at once and in order;
// `sync` makes them durable, one fdatasync for everybody who waits. What is not synced survives a crash of the agent, not one of the host.
//
// What if: the disk is full: nothing is left behind that a reader would take for a record, the caller is told and may try again; syncing
// fails: nobody knows what is on the disk any more, so the journal refuses everything until the next start.
// At open: a torn tail is cut off; where readable records follow unreadable bytes, the file is set aside as it was and the caller is told,
// for then the journal lacks something, and has to take a new identity.

import Dispatch
import Glibc
import Shared
import Synchronization

final class Journal: Sendable {
  struct Opened {
    var journal: Journal
    var contents: JournalContents
    /// Bytes cut off at the end.
    var torn: UInt64
    /// Where the damaged file was set aside; nil: every byte was read.
    var damaged: String?
  }

  private struct State {
    var end: UInt64
    var position: JournalPosition
    var synced: JournalPosition
    var fault: AgentWorkError?
    /// (count, offset) of every 256th record.
    var marks: [(count: UInt64, offset: UInt64)]
    var waiters: [(count: UInt64, continuation: CheckedContinuation<Result<JournalPosition, AgentWorkError>, Never>)] = []
    var isSyncing = false
  }

  static let markEvery: UInt64 = 256
  let path: String
  private let descriptor: Int32
  private let state: Mutex<State>
  private let queue = DispatchQueue(label: "journal")

  private init(path: String, descriptor: Int32, state: sending State) {
    self.path = path
    self.descriptor = descriptor
    self.state = Mutex(state)
  }

  deinit { close(descriptor) }

  // MARK: Opening

  /// Opens the journal or begins a new one. Blocks.
  /// - Parameter compactFrom: a larger file is first written anew without what nobody needs.
  static func open(_ path: String, compactFrom: UInt64 = 64 << 20) throws(AgentWorkError) -> Opened {
    let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .journal("\(FileError("open", path))") }
    do throws(AgentWorkError) {
      let opened = try read(path, descriptor)
      guard opened.damaged == nil, opened.journal.size > compactFrom, try JournalCompaction.run(path, descriptor, opened) else {
        return opened
      }
      return try open(path, compactFrom: .max)
    } catch {
      close(descriptor)
      throw error
    }
  }

  private static func read(_ path: String, _ descriptor: Int32) throws(AgentWorkError) -> Opened {
    var contents = JournalContents()
    var position = JournalPosition(journal: Nonce(0), count: 0, nonce: Nonce(0))
    var marks: [(count: UInt64, offset: UInt64)] = []
    var reader = JournalFileReader(descriptor: descriptor, offset: UInt64(JournalRecord.magic.count))
    var damaged = false
    let isNew = try hasNoMagic(path, descriptor)
    while !isNew {
      switch try reader.next(path) {
      case .record(let placed):
        // A count that does not follow: something between is missing.
        let follows = placed.count == position.count + 1 || position.count == 0 || placed.count <= contents.compactedThrough
        if !follows { damaged = true }
        contents.apply(placed)
        if case .compacted? = placed.record { continue }
        position = JournalPosition(journal: contents.journal ?? Nonce(0), count: placed.count, nonce: placed.nonce)
        if placed.count % markEvery == 1 || marks.isEmpty { marks.append((placed.count, placed.offset)) }
        continue
      case .damage:
        damaged = true
        continue
      case .end: break
      }
      break
    }
    let size = lseek(descriptor, 0, SEEK_END)
    let end = isNew ? UInt64(JournalRecord.magic.count) : reader.offset
    let torn = UInt64(max(0, size)) - min(end, UInt64(max(0, size)))
    let aside = damaged ? try setAside(path) : nil
    if torn > 0, ftruncate(descriptor, off_t(clamping: end)) != 0 { throw .journal("\(FileError("cut the tail of", path))") }
    let journal = Journal(
      path: path, descriptor: descriptor,
      state: State(end: end, position: position, synced: position, marks: marks))
    if isNew {
      guard pwrite(descriptor, JournalRecord.magic, JournalRecord.magic.count, 0) == JournalRecord.magic.count else {
        throw .journal("\(FileError("write", path))")
      }
    }
    if contents.journal == nil || aside != nil {
      let id = JournalID.random()
      for placed in try journal.append([.identity(id)]) { contents.apply(placed) }
      try journal.syncNow()
      do throws(FileError) { try Files.syncFolder(of: path) } catch { throw .journal("\(error)") }
    }
    return Opened(journal: journal, contents: contents, torn: torn, damaged: aside)
  }

  /// True for an empty file, or one whose very first bytes were torn.
  private static func hasNoMagic(_ path: String, _ descriptor: Int32) throws(AgentWorkError) -> Bool {
    var head = [UInt8](repeating: 0, count: JournalRecord.magic.count)
    let count = pread(descriptor, &head, head.count, 0)
    guard count >= 0 else { throw .journal("\(FileError("read", path))") }
    if count < head.count || head.allSatisfy({ $0 == 0 }) { return true }
    guard head == JournalRecord.magic else { throw .journal("\(path) is not a journal of this program, or of a newer one") }
    return false
  }

  private static func setAside(_ path: String) throws(AgentWorkError) -> String {
    let copy = "\(path).damaged-\(WallTime.now().milliseconds)"
    do throws(FileError) {
      try Files.writeAtomically(try Files.read(path, limit: 4 << 30), to: copy)
    } catch {
      throw .journal("\(error)")
    }
    return copy
  }

  // MARK: Writing

  /// Appends records, in order, in one write. They are not durable until `sync`.
  /// - Returns: the records with their places.
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
    var marks: [(count: UInt64, offset: UInt64)] = []
    for record in records {
      next.count += 1
      next.nonce = .random()
      if case .identity(let id) = record { next.journal = id }
      let offset = state.end + UInt64(bytes.count)
      if next.count % Journal.markEvery == 1 { marks.append((next.count, offset)) }
      placed.append(PlacedRecord(offset: offset, count: next.count, nonce: next.nonce, record: record))
      JournalScanner.frame(try record.payload(count: next.count, nonce: next.nonce), into: &bytes)
    }
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        pwrite(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done, off_t(clamping: state.end) + off_t(done))
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        let fault = AgentWorkError.journal("\(FileError("write", path))")
        if ftruncate(descriptor, off_t(clamping: state.end)) != 0 { state.fault = fault }
        throw fault
      }
      done += count
    }
    state.end += UInt64(bytes.count)
    state.position = next
    state.marks += marks
    return placed
  }

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
    let position = state.withLock { $0.position }
    let code = fdatasync(descriptor) == 0 ? 0 : errno
    return try state.withLock { state -> Result<JournalPosition, AgentWorkError> in
      if let fault = state.fault { return .failure(fault) }
      guard code == 0 else {
        let fault = AgentWorkError.journal("\(FileError("sync", path, code: code))")
        state.fault = fault
        return .failure(fault)
      }
      if position.count >= state.synced.count { state.synced = position }
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

  /// The nonce of the record with that count; nil where the journal has none. Blocks for a short read.
  func nonce(at count: UInt64) -> Nonce? {
    let (start, last) = state.withLock { state in (state.marks.last { $0.count <= count }, state.position.count) }
    guard let start, count <= last else { return nil }
    var reader = JournalFileReader(descriptor: descriptor, offset: start.offset)
    while let step = try? reader.next(path) {
      switch step {
      case .record(let placed):
        if placed.count == count { return placed.nonce }
        if placed.count > count { return nil }
      case .damage: continue
      case .end: return nil
      }
    }
    return nil
  }

  /// The record at a place that `append` or the contents told.
  func record(at offset: UInt64) -> JournalRecord? {
    var reader = JournalFileReader(descriptor: descriptor, offset: offset, piece: 4096)
    guard case .record(let placed)? = try? reader.next(path) else { return nil }
    return placed.record
  }
}
