// Writing a journal anew, beside the old one: without what nobody needs any more, because it has grown, or whole, because a sync has
// failed and the old file's end cannot be trusted. Of an attempt that is settled only its last word and the acknowledgement stay. Records keep
// their count and nonce, and the newest ones all stay, so that a rollback can still be told (rule `nonce`).
//
// Crash points: until the rename the old file is the journal and goes on growing; the new one is synced before it. Whatever is killed
// between two lines, one of the two is there, whole, with everything that was ever called durable. A full disk on the way leaves the
// old file in use. Where the rename is done and cannot be synced, the journal takes nothing until it could be.

import Glibc
import Shared

/// What has happened so far, for tests that look at the folder in between.
enum JournalRewritingStep: CaseIterable {
  case begun, kept, synced, finished, renamed, switched
}

struct JournalRewriting {
  /// The newest records, which Redis may hold the position of, all stay.
  static let untouched: UInt64 = 2048
  private static let piece = 1 << 16

  let file: JournalFile
  private(set) var end = UInt64(JournalRecord.magic.count)
  private(set) var marks = JournalMarks()
  private var buffer = JournalRecord.magic
  private var written: UInt64 = 0

  static func temporary(_ path: String) -> String { "\(path).new" }

  init(_ path: String) throws(FileError) { file = try JournalFile(JournalRewriting.temporary(path), flags: O_CREAT | O_TRUNC) }

  mutating func add(_ frame: some Collection<UInt8>, count: UInt64) throws(FileError) {
    if count > 0 { marks.note(count, end) }
    buffer.append(contentsOf: frame)
    end += UInt64(frame.count)
    if buffer.count >= JournalRewriting.piece { try flush() }
  }

  mutating func add(_ record: JournalRecord, count: UInt64, nonce: Nonce) throws {
    var frame: [UInt8] = []
    JournalScanner.frame(try record.payload(count: count, nonce: nonce), into: &frame)
    try add(frame, count: count)
  }

  mutating func flush() throws(FileError) {
    try file.write(buffer, at: written)
    written += UInt64(buffer.count)
    buffer.removeAll(keepingCapacity: true)
  }

  /// All of the records in these bytes.
  mutating func add(records bytes: [UInt8]) throws(FileError) {
    var at = 0
    while case (.record(let placed), let length) = JournalScanner.step(bytes, at: at, offset: 0) {
      try add(bytes[at..<at + length], count: placed.count)
      at += length
    }
  }
}

/// Which records stay. Fed with each in order, after what all of them together say is known.
struct JournalSieve {
  let contents: JournalContents
  let last: UInt64
  /// Under which identity, on which boot, in which hour: kept where a record that stays follows.
  private var pending: [(kind: Kind, frame: [UInt8], count: UInt64)] = []
  private enum Kind { case identity, opened, hour }
  /// The latest so far: what follows is of that hour, also behind a record of an earlier one (`recover` writes hour 0).
  private var hour: UInt32 = 0

  init(_ contents: JournalContents, last: UInt64) {
    self.contents = contents
    self.last = last
  }

  /// The frames to be kept now, in order, that of the record given perhaps among them.
  mutating func sift(_ placed: PlacedRecord, _ frame: ArraySlice<UInt8>) -> [(frame: [UInt8], count: UInt64)] {
    let isNew = placed.count + JournalRewriting.untouched > last
    if let kind = kind(placed.record) {
      pending.removeAll { $0.kind == kind }
      pending.append((kind, Array(frame), placed.count))
      return isNew ? flush() : []
    }
    guard isNew || stays(placed) else { return [] }
    return flush() + [(Array(frame), placed.count)]
  }

  mutating func flush() -> [(frame: [UInt8], count: UInt64)] {
    defer { pending = [] }
    return pending.map { ($0.frame, $0.count) }
  }

  /// Nil also for an hour that has passed already: it says nothing.
  private mutating func kind(_ record: JournalRecord?) -> Kind? {
    switch record {
    case .identity: return .identity
    case .opened: return .opened
    case .hour(let hour):
      guard hour >= self.hour else { return nil }
      self.hour = hour
      return .hour
    default: return nil
    }
  }

  private func stays(_ placed: PlacedRecord) -> Bool {
    // What a newer agent wrote.
    guard let record = placed.record else { return true }
    switch record {
    case .compacted, .hour: return false
    case .forgotten(let id): return id == contents.forgotten
    default: break
    }
    guard let id = record.attempt else { return true }
    if contents.unsettled[id] != nil { return true }
    switch record {
    case .ended, .tombstone: return contents.settled[id]?.count == placed.count || contents.parked[id]?.count == placed.count
    case .acknowledged: return contents.settled[id] != nil
    case .parked: return contents.parked[id] != nil
    default: return false
    }
  }
}

