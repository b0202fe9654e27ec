// Opening a journal. A torn tail is cut off, and what was cut off is set aside in a small file of its own. Where readable records follow
// unreadable bytes, or the first bytes are not what they were, the file is set aside as it was and the caller is told, for then the journal
// lacks something and has to take a new identity: it goes on in a new file with what could be read. Crash points: the new file has the new
// identity before it takes the journal's name; until then the old one is found again as it was; a tail is cut off once it stands aside.
// What if: there is no room to set a tail aside: it is cut off all the same, for an agent has to start on a full disk, and the caller is told.

import Glibc
import Shared

extension Journal {
  struct Opened {
    var journal: Journal
    var contents: JournalContents
    /// Bytes cut off at the end.
    var torn = TornTail()
    /// No record could be read: it is a new one.
    var isNew: Bool
    /// Where the damaged file was set aside; nil: every byte was read.
    var damaged: String?
  }

  /// What was no whole record at a journal's end.
  struct TornTail {
    var bytes: UInt64 = 0
    /// Where they were set aside; nil: nowhere.
    var aside: String?
    /// Why they could not be.
    var fault: FileError?
  }

  /// So many torn tails are kept, the newest ones.
  static let tailsKept = 2

  /// Opens the journal or begins a new one. Blocks.
  /// - Parameter compactFrom: a larger file is written anew without what nobody needs, now and while it grows.
  static func open(_ path: String, compactFrom: UInt64 = 16 << 20) throws(AgentWorkError) -> Opened {
    // Left by a crash while the journal was written anew: never more than what stands in the journal.
    unlink(JournalRewriting.temporary(path))
    let file: JournalFile
    do throws(FileError) { file = try JournalFile(path, flags: O_CREAT) } catch { throw .journal("\(error)") }
    let opened = try read(file, compactFrom, wasDamaged: nil)
    guard opened.damaged == nil, opened.journal.size > compactFrom else { return opened }
    do throws(AgentWorkError) {
      guard try opened.journal.compact() else { return opened }
    } catch {
      // The file is as good as it was.
      return opened
    }
    var compacted = try read(try reopen(path), compactFrom, wasDamaged: nil)
    compacted.torn = opened.torn
    return compacted
  }

  private static func reopen(_ path: String) throws(AgentWorkError) -> JournalFile {
    do throws(FileError) { return try JournalFile(path, flags: 0) } catch { throw .journal("\(error)") }
  }

  /// - Parameter wasDamaged: where the file was set aside that this one is made of.
  private static func read(
    _ file: JournalFile, _ compactFrom: UInt64, wasDamaged aside: String?
  ) throws(AgentWorkError) -> Opened {
    var contents = JournalContents()
    var position = JournalPosition(journal: Nonce(0), count: 0, nonce: Nonce(0))
    var marks = JournalMarks()
    let head = try head(file)
    // A journal whose first bytes were changed is read all the same: its records prove themselves.
    var reader = JournalFileReader(descriptor: file.descriptor, offset: UInt64(JournalRecord.magic.count))
    var damaged = head == .damaged
    while head != .new {
      switch try reader.next(file.path) {
      case .record(let placed):
        // A count that does not follow: something between is missing.
        let follows = placed.count == position.count + 1 || placed.count <= contents.compactedThrough
        let isFirst = position.count == 0 && (placed.count == 0 || placed.count == 1)
        if !follows && !isFirst { damaged = true }
        contents.apply(placed)
        if case .compacted? = placed.record { continue }
        position = JournalPosition(journal: contents.journal ?? Nonce(0), count: placed.count, nonce: placed.nonce)
        marks.note(placed.count, placed.offset)
        continue
      case .damage:
        damaged = true
        continue
      case .end: break
      }
      break
    }
    if damaged {
      guard aside == nil else { throw .journal("\(file.path) cannot be read back as it was written") }
      let aside = try salvage(file, position, contents.sends)
      return try read(try reopen(file.path), compactFrom, wasDamaged: aside)
    }
    let size = file.size
    let end = head == .new ? UInt64(JournalRecord.magic.count) : reader.offset
    do {
      let torn = try cutOff(file, from: head == .new ? 0 : end, to: size)
      let rewriteAt = max(compactFrom, size > compactFrom ? end * 2 : 0)
      let journal = Journal(
        path: file.path, compactFrom: compactFrom,
        state: State(
          file: file, end: end, position: position, synced: position, syncedEnd: end, marks: marks,
          compactedThrough: contents.compactedThrough, rewriteAt: rewriteAt))
      if head == .new { try file.write(JournalRecord.magic, at: 0) }
      if contents.journal == nil {
        let id = JournalID.random()
        for placed in try journal.append([.identity(id)]) { contents.apply(placed) }
        try journal.syncNow()
        try Files.syncFolder(of: file.path)
      } else {
        // What is taken as durable from here on must be: a crash may have left it in the kernel alone.
        try file.sync()
      }
      return Opened(journal: journal, contents: contents, torn: torn, isNew: position.count == 0, damaged: aside)
    } catch let error as AgentWorkError {
      throw error
    } catch {
      throw .journal("\(error)")
    }
  }

