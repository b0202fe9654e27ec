// Which bytes RFC 9110 and RFC 9112 allow where. Two 64-bit sets instead of tables: no memory, no bounds checks.

enum ByteRules {
  static let carriageReturn: UInt8 = 0x0D
  static let lineFeed: UInt8 = 0x0A
  static let space: UInt8 = 0x20
  static let tab: UInt8 = 0x09
  static let colon: UInt8 = 0x3A

  /// tchar of RFC 9110, 5.6.2: methods and field names.
  @inline(__always)
  static func isToken(_ byte: UInt8) -> Bool {
    contains(byte, low: 0x03ff_6cfa_0000_0000, high: 0x57ff_ffff_c7ff_fffe)
  }

  /// The bytes of a host, an IP literal and a port. No comma: it would hide two hosts in one field.
  @inline(__always)
  static func isHost(_ byte: UInt8) -> Bool {
    contains(byte, low: 0x2fff_6ff2_0000_0000, high: 0x47ff_fffe_afff_fffe)
  }

  /// A byte of a field's value: visible, space, tab or above ASCII; never a control character.
  @inline(__always)
  static func isFieldValue(_ byte: UInt8) -> Bool {
    byte >= 0x20 ? byte != 0x7F : byte == tab
  }

  @inline(__always)
  static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

  @inline(__always)
  static func hexDigit(_ byte: UInt8) -> Int? {
    if byte &- 0x30 < 10 { return Int(byte &- 0x30) }
    let lower = byte | 0x20
    return lower &- 0x61 < 6 ? Int(lower &- 0x61) + 10 : nil
  }

  @inline(__always)
  static func lowercased(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }

  @inline(__always)
  private static func contains(_ byte: UInt8, low: UInt64, high: UInt64) -> Bool {
    guard byte < 128 else { return false }
    return (byte < 64 ? low >> UInt64(byte) : high >> UInt64(byte &- 64)) & 1 == 1
  }
}

extension Span<UInt8> {
  /// Whether the bytes at `range` are `text`, which is lower-case ASCII, in any letter case.
  func matches(_ text: StaticString, at range: Range<Int>) -> Bool {
    guard range.count == text.utf8CodeUnitCount, range.upperBound <= count else { return false }
    return text.withUTF8Buffer { expected in
      for index in 0..<expected.count where ByteRules.lowercased(self[range.lowerBound + index]) != expected[index] {
        return false
      }
      return true
    }
  }

  /// `range` without spaces and tabs at its ends.
  func trimmed(_ range: Range<Int>) -> Range<Int> {
    var (lower, upper) = (range.lowerBound, range.upperBound)
    while lower < upper, self[lower] == ByteRules.space || self[lower] == ByteRules.tab { lower += 1 }
    while upper > lower, self[upper - 1] == ByteRules.space || self[upper - 1] == ByteRules.tab { upper -= 1 }
    return lower..<upper
  }

  /// The elements of a comma-separated list, trimmed; empty ones are left out (RFC 9110, 5.6.1).
  func listElements(_ range: Range<Int>, _ body: (Range<Int>) -> Void) {
    var start = range.lowerBound
    for index in range.lowerBound...range.upperBound where index == range.upperBound || self[index] == UInt8(ascii: ",") {
      let element = trimmed(start..<index)
      if !element.isEmpty { body(element) }
      start = index + 1
    }
  }
}
