// Finds the records in the bytes of a journal. Pure: no file is touched here.

import Shared

/// One record found, with its place.
struct PlacedRecord: Sendable {
  var offset: UInt64
  var count: UInt64
  var nonce: Nonce
  /// Nil where a newer agent wrote what this one does not know.
  var record: JournalRecord?
}

/// Walks over a journal's bytes, which may come in pieces.
struct JournalScanner {
  enum Step {
    case record(PlacedRecord)
    /// The bytes end before the next record does.
    case short
    /// What stands here is no record.
    case bad
  }

  /// Reads the record that begins at `start` of `bytes`.
  static func step(_ bytes: [UInt8], at start: Int, offset: UInt64) -> (step: Step, length: Int) {
    let header = JournalRecord.frameHeader
    guard bytes.count - start >= header else { return (.short, 0) }
    let length = Int(number32(bytes, start))
    guard length >= 17, length <= JournalRecord.maximumPayload else { return (.bad, 0) }
    guard bytes.count - start - header >= length else { return (.short, header + length) }
    let payload = bytes[start + header..<start + header + length]
    guard Checksum.crc32(payload) == number32(bytes, start + 4) else { return (.bad, 0) }
    let count = number64(bytes, start + header)
    let nonce = Nonce(number64(bytes, start + header + 8))
    let record = JournalRecord(kind: bytes[start + header + 16], fields: payload.dropFirst(17))
    return (.record(PlacedRecord(offset: offset, count: count, nonce: nonce, record: record)), header + length)
  }

  /// Whether a record may begin here at all, by its length, count and kind; cheap, before the checksum is looked at.
  static func mayBegin(_ bytes: [UInt8], at start: Int, after last: UInt64) -> Bool {
    let header = JournalRecord.frameHeader
    guard bytes.count - start >= header + 17 else { return false }
    let length = Int(number32(bytes, start))
    guard length >= 17, length <= JournalRecord.maximumPayload, length <= bytes.count - start - header else { return false }
    let count = number64(bytes, start + header)
    return count > last && count - last < 1 << 32
  }

  /// A framed record, ready to be appended.
  static func frame(_ payload: [UInt8], into bytes: inout [UInt8]) {
    withUnsafeBytes(of: UInt32(truncatingIfNeeded: payload.count).littleEndian) { bytes.append(contentsOf: $0) }
    withUnsafeBytes(of: Checksum.crc32(payload).littleEndian) { bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: payload)
  }

  private static func number32(_ bytes: [UInt8], _ at: Int) -> UInt32 {
    (0..<4).reversed().reduce(0) { $0 << 8 | UInt32(bytes[at + $1]) }
  }
  private static func number64(_ bytes: [UInt8], _ at: Int) -> UInt64 {
    (0..<8).reversed().reduce(0) { $0 << 8 | UInt64(bytes[at + $1]) }
  }
}
