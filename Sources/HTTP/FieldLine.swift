// One `name: value` line, as heads and trailers have it (RFC 9112, section 5).

enum FieldLine {
  /// The range of the line's name; the colon stands right behind it.
  static func name(of line: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) -> Range<Int> {
    var index = line.lowerBound
    while index < line.upperBound, ByteRules.isToken(bytes[index]) { index += 1 }
    guard index < line.upperBound, bytes[index] == ByteRules.colon, index > line.lowerBound else {
      if index == line.lowerBound, index < line.upperBound, isBlank(bytes[index]) {
        throw .badRequest("A field is folded over two lines.")
      }
      if index < line.upperBound, isBlank(bytes[index]) { throw .badRequest("White space stands before a field's colon.") }
      throw .badRequest("A field line is not a name, a colon and a value.")
    }
    return line.lowerBound..<index
  }

  /// Refuses control characters in a value.
  static func check(_ value: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) {
    for index in value where !ByteRules.isFieldValue(bytes[index]) {
      throw .badRequest("A field's value holds a control character.")
    }
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == ByteRules.space || byte == ByteRules.tab }
}