  private enum Head { case new, whole, damaged }

  /// A file whose first bytes are no journal's may be anything; if a record can be read right behind them it is a damaged journal.
  private static func head(_ file: JournalFile) throws(AgentWorkError) -> Head {
    let magic = JournalRecord.magic
    var head = [UInt8](repeating: 0, count: magic.count)
    let count = pread(file.descriptor, &head, head.count, 0)
    guard count >= 0 else { throw .journal("\(FileError("read", file.path))") }
    if count < head.count { return .new }
    if head == magic { return .whole }
    var reader = JournalFileReader(descriptor: file.descriptor, offset: UInt64(magic.count))
    if case .record = try reader.next(file.path) { return .damaged }
    if head.allSatisfy({ $0 == 0 }) { return .new }
    throw .journal("\(file.path) is not a journal of this program, or of a newer one")
  }

  private static func cutOff(_ file: JournalFile, from start: UInt64, to end: UInt64) throws(FileError) -> TornTail {
    guard end > start else { return TornTail() }
    var torn = TornTail(bytes: end - start)
    do throws(FileError) {
      torn.aside = try setAside(file, from: start, to: end)
    } catch {
      torn.fault = error
    }
    try file.truncate(to: start)
    return torn
  }

  /// Copies the end of the file into one beside it, and removes the oldest of such.
  private static func setAside(_ file: JournalFile, from start: UInt64, to end: UInt64) throws(FileError) -> String {
    let prefix = "\(file.path).torn-"
    var former = numbers(of: prefix)
    // Two in one millisecond, or after a clock that was set back: the later one is the newer one.
    let number = max(WallTime.now().milliseconds, (former.last ?? .min) &+ 1)
    let path = "\(prefix)\(number)"
    let copy = try JournalFile(path, flags: O_CREAT | O_EXCL)
    do throws(FileError) {
      var offset = start
      while offset < end {
        let piece = try file.bytes(from: offset, to: min(end, offset + (1 << 16)))
        try copy.write(piece, at: offset - start)
        offset += UInt64(piece.count)
      }
      try copy.sync()
      try Files.syncFolder(of: path)
    } catch {
      unlink(path)
      throw error
    }
    former.append(number)
    for old in former.dropLast(tailsKept) { unlink("\(prefix)\(old)") }
    return path
  }

  /// The numbers at the end of names of files that begin like this, the smallest first.
  private static func numbers(of prefix: String) -> [Int64] {
    guard let name = prefix.split(separator: "/").last, let folder = opendir(Files.parent(of: prefix)) else { return [] }
    defer { closedir(folder) }
    var found: [Int64] = []
    while let entry = readdir(folder) {
      let other = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if other.hasPrefix(name), let number = Int64(other.dropFirst(name.count)) { found.append(number) }
    }
    return found.sorted()
  }

  /// Sets the file aside, and puts another one in its place: what of it can be read, then a new identity.
  /// - Returns: the path that the damaged one has now.
  private static func salvage(
    _ file: JournalFile, _ last: JournalPosition, _ sends: SendNumber
  ) throws(AgentWorkError) -> String {
    let path = file.path
    let aside = "\(path).damaged-\(WallTime.now().milliseconds)"
    do {
      var new = try JournalRewriting(path)
      try new.add(.compacted(through: last.count, sends: sends), count: 0, nonce: Nonce(0))
      var reader = JournalFileReader(descriptor: file.descriptor, offset: UInt64(JournalRecord.magic.count))
      reading: while true {
        switch try reader.next(path) {
        case .record(let placed):
          if case .compacted? = placed.record { continue }
          try new.add(reader.frame, count: placed.count)
        case .damage: continue
        case .end: break reading
        }
      }
      try new.add(.identity(.random()), count: last.count + 1, nonce: .random())
      try new.flush()
      try new.file.sync()
      guard link(path, aside) == 0 else { throw FileError("set aside", path) }
      guard rename(new.file.path, path) == 0 else { throw FileError("rename the new", path) }
      try Files.syncFolder(of: path)
      return aside
    } catch let error as AgentWorkError {
      throw error
    } catch {
      throw .journal("\(error)")
    }
  }
}
