// Reads a runner's file from any record's offset on, also while the runner is writing it. A torn tail is no fault: it is what a crash,
// or a write under way, leaves behind. Blocking file reads; not for Swift's cooperative pool.

import Glibc

public struct RecordsReader: Sendable {
  public enum Outcome: Sendable, Equatable {
    case record(RunnerRecord)
    /// Nothing more yet. `torn`: bytes follow that are no whole record (a write under way, or the last one before a crash).
    case end(torn: Bool)
    /// So many bytes from `offset` on were no readable record, though readable ones follow; reading goes on behind them.
    case damaged(bytes: UInt64)
    case failed(errno: Int32)
  }

  public let path: [UInt8]
  /// Where the next record begins: what to come back with later. 0 is the beginning of the file.
  public private(set) var offset: UInt64
  private var buffer: [UInt8] = []
  private var bufferStart: UInt64 = 0

  public init(path: [UInt8], offset: UInt64 = 0) {
    self.path = path
    self.offset = offset
  }

  /// All records up to the end, in order; unreadable places are counted and skipped.
  public mutating func rest() -> (records: [RunnerRecord], damaged: UInt64, torn: Bool, errno: Int32) {
    var records: [RunnerRecord] = []
    var damaged: UInt64 = 0
    while true {
      switch next() {
      case .record(let record): records.append(record)
      case .damaged(let bytes): damaged += bytes
      case .end(let torn): return (records, damaged, torn, 0)
      case .failed(let error): return (records, damaged, false, error)
      }
    }
  }

  public mutating func next() -> Outcome {
    while true {
      let outcome = parse()
      switch outcome {
      case .end:
        let before = available
        let error = refill()
        if error != 0 { return .failed(errno: error) }
        if available == before { return parse(final: true) }
      default: return outcome
      }
    }
  }

  /// Lets go of what was read ahead: for a reader that is kept and seldom asked.
  public mutating func release() {
    buffer = []
    bufferStart = offset
  }

  private var available: Int { buffer.count - Int(offset - bufferStart) }

  /// Takes one record out of the buffer. Only with `final`, when no more bytes can be had, it judges what does not fit.
  private mutating func parse(final: Bool = false) -> Outcome {
    if offset == 0 {
      let start = Int(offset - bufferStart)
      guard available >= RunnerRecord.magic.count else { return .end(torn: available > 0) }
      let length = RunnerRecord.magic.count
      guard Array(buffer[start..<start + length]) == RunnerRecord.magic else {
        // Damaged first bytes, if a record stands right behind them; else it is some other file.
        switch frame(at: start + length) {
        case .whole: break
        case .short where !final: return .end(torn: true)
        case .short, .bad: return .failed(errno: EBADMSG)
        }
        offset += UInt64(length)
        return .damaged(bytes: UInt64(length))
      }
      offset += UInt64(length)
    }
    while true {
      let start = Int(offset - bufferStart)
      switch frame(at: start) {
      case .whole(let payload):
        offset += UInt64(payload.count + RunnerRecord.frameHeader)
        // A kind from a newer runner is passed over, however many there are.
        if let record = RunnerRecord(payload: payload) { return .record(record) }
      case .short, .bad:
        guard final else { return .end(torn: true) }
        guard available > 0 else { return .end(torn: false) }
        guard let next = resume(after: start) else { return .end(torn: true) }
        offset += UInt64(next - start)
        return .damaged(bytes: UInt64(next - start))
      }
    }
  }

  private enum Frame {
    case whole(ArraySlice<UInt8>)
    case short
    case bad
  }

  private func frame(at start: Int) -> Frame {
    guard buffer.count - start >= RunnerRecord.frameHeader else { return .short }
    func number(_ at: Int) -> UInt32 { (0..<4).reversed().reduce(0) { $0 << 8 | UInt32(buffer[at + $1]) } }
    let length = Int(number(start))
    guard length > 0, length <= RunnerRecord.maximumPayload else { return .bad }
    let first = start + RunnerRecord.frameHeader
    guard buffer.count - first >= length else { return .short }
    let payload = buffer[first..<first + length]
    return CRC32.of(payload) == number(start + 4) ? .whole(payload) : .bad
  }

  /// Where the next readable record begins, if one does. The checksum makes a false find practically impossible.
  private func resume(after start: Int) -> Int? {
    guard start + 1 < buffer.count else { return nil }
    let header = RunnerRecord.frameHeader
    for candidate in (start + 1)..<buffer.count {
      // A kind that there is, before the checksum is made of what may be megabytes.
      guard candidate + header < buffer.count, RunnerRecord.kinds.contains(buffer[candidate + header]) else { continue }
      if case .whole(let payload) = frame(at: candidate), RunnerRecord(payload: payload) != nil { return candidate }
    }
    return nil
  }

  /// Reads more behind the buffer, after forgetting what lies before `offset`.
  private mutating func refill() -> Int32 {
    let used = Int(offset - bufferStart)
    if used > 0 {
      buffer.removeSubrange(0..<min(used, buffer.count))
      bufferStart = offset
    }
    guard let file = Descriptor(open(System.cString(path), O_RDONLY | O_CLOEXEC)) else { return errno }
    let position = bufferStart + UInt64(buffer.count)
    // What was torn may have been written anew since: read it again, too.
    let again = buffer.count <= 65536 ? bufferStart : position
    var error: Int32 = 0
    let piece = [UInt8](unsafeUninitializedCapacity: 65536 + Int(position - again)) { target, count in
      count = System.read(file.raw, at: again, into: UnsafeMutableRawBufferPointer(target))
      if count < 0 { (error, count) = (errno, 0) }
    }
    if error != 0 { return error }
    if again == bufferStart { buffer = piece } else { buffer.append(contentsOf: piece) }
    return 0
  }
}
