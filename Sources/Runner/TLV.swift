// Tag, length, value: the one encoding of everything the runner says, on disk and to the agent.
// A field is a tag (one byte), a length (4 bytes, little endian) and so many bytes; numbers are 8 bytes, little endian.
// Readers skip tags that they do not know, so a field may be added at any time; a tag is never used for something else again.
// When adding a field, also: a golden file in Tests/RunnerTests/Golden that holds it.

/// Builds a sequence of fields.
public struct TLVWriter: Sendable {
  public private(set) var bytes: [UInt8] = []

  public init(reserving capacity: Int = 128) { bytes.reserveCapacity(capacity) }

  public mutating func put(_ tag: UInt8, _ value: [UInt8]) {
    bytes.append(tag)
    put32(UInt32(truncatingIfNeeded: value.count))
    bytes.append(contentsOf: value)
  }

  public mutating func put(_ tag: UInt8, _ value: UInt64) {
    bytes.append(tag)
    put32(8)
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  public mutating func put(_ tag: UInt8, _ value: Int64) { put(tag, UInt64(bitPattern: value)) }

  private mutating func put32(_ value: UInt32) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }
}

/// Walks over a sequence of fields; ends at the first one that does not fit (`isWhole` is false then).
public struct TLVReader: Sendable {
  public struct Field: Sendable {
    public let tag: UInt8
    public let value: ArraySlice<UInt8>

    public var bytes: [UInt8] { Array(value) }
    /// The number in an 8-byte field; 0 for any other length.
    public var unsigned: UInt64 {
      guard value.count == 8 else { return 0 }
      return value.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
    public var signed: Int64 { Int64(bitPattern: unsigned) }
    /// The same within Int32's range; numbers outside it become 0.
    public var small: Int32 { Int32(exactly: signed) ?? 0 }
  }

  private var rest: ArraySlice<UInt8>

  public init(_ bytes: ArraySlice<UInt8>) { rest = bytes }
  public init(_ bytes: [UInt8]) { rest = bytes[...] }

  /// True once every byte belonged to a field.
  public var isWhole: Bool { rest.isEmpty }

  public mutating func next() -> Field? {
    guard rest.count >= 5 else { return nil }
    let tag = rest[rest.startIndex]
    var length = 0
    for index in (1...4).reversed() { length = length << 8 | Int(rest[rest.startIndex + index]) }
    guard rest.count - 5 >= length else { return nil }
    let start = rest.startIndex + 5
    let field = Field(tag: tag, value: rest[start..<start + length])
    rest = rest[(start + length)...]
    return field
  }
}

/// A base-128 number, low bits first: how segments are packed.
enum Varint {
  static func append(_ number: UInt64, to bytes: inout [UInt8]) {
    var rest = number
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  /// Takes one number off the front; nil where it is cut short or longer than 64 bits.
  static func take(from bytes: inout ArraySlice<UInt8>) -> UInt64? {
    var number: UInt64 = 0
    var shift: UInt64 = 0
    while let byte = bytes.popFirst() {
      guard shift < 63 || (shift == 63 && byte <= 1) else { return nil }
      number |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return number }
      shift += 7
    }
    return nil
  }
}
