// Strings and numbers of JSONReader. A string without escapes, the usual one, is copied once.

extension JSONParser {
  // MARK: Strings

  /// Reads a string; the present position is its opening quote.
  mutating func string() throws(JSONFault) -> String {
    let opening = position
    position += 1
    let start = position
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        let text = try text(from: start, to: position)
        position += 1
        return text
      case UInt8(ascii: "\\"):
        return try escapedString(opening: opening, start: start)
      case 0..<0x20:
        throw controlCharacter()
      default:
        position += 1
      }
    }
    throw fault(.grammar, at: opening, "this string has no closing quote")
  }

  private mutating func escapedString(opening: Int, start: Int) throws(JSONFault) -> String {
    _ = try text(from: start, to: position)
    var unescaped = Array(bytes[start..<position])
    var runStart = position
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        _ = try text(from: runStart, to: position)
        unescaped.append(contentsOf: bytes[runStart..<position])
        position += 1
        return String(decoding: unescaped, as: UTF8.self)
      case UInt8(ascii: "\\"):
        _ = try text(from: runStart, to: position)
        unescaped.append(contentsOf: bytes[runStart..<position])
        try escape(into: &unescaped)
        runStart = position
      case 0..<0x20:
        throw controlCharacter()
      default:
        position += 1
      }
    }
    throw fault(.grammar, at: opening, "this string has no closing quote")
  }

  private mutating func escape(into unescaped: inout [UInt8]) throws(JSONFault) {
    let start = position
    position += 1
    guard let byte = peek() else { throw fault(.grammar, "this string has no closing quote") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): unescaped.append(byte)
    case UInt8(ascii: "b"): unescaped.append(0x08)
    case UInt8(ascii: "f"): unescaped.append(0x0C)
    case UInt8(ascii: "n"): unescaped.append(0x0A)
    case UInt8(ascii: "r"): unescaped.append(0x0D)
    case UInt8(ascii: "t"): unescaped.append(0x09)
    case UInt8(ascii: "u"): try unicodeEscape(start: start, into: &unescaped)
    default:
      position = start
      throw fault(.grammar, "this escape is not one of JSON's (\\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX)")
    }
  }

  private mutating func unicodeEscape(start: Int, into unescaped: inout [UInt8]) throws(JSONFault) {
    var code = try fourHexDigits()
    if (0xD800..<0xDC00).contains(code) {
      guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else { throw loneSurrogate(start) }
      let low = try fourHexDigits()
      guard (0xDC00..<0xE000).contains(low) else { throw loneSurrogate(start) }
      code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
    }
    guard let scalar = Unicode.Scalar(code) else { throw loneSurrogate(start) }
    unescaped.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
  }

  private mutating func fourHexDigits() throws(JSONFault) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = peek(), let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw fault(.grammar, "expected four hexadecimal digits after \\u, found \(found())")
      }
      code = code << 4 | UInt32(digit)
      position += 1
    }
    return code
  }

  /// The bytes as text; a fault at the first byte that is no UTF-8.
  private func text(from start: Int, to end: Int) throws(JSONFault) -> String {
    let slice = UnsafeBufferPointer(rebasing: bytes[start..<end])
    if let text = String(validating: slice, as: UTF8.self) { return text }
    throw fault(.encoding, at: start + firstInvalid(slice), "these bytes are not UTF-8")
  }

  /// The offset of the first byte that belongs to no well-formed sequence.
  private func firstInvalid(_ slice: UnsafeBufferPointer<UInt8>) -> Int {
    var decoder = UTF8.ForwardParser()
    var iterator = slice.makeIterator()
    var offset = 0
    while case .valid(let sequence) = decoder.parseScalar(from: &iterator) { offset += sequence.count }
    return offset
  }

  private func controlCharacter() -> JSONFault {
    if bytes[position] == 0x0A || bytes[position] == 0x0D {
      return fault(.grammar, "a string must end on the line where it began (write a line break as \\n)")
    }
    return fault(.grammar, "a control character in a string must be written as an escape; found \(found())")
  }

  private func loneSurrogate(_ start: Int) -> JSONFault {
    fault(.encoding, at: start, "half of a surrogate pair stands alone")
  }

  // MARK: Numbers

  mutating func number() throws(JSONFault) -> JSONValue {
    let start = position
    let negative = take(UInt8(ascii: "-"))
    let digitsStart = position
    try digits("a digit")
    if bytes[digitsStart] == UInt8(ascii: "0"), position > digitsStart + 1 {
      throw fault(.grammar, at: digitsStart, "a number must not start with 0")
    }
    var whole = true
    if take(UInt8(ascii: ".")) {
      whole = false
      try digits("a digit after the point")
    }
    if peek() == UInt8(ascii: "e") || peek() == UInt8(ascii: "E") {
      whole = false
      position += 1
      if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
      try digits("a digit in the exponent")
    }
    if whole, let integer = integer(from: digitsStart, negative: negative) { return .integer(integer) }
    return .double(try double(from: start))
  }

  private mutating func digits(_ expected: String) throws(JSONFault) {
    let start = position
    while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) { position += 1 }
    guard position > start else { throw fault(.grammar, "expected \(expected), found \(found())") }
  }

  /// `nil` when it does not fit, and for `-0`, which only a float can hold.
  private func integer(from start: Int, negative: Bool) -> Int64? {
    var magnitude: UInt64 = 0
    for byte in bytes[start..<position] {
      let (product, tooBig) = magnitude.multipliedReportingOverflow(by: 10)
      let (sum, tooBigNow) = product.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
      if tooBig || tooBigNow { return nil }
      magnitude = sum
    }
    if !negative { return Int64(exactly: magnitude) }
    if magnitude == 0 { return nil }
    return magnitude == Int64.min.magnitude ? .min : Int64(exactly: magnitude).map { -$0 }
  }

  private func double(from start: Int) throws(JSONFault) -> Double {
    let digits = String(decoding: bytes[start..<position], as: UTF8.self)
    guard let value = Double(digits), value.isFinite else {
      throw fault(.outOfRange, at: start, "this number is too large")
    }
    return value
  }
}
