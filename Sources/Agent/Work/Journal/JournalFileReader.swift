// Reads records from a journal file, piece by piece. Blocks.

import Glibc
import Shared

struct JournalFileReader {
  enum Step {
    case record(PlacedRecord)
    /// Bytes that are no record were skipped; a readable record follows.
    case damage
    /// Nothing readable follows; `offset` is behind the last record.
    case end
  }

  private let descriptor: Int32
  private let piece: Int
  /// Where the next record begins.
  private(set) var offset: UInt64
  private var buffer: [UInt8] = []
  /// Of the next record, in the buffer.
  private var start = 0
  private var isAtEnd = false
  private var length = 0
  /// Count of the last record.
  private var last: UInt64 = 0

  /// The bytes of the record that `next` returned last, as they stand in the file.
  var frame: ArraySlice<UInt8> { buffer[start - length..<start] }

  init(descriptor: Int32, offset: UInt64, piece: Int = 1 << 16) {
    self.descriptor = descriptor
    self.offset = offset
    self.piece = piece
  }

  mutating func next(_ path: String) throws(AgentWorkError) -> Step {
    while true {
      let (step, length) = JournalScanner.step(buffer, at: start, offset: offset)
      switch step {
      case .record(let placed):
        self.length = length
        last = placed.count
        start += length
        offset += UInt64(length)
        return .record(placed)
      case .short:
        if try fill(path) { continue }
        fallthrough
      case .bad:
        while try fill(path) {}
        return skip()
      }
    }
  }

  /// Looks for a readable record behind the bad place. The checksum makes a false find practically impossible; a count that is out of the
  /// question spares reading on for one.
  private mutating func skip() -> Step {
    guard start + 1 < buffer.count else { return .end }
    for candidate in (start + 1)..<buffer.count where JournalScanner.mayBegin(buffer, at: candidate, after: last) {
      if case .record = JournalScanner.step(buffer, at: candidate, offset: 0).step {
        offset += UInt64(candidate - start)
        start = candidate
        return .damage
      }
    }
    return .end
  }

  private mutating func fill(_ path: String) throws(AgentWorkError) -> Bool {
    if isAtEnd { return false }
    if start > 0 {
      buffer.removeFirst(start)
      start = 0
    }
    let position = offset + UInt64(buffer.count)
    var failure: Int32 = 0
    let more = [UInt8](unsafeUninitializedCapacity: piece) { target, count in
      while true {
        let got = pread(descriptor, target.baseAddress, target.count, off_t(clamping: position))
        if got < 0 && errno == EINTR { continue }
        if got < 0 { failure = errno }
        count = max(0, got)
        return
      }
    }
    if failure != 0 { throw .journal("\(FileError("read", path, code: failure))") }
    isAtEnd = more.isEmpty
    buffer += more
    return !more.isEmpty
  }
}
