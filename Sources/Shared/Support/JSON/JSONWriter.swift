// JSON text, byte by byte: the lowest layer of JSONCoder, also usable alone where a tree would be waste.
// It escapes what RFC 8259 demands and nothing else; it does not check that braces match.

public struct JSONWriter: Sendable {
  public var bytes: [UInt8] = []

  public init() {}

  public mutating func byte(_ byte: UInt8) {
    bytes.append(byte)
  }

  public mutating func null() { literal("null") }

  public mutating func bool(_ value: Bool) { literal(value ? "true" : "false") }

  /// A string with its quotes.
  public mutating func string(_ text: String) {
    var text = text
    text.withUTF8 { utf8 in
      bytes.append(UInt8(ascii: "\""))
      var runStart = 0
      for index in 0..<utf8.count {
        let byte = utf8[index]
        if byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") { continue }
        bytes.append(contentsOf: UnsafeBufferPointer(rebasing: utf8[runStart..<index]))
        escape(byte)
        runStart = index + 1
      }
      bytes.append(contentsOf: UnsafeBufferPointer(rebasing: utf8[runStart...]))
      bytes.append(UInt8(ascii: "\""))
    }
  }

  public mutating func integer<Integer: FixedWidthInteger>(_ value: Integer) {
    if value < 0 { bytes.append(UInt8(ascii: "-")) }
    var rest = UInt64(value.magnitude)
    if rest < 10 { return bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest)) }
    let start = bytes.count
    while rest > 0 {
      bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
      rest /= 10
    }
    bytes[start...].reverse()
  }

  /// The shortest form that reads back as the same number. `value` must be finite: JSON has no other.
  public mutating func double(_ value: Double) {
    if let whole = Int64(exactly: value), whole.magnitude < 1 << 53, value.sign == .plus || whole != 0 {
      return integer(whole)
    }
    literal(value.description)
  }

  public mutating func value(_ value: JSONValue) {
    switch value {
    case .null: null()
    case .bool(let value): bool(value)
    case .integer(let value): integer(value)
    case .double(let value): double(value)
    case .string(let value): string(value)
    case .array(let elements):
      var separator = UInt8(ascii: "[")
      for element in elements {
        bytes.append(separator)
        self.value(element)
        separator = UInt8(ascii: ",")
      }
      if elements.isEmpty { bytes.append(separator) }
      bytes.append(UInt8(ascii: "]"))
    case .object(let object):
      var separator = UInt8(ascii: "{")
      for member in object.members {
        bytes.append(separator)
        string(member.key)
        bytes.append(UInt8(ascii: ":"))
        self.value(member.value)
        separator = UInt8(ascii: ",")
      }
      if object.isEmpty { bytes.append(separator) }
      bytes.append(UInt8(ascii: "}"))
    }
  }

  private mutating func literal(_ text: String) {
    bytes.append(contentsOf: text.utf8)
  }

  private mutating func escape(_ byte: UInt8) {
    bytes.append(UInt8(ascii: "\\"))
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(byte)
    case 0x08: bytes.append(UInt8(ascii: "b"))
    case 0x0C: bytes.append(UInt8(ascii: "f"))
    case 0x0A: bytes.append(UInt8(ascii: "n"))
    case 0x0D: bytes.append(UInt8(ascii: "r"))
    case 0x09: bytes.append(UInt8(ascii: "t"))
    default:
      literal("u00")
      bytes.append(UInt8(ascii: "0") + byte >> 4)
      bytes.append(byte & 15 < 10 ? UInt8(ascii: "0") + byte & 15 : UInt8(ascii: "a") + byte & 15 - 10)
    }
  }
}

extension JSONValue {
  /// This value as compact JSON text. Every `.double` must be finite.
  public func bytes() -> [UInt8] {
    var writer = JSONWriter()
    writer.value(self)
    return writer.bytes
  }
}
