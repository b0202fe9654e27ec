// A strict JSON reader (RFC 8259): no comments, no trailing commas, no repeated keys, UTF-8 checked, depth bounded.
// It exists because JSONDecoder on Linux neither says where a fault is nor sees a repeated key (DESIGN, section 8).
//
// A pure function of its bytes. The parser itself recurses, at most `maxDepth` deep. Strings and numbers are in
// JSONReader+Scalars.swift.

public enum JSONReader {
  /// Reads one JSON text, with white space around it and nothing else.
  ///
  /// - Parameter maxDepth: how deep objects and lists may be nested.
  /// - Throws: the first fault, with its line and column.
  public static func parse(_ bytes: [UInt8], maxDepth: Int = 64) throws(JSONFault) -> JSONValue {
    try bytes.withUnsafeBufferPointer { (buffer) throws(JSONFault) -> JSONValue in
      try parse(buffer, maxDepth: maxDepth)
    }
  }

  /// The same for text.
  public static func parse(_ text: String, maxDepth: Int = 64) throws(JSONFault) -> JSONValue {
    try parse(Array(text.utf8), maxDepth: maxDepth)
  }

  /// The same for bytes that somebody else owns.
  public static func parse(_ bytes: UnsafeBufferPointer<UInt8>, maxDepth: Int = 64) throws(JSONFault) -> JSONValue {
    var parser = JSONParser(bytes: bytes, maxDepth: maxDepth)
    return try parser.wholeText()
  }
}

struct JSONParser {
  let bytes: UnsafeBufferPointer<UInt8>
  let maxDepth: Int
  var position = 0
  private var depth = 0

  init(bytes: UnsafeBufferPointer<UInt8>, maxDepth: Int) {
    self.bytes = bytes
    self.maxDepth = maxDepth
  }

  mutating func wholeText() throws(JSONFault) -> JSONValue {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
      throw fault(.encoding, "the text starts with a byte order mark; save it as UTF-8 without one")
    }
    skipSpace()
    guard position < bytes.count else { throw fault(.grammar, "the text is empty") }
    let value = try value()
    skipSpace()
    guard position == bytes.count else {
      throw fault(.grammar, "expected the end of the text, found \(found())")
    }
    return value
  }

  // MARK: Values

  private mutating func value() throws(JSONFault) -> JSONValue {
    guard position < bytes.count else { throw fault(.grammar, "expected a value, found \(found())") }
    switch bytes[position] {
    case UInt8(ascii: "{"): return try object()
    case UInt8(ascii: "["): return try array()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: throw fault(.grammar, "expected a value, found \(found())")
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JSONFault) -> JSONValue {
    let length = word.utf8CodeUnitCount
    for index in 0..<length where position + index >= bytes.count || bytes[position + index] != word.utf8Start[index] {
      throw fault(.grammar, "expected a value, found \(found())")
    }
    position += length
    return value
  }

  private mutating func array() throws(JSONFault) -> JSONValue {
    try enter()
    skipSpace()
    var elements: [JSONValue] = []
    if take(UInt8(ascii: "]")) {
      depth -= 1
      return .array(elements)
    }
    while true {
      elements.append(try value())
      skipSpace()
      if take(UInt8(ascii: ",")) {
        skipSpace()
        if peek() == UInt8(ascii: "]") { throw fault(.grammar, "a comma must not stand before ']'") }
        continue
      }
      guard take(UInt8(ascii: "]")) else {
        throw fault(.grammar, "expected ',' or ']' in a list, found \(found())")
      }
      depth -= 1
      return .array(elements)
    }
  }

  private mutating func object() throws(JSONFault) -> JSONValue {
    try enter()
    skipSpace()
    var members: [JSONObject.Member] = []
    var keys = RepeatedKeys()
    if take(UInt8(ascii: "}")) {
      depth -= 1
      return .object(JSONObject())
    }
    while true {
      guard peek() == UInt8(ascii: "\"") else {
        throw fault(.grammar, "expected a key in double quotes, found \(found())")
      }
      let start = position
      let key = try string()
      if keys.sees(key, among: members) {
        throw fault(.repeatedKey(key), at: start, "the key \(quoted(key)) stands twice in one object")
      }
      skipSpace()
      guard take(UInt8(ascii: ":")) else {
        throw fault(.grammar, "expected ':' after the key \(quoted(key)), found \(found())")
      }
      skipSpace()
      do throws(JSONFault) {
        members.append(JSONObject.Member(key: key, value: try value()))
      } catch {
        throw error.inside(key)
      }
      skipSpace()
      if take(UInt8(ascii: ",")) {
        skipSpace()
        if peek() == UInt8(ascii: "}") { throw fault(.grammar, "a comma must not stand before '}'") }
        continue
      }
      guard take(UInt8(ascii: "}")) else {
        throw fault(.grammar, "expected ',' or '}' after the value of \(quoted(key)), found \(found())")
      }
      depth -= 1
      return .object(JSONObject(members))
    }
  }

  private mutating func enter() throws(JSONFault) {
    depth += 1
    guard depth <= maxDepth else { throw fault(.tooDeep, "nested deeper than \(maxDepth) levels") }
    position += 1
  }

  // MARK: Bytes

  func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

  mutating func take(_ byte: UInt8) -> Bool {
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  private mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x0A, 0x0D, 0x09: position += 1
      default: return
      }
    }
  }

  // MARK: Faults

  func fault(_ kind: JSONFault.Kind, at offset: Int? = nil, _ message: String) -> JSONFault {
    JSONFault(kind, at: offset ?? position, in: bytes, message)
  }

  /// What stands at the present position, for a sentence.
  func found() -> String {
    guard let byte = peek() else { return "the end of the text" }
    switch byte {
    case 0x0A, 0x0D: return "the end of the line"
    case 0x21..<0x7F: return "'\(Character(Unicode.Scalar(byte)))'"
    case 0x20: return "a space"
    default: return "the byte 0x\(String(byte, radix: 16, uppercase: true))"
    }
  }

  private func quoted(_ key: String) -> String {
    var writer = JSONWriter()
    writer.string(key.count > 64 ? key.prefix(64) + "…" : key)
    return String(decoding: writer.bytes, as: UTF8.self)
  }
}

/// Tells a repeated key by its bytes; few keys are compared one by one, many through a set.
private struct RepeatedKeys {
  private var set: Set<String> = []

  mutating func sees(_ key: String, among members: [JSONObject.Member]) -> Bool {
    if members.count < 12 { return contains(key, members) }
    if set.isEmpty { set = Set(members.map(\.key)) }
    // Swift's strings are equal when they look equal; two keys are the same only when their bytes are.
    return !set.insert(key).inserted && contains(key, members)
  }

  private func contains(_ key: String, _ members: [JSONObject.Member]) -> Bool {
    members.contains { $0.key == key && $0.key.utf8.elementsEqual(key.utf8) }
  }
}
