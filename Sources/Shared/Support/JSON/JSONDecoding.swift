// The Decoder behind JSONCoder.decode, over a JSON tree. Unknown fields are passed over. Whole numbers are exact or
// refused; a float is read from any number.

struct JSONDecoding: Decoder {
  /// Where a value stands, from the inside out; built only as deep as the decoding goes.
  final class Place: Sendable {
    let key: any CodingKey
    let parent: Place?

    init(_ key: any CodingKey, in parent: Place?) {
      self.key = key
      self.parent = parent
    }
  }

  let value: JSONValue
  let path: Place?

  var codingPath: [any CodingKey] {
    var keys: [any CodingKey] = []
    var place = path
    while let here = place {
      keys.append(here.key)
      place = here.parent
    }
    return keys.reversed()
  }

  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
    guard case .object(let object) = value else { throw mismatch("an object", JSONObject.self) }
    return KeyedDecodingContainer(KeyedReader<Key>(decoding: self, members: object.members))
  }

  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    guard case .array(let elements) = value else { throw mismatch("a list", [JSONValue].self) }
    return UnkeyedReader(decoding: self, elements: elements)
  }

  func singleValueContainer() -> any SingleValueDecodingContainer { SingleReader(decoding: self) }

  // MARK: Values

  func unbox<Value: Decodable>(_ type: Value.Type) throws -> Value {
    if type == JSONValue.self, let value = value as? Value { return value }
    return try Value(from: self)
  }

  func bool() throws -> Bool {
    guard case .bool(let value) = value else { throw mismatch("true or false", Bool.self) }
    return value
  }

  func string() throws -> String {
    guard case .string(let value) = value else { throw mismatch("a string", String.self) }
    return value
  }

  func double() throws -> Double {
    guard let value = value.asDouble else { throw mismatch("a number", Double.self) }
    return value
  }

  func integer<Integer: FixedWidthInteger>(_ type: Integer.Type = Integer.self) throws -> Integer {
    guard let whole = value.asInteger else { throw mismatch("a whole number", type) }
    guard let fitting = Integer(exactly: whole) else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: codingPath, debugDescription: "\(whole) is not between \(Integer.min) and \(Integer.max)"))
    }
    return fitting
  }

  func mismatch(_ expected: String, _ type: Any.Type) -> DecodingError {
    let context = DecodingError.Context(
      codingPath: codingPath, debugDescription: "expected \(expected), found \(value.kindName)")
    return value.isNull ? .valueNotFound(type, context) : .typeMismatch(type, context)
  }

  func child(_ value: JSONValue, _ key: any CodingKey) -> JSONDecoding {
    JSONDecoding(value: value, path: Place(key, in: path))
  }
}

// MARK: Containers

/// Looks for each key from where the last one was found, so that fields in their written order cost no search.
private final class KeyedReader<Key: CodingKey>: KeyedDecodingContainerProtocol {
  let decoding: JSONDecoding
  let members: [JSONObject.Member]
  private var cursor = 0

  init(decoding: JSONDecoding, members: [JSONObject.Member]) {
    self.decoding = decoding
    self.members = members
  }

  var codingPath: [any CodingKey] { decoding.codingPath }
  var allKeys: [Key] { members.compactMap { Key(stringValue: $0.key) } }

  func contains(_ key: Key) -> Bool { find(key.stringValue) != nil }

  private func find(_ key: String) -> JSONValue? {
    for _ in 0..<members.count {
      if cursor >= members.count { cursor = 0 }
      if members[cursor].key == key { return members[cursor].value }
      cursor += 1
    }
    return nil
  }

  private func child(_ key: any CodingKey) throws -> JSONDecoding {
    guard let value = find(key.stringValue) else {
      throw DecodingError.keyNotFound(
        key, .init(codingPath: codingPath, debugDescription: "the field \"\(key.stringValue)\" is missing"))
    }
    return decoding.child(value, key)
  }

  func decodeNil(forKey key: Key) throws -> Bool { find(key.stringValue)?.isNull ?? true }

