// Codable to JSON and back. Unlike Foundation's coders, `nil` is written as `null` (API.md, Conventions), a fault in
// the text has a place, and nothing of Foundation is linked.
//
// Encoding writes bytes at once, so containers are strictly nested: a nested container is finished before its parent
// goes on (synthesized conformances always do that). Decoding tolerates unknown fields, and reads an absent field of
// an optional as `nil`.

public enum JSONCoder {
  /// `value` as compact JSON text.
  ///
  /// - Throws: `EncodingError` for a float that is not finite and for containers that are not strictly nested.
  public static func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] {
    let encoding = JSONEncoding()
    try encoding.value(value, at: nil)
    if let misuse = encoding.misuse { throw misuse }
    return encoding.writer.bytes
  }

  /// Reads `bytes` as one JSON text and makes a value of it.
  ///
  /// - Throws: `JSONFault` for what is no JSON, `DecodingError` (see `sentence`) for what has another shape.
  public static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8], maxDepth: Int = 64) throws -> Value {
    try decode(type, from: JSONReader.parse(bytes, maxDepth: maxDepth))
  }

  /// Makes a value of a JSON tree.
  public static func decode<Value: Decodable>(_ type: Value.Type, from value: JSONValue) throws -> Value {
    try JSONDecoding(value: value, path: nil).unbox(type)
  }
}

extension DecodingError {
  /// What has another shape than expected, and where: "runs[2].exitCode: expected a number, found a string".
  public var sentence: String {
    let context =
      switch self {
      case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context),
        .dataCorrupted(let context):
        context
      @unknown default: DecodingError.Context(codingPath: [], debugDescription: "cannot be read")
      }
    var path = ""
    for key in context.codingPath {
      if let index = key.intValue { path += "[\(index)]" } else { path += (path.isEmpty ? "" : ".") + key.stringValue }
    }
    return path.isEmpty ? context.debugDescription : "\(path): \(context.debugDescription)"
  }
}

/// A list's index, or a key that only its text is known of.
struct JSONKey: CodingKey {
  let stringValue: String
  let intValue: Int?

  init(index: Int) {
    stringValue = "\(index)"
    intValue = index
  }

  init(stringValue: String) {
    self.stringValue = stringValue
    intValue = nil
  }

  init?(intValue: Int) { self.init(index: intValue) }
}

extension JSONValue: Codable {
  public init(from decoder: any Decoder) throws {
    guard let decoding = decoder as? JSONDecoding else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "a JSON tree is only read by JSONCoder"))
    }
    self = decoding.value
  }

  public func encode(to encoder: any Encoder) throws {
    guard let encoding = encoder as? JSONEncoding.View else {
      throw EncodingError.invalidValue(
        self, .init(codingPath: encoder.codingPath, debugDescription: "a JSON tree is only written by JSONCoder"))
    }
    try encoding.write(self)
  }
}
