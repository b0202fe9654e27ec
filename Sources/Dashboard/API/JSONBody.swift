// Answers are written straight into bytes: fields in API.md's order, absent values as `null`, lists that the store keeps as JSON copied
// as they are. Nesting is by closures, so braces and commas are always right.

import Shared

struct JSONBody {
  private var writer = JSONWriter()
  private var needsComma = false

  var bytes: [UInt8] { writer.bytes }

  /// One object as a whole body.
  static func object(_ fields: (inout JSONBody) throws -> Void) rethrows -> [UInt8] {
    var body = JSONBody()
    try body.object(fields)
    return body.bytes
  }

  mutating func object(_ fields: (inout JSONBody) throws -> Void) rethrows { try nest("{", "}", fields) }

  mutating func list<Items: Sequence>(_ items: Items, _ item: (inout JSONBody, Items.Element) throws -> Void) rethrows {
    try nest("[", "]") { body in
      for element in items { try item(&body, element) }
    }
  }

  private mutating func nest(_ open: Unicode.Scalar, _ close: Unicode.Scalar, _ inner: (inout JSONBody) throws -> Void) rethrows {
    comma()
    writer.byte(UInt8(ascii: open))
    needsComma = false
    try inner(&self)
    writer.byte(UInt8(ascii: close))
    needsComma = true
  }

  private mutating func comma() {
    if needsComma { writer.byte(UInt8(ascii: ",")) }
    needsComma = false
  }

  private mutating func key(_ key: String) {
    comma()
    writer.string(key)
    writer.byte(UInt8(ascii: ":"))
  }

  // MARK: Fields

  mutating func field(_ key: String, _ value: String?) {
    self.key(key)
    if let value { writer.string(value) } else { writer.null() }
    needsComma = true
  }

  mutating func field<Integer: FixedWidthInteger>(_ key: String, _ value: Integer?) {
    self.key(key)
    if let value { writer.integer(value) } else { writer.null() }
    needsComma = true
  }

  mutating func field(_ key: String, _ value: Bool) {
    self.key(key)
    writer.bool(value)
    needsComma = true
  }

  mutating func field(_ key: String, _ value: Double?) {
    self.key(key)
    if let value, value.isFinite { writer.double(value) } else { writer.null() }
    needsComma = true
  }

  /// Milliseconds since 1970, written as RFC 3339.
  mutating func time(_ key: String, _ milliseconds: Int64?) {
    field(key, milliseconds.map { WallTime(milliseconds: $0).description })
  }

  /// Text that is JSON already; nil: null.
  mutating func json(_ key: String, _ text: String?) {
    self.key(key)
    if let text { writer.bytes.append(contentsOf: text.utf8) } else { writer.null() }
    needsComma = true
  }

  mutating func object(_ key: String, _ fields: (inout JSONBody) throws -> Void) rethrows {
    self.key(key)
    try object(fields)
  }

  mutating func list<Items: Sequence>(
    _ key: String, _ items: Items, _ item: (inout JSONBody, Items.Element) throws -> Void
  ) rethrows {
    self.key(key)
    try list(items, item)
  }

  mutating func element(_ value: String) {
    comma()
    writer.string(value)
    needsComma = true
  }
}