  func decode(_ type: Bool.Type, forKey key: Key) throws -> Bool { try child(key).bool() }
  func decode(_ type: String.Type, forKey key: Key) throws -> String { try child(key).string() }
  func decode(_ type: Double.Type, forKey key: Key) throws -> Double { try child(key).double() }
  func decode(_ type: Float.Type, forKey key: Key) throws -> Float { Float(try child(key).double()) }
  func decode(_ type: Int.Type, forKey key: Key) throws -> Int { try child(key).integer() }
  func decode(_ type: Int8.Type, forKey key: Key) throws -> Int8 { try child(key).integer() }
  func decode(_ type: Int16.Type, forKey key: Key) throws -> Int16 { try child(key).integer() }
  func decode(_ type: Int32.Type, forKey key: Key) throws -> Int32 { try child(key).integer() }
  func decode(_ type: Int64.Type, forKey key: Key) throws -> Int64 { try child(key).integer() }
  func decode(_ type: UInt.Type, forKey key: Key) throws -> UInt { try child(key).integer() }
  func decode(_ type: UInt8.Type, forKey key: Key) throws -> UInt8 { try child(key).integer() }
  func decode(_ type: UInt16.Type, forKey key: Key) throws -> UInt16 { try child(key).integer() }
  func decode(_ type: UInt32.Type, forKey key: Key) throws -> UInt32 { try child(key).integer() }
  func decode(_ type: UInt64.Type, forKey key: Key) throws -> UInt64 { try child(key).integer() }
  func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T { try child(key).unbox(type) }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) throws -> KeyedDecodingContainer<Nested> {
    try child(key).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer { try child(key).unkeyedContainer() }
  func superDecoder() throws -> any Decoder { try child(JSONKey(stringValue: "super")) }
  func superDecoder(forKey key: Key) throws -> any Decoder { try child(key) }
}

private struct UnkeyedReader: UnkeyedDecodingContainer {
  let decoding: JSONDecoding
  let elements: [JSONValue]
  private(set) var currentIndex = 0

  init(decoding: JSONDecoding, elements: [JSONValue]) {
    self.decoding = decoding
    self.elements = elements
  }

  var codingPath: [any CodingKey] { decoding.codingPath }
  var count: Int? { elements.count }
  var isAtEnd: Bool { currentIndex >= elements.count }

  private mutating func next() throws -> JSONDecoding {
    guard !isAtEnd else {
      throw DecodingError.valueNotFound(
        JSONValue.self,
        .init(codingPath: codingPath, debugDescription: "expected more than \(elements.count) elements"))
    }
    defer { currentIndex += 1 }
    return decoding.child(elements[currentIndex], JSONKey(index: currentIndex))
  }

  mutating func decodeNil() throws -> Bool {
    guard !isAtEnd, elements[currentIndex].isNull else { return false }
    currentIndex += 1
    return true
  }

  mutating func decode<T: Decodable>(_ type: T.Type) throws -> T { try next().unbox(type) }

  mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested> {
    try next().container(keyedBy: type)
  }

  mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try next().unkeyedContainer() }
  mutating func superDecoder() throws -> any Decoder { try next() }
}

private struct SingleReader: SingleValueDecodingContainer {
  let decoding: JSONDecoding

  var codingPath: [any CodingKey] { decoding.codingPath }

  func decodeNil() -> Bool { decoding.value.isNull }
  func decode(_ type: Bool.Type) throws -> Bool { try decoding.bool() }
  func decode(_ type: String.Type) throws -> String { try decoding.string() }
  func decode(_ type: Double.Type) throws -> Double { try decoding.double() }
  func decode(_ type: Float.Type) throws -> Float { Float(try decoding.double()) }
  func decode(_ type: Int.Type) throws -> Int { try decoding.integer() }
  func decode(_ type: Int8.Type) throws -> Int8 { try decoding.integer() }
  func decode(_ type: Int16.Type) throws -> Int16 { try decoding.integer() }
  func decode(_ type: Int32.Type) throws -> Int32 { try decoding.integer() }
  func decode(_ type: Int64.Type) throws -> Int64 { try decoding.integer() }
  func decode(_ type: UInt.Type) throws -> UInt { try decoding.integer() }
  func decode(_ type: UInt8.Type) throws -> UInt8 { try decoding.integer() }
  func decode(_ type: UInt16.Type) throws -> UInt16 { try decoding.integer() }
  func decode(_ type: UInt32.Type) throws -> UInt32 { try decoding.integer() }
  func decode(_ type: UInt64.Type) throws -> UInt64 { try decoding.integer() }
  func decode<T: Decodable>(_ type: T.Type) throws -> T { try decoding.unbox(type) }
}