extension Journal {
  /// Writes the file anew if that saves enough. Blocks.
  /// - Returns: whether it did.
  @discardableResult
  func compact(step: (JournalRewritingStep) -> Void = { _ in }) throws(AgentWorkError) -> Bool {
    try rewrite(always: false, step)
  }

  /// After a failed sync: writes the file anew, whatever that saves. Then, or where only a write has failed, tries whether records are taken
  /// again, with one that says nothing (an hour that has passed). Blocks.
  func recover() throws(AgentWorkError) {
    if fault != nil { try rewrite(always: true) { _ in } }
    do {
      try state.withLock { try reserve(for: $0.missed, essential: false, &$0) }
    } catch {
      throw .journal("\(error)")
    }
    try append([.hour(0)])
    try syncNow()
  }

  nonisolated(nonsending) func recovered() async throws(AgentWorkError) {
    let outcome: Result<Void, AgentWorkError> = await withCheckedContinuation { continuation in
      rewriting.async { continuation.resume(returning: Result { () throws(AgentWorkError) in try self.recover() }) }
    }
    try outcome.get()
  }

  func compactInBackground() {
    let before = size
    let outcome = Result { () throws(AgentWorkError) in try compact() }
    state.withLock { state in
      state.isRewriting = false
      // Not before it has doubled: also where nothing was saved, or the disk had no room for two.
      let base = (try? outcome.get()) == true ? min(state.end, before) : before
      state.rewriteAt = max(compactFrom, base * 2)
    }
  }

  @discardableResult
  private func rewrite(always: Bool, _ step: (JournalRewritingStep) -> Void) throws(AgentWorkError) -> Bool {
    do {
      return try rewriteFile(always: always, step)
    } catch let error as AgentWorkError {
      throw error
    } catch {
      throw .journal("\(error)")
    }
  }

  private func rewriteFile(always: Bool, _ step: (JournalRewritingStep) -> Void) throws -> Bool {
    var new = try JournalRewriting(path)
    var isRenamed = false
    defer { if !isRenamed { unlink(JournalRewriting.temporary(path)) } }
    step(.begun)
    // Opened anew: after a failed sync the descriptor itself may be of no more use.
    let old = try JournalFile(path, flags: 0)
    let (through, durableEnd) = state.withLock { ($0.synced.count, $0.syncedEnd) }
    var contents = JournalContents()
    try each(old, until: durableEnd) { placed, _ in contents.apply(placed) }
    contents.dropDue()
    var sieve = JournalSieve(contents, last: through)
    try new.add(.compacted(through: through, sends: contents.sends), count: 0, nonce: Nonce(0))
    try each(old, until: durableEnd) { placed, frame in
      for kept in sieve.sift(placed, frame) { try new.add(kept.frame, count: kept.count) }
    }
    for kept in sieve.flush() { try new.add(kept.frame, count: kept.count) }
    guard always || new.end < durableEnd / 4 * 3 else { return false }
    try new.flush()
    step(.kept)
    try new.file.sync()
    step(.synced)
    // Nothing is appended from here on until the new file is in place.
    let waiters = try state.withLock { state -> [Waiter] in
      let tail = try old.bytes(from: durableEnd, to: state.syncedEnd)
      try new.add(records: tail + state.unsynced)
      try new.flush()
      try new.file.sync()
      step(.finished)
      guard rename(JournalRewriting.temporary(path), path) == 0 else { throw FileError("rename the new", path) }
      isRenamed = true
      step(.renamed)
      state.file = new.file
      state.end = new.end
      state.syncedEnd = new.end
      state.unsynced = []
      state.synced = state.position
      state.marks = new.marks
      state.compactedThrough = max(state.compactedThrough, through)
      state.reservedEnd = 0
      do {
        try Files.syncFolder(of: path)
        state.fault = nil
      } catch {
        state.fault = .journal("\(error)")
        throw error
      }
      step(.switched)
      defer { state.waiters = [] }
      return state.waiters.map(\.continuation)
    }
    let position = synced
    for waiter in waiters { waiter.resume(returning: .success(position)) }
    return true
  }

  private func each(_ file: JournalFile, until end: UInt64, _ body: (PlacedRecord, ArraySlice<UInt8>) throws -> Void) throws {
    var reader = JournalFileReader(descriptor: file.descriptor, offset: UInt64(JournalRecord.magic.count))
    while reader.offset < end {
      switch try reader.next(path) {
      case .record(let placed):
        guard placed.offset < end else { return }
        try body(placed, reader.frame)
      case .damage, .end: throw AgentWorkError.journal("\(path) cannot be read back as it was written")
      }
    }
  }
}
