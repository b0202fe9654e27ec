// The Encoder behind JSONCoder.encode. One `JSONEncoding` owns the bytes and the stack of open containers; views and
// containers are small handles that know their level in that stack. Whoever writes at a level first closes everything
// above it, which is how closing braces get where Codable never says "end".

final class JSONEncoding {
  private struct Level {
    let serial: Int
    let isKeyed: Bool
    var count = 0
  }

  var writer = JSONWriter()
  private(set) var misuse: EncodingError?
  private(set) var path: [any CodingKey] = []
  private var levels: [Level] = []
  private var serials = 0

  // MARK: Levels

  fileprivate func open(keyed: Bool, above base: Int) -> Handle {
    if levels.count > base {
      // The same value asked for its container again, as a subclass may do.
      close(downTo: base + 1)
      if levels[base].isKeyed != keyed { complain("one value asks for a list and for an object") }
      return Handle(level: base, serial: levels[base].serial)
    }
    serials += 1
    levels.append(Level(serial: serials, isKeyed: keyed))
    writer.byte(keyed ? UInt8(ascii: "{") : UInt8(ascii: "["))
    return Handle(level: base, serial: serials)
  }

  private func close(downTo count: Int) {
    while levels.count > count {
      let level = levels.removeLast()
      writer.byte(level.isKeyed ? UInt8(ascii: "}") : UInt8(ascii: "]"))
    }
  }

  /// Prepares for the next element of a container; its comma is written.
  fileprivate func next(in handle: Handle) {
    guard handle.level < levels.count, levels[handle.level].serial == handle.serial else {
      return complain("a container was written to after its parent had gone on")
    }
    if levels.count > handle.level + 1 { close(downTo: handle.level + 1) }
    if levels[handle.level].count > 0 { writer.byte(UInt8(ascii: ",")) }
    levels[handle.level].count += 1
  }

  fileprivate func count(of handle: Handle) -> Int {
    handle.level < levels.count ? levels[handle.level].count : 0
  }

  fileprivate var depth: Int { levels.count }

  private func complain(_ reason: String) {
    if misuse != nil { return }
    misuse = .invalidValue(reason, .init(codingPath: path, debugDescription: reason))
  }

  // MARK: Values

  func value<Value: Encodable>(_ value: Value, at key: (any CodingKey)?) throws {
    if let value = value as? JSONValue { return try tree(value) }
    if let key { path.append(key) }
    let base = levels.count
    let before = writer.bytes.count
    try value.encode(to: View(encoding: self, base: base))
    close(downTo: base)
    if writer.bytes.count == before {
      writer.byte(UInt8(ascii: "{"))
      writer.byte(UInt8(ascii: "}"))
    }
    if key != nil { path.removeLast() }
  }

  fileprivate func tree(_ value: JSONValue) throws {
    writer.value(value)
  }

  fileprivate func double(_ value: Double) throws {
    guard value.isFinite else {
      throw EncodingError.invalidValue(value, .init(codingPath: path, debugDescription: "\(value) is no JSON number"))
    }
    writer.double(value)
  }

  fileprivate func float(_ value: Float) throws {
    guard value.isFinite else { return try double(Double(value)) }
    // The shortest text of the Float, not of the Double nearest to it.
    writer.double(Double(value.description) ?? Double(value))
  }

  // MARK: Handles

  fileprivate struct Handle {
    let level: Int
    let serial: Int
  }

  /// The Encoder that one value sees.
  struct View: Encoder {
    let encoding: JSONEncoding
    let base: Int

    var codingPath: [any CodingKey] { encoding.path }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
      KeyedEncodingContainer(Keyed<Key>(encoding: encoding, handle: encoding.open(keyed: true, above: base)))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
      Unkeyed(encoding: encoding, handle: encoding.open(keyed: false, above: base))
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { Single(encoding: encoding) }

    func write(_ value: JSONValue) throws { try encoding.tree(value) }
  }
}

// MARK: Containers

private struct Keyed<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let encoding: JSONEncoding
  let handle: JSONEncoding.Handle

  var codingPath: [any CodingKey] { encoding.path }

  private func key(_ key: Key) {
    encoding.next(in: handle)
    encoding.writer.string(key.stringValue)
    encoding.writer.byte(UInt8(ascii: ":"))
  }

  private func integer<Integer: FixedWidthInteger>(_ value: Integer, _ key: Key) {
    self.key(key)
    encoding.writer.integer(value)
  }

  func encodeNil(forKey key: Key) {
    self.key(key)
    encoding.writer.null()
  }

  func encode(_ value: Bool, forKey key: Key) {
    self.key(key)
    encoding.writer.bool(value)
  }

  func encode(_ value: String, forKey key: Key) {
    self.key(key)
    encoding.writer.string(value)
  }

  func encode(_ value: Double, forKey key: Key) throws {
    self.key(key)
    try encoding.double(value)
  }

  func encode(_ value: Float, forKey key: Key) throws {
    self.key(key)
    try encoding.float(value)
  }

  func encode(_ value: Int, forKey key: Key) { integer(value, key) }
  func encode(_ value: Int8, forKey key: Key) { integer(value, key) }
  func encode(_ value: Int16, forKey key: Key) { integer(value, key) }
  func encode(_ value: Int32, forKey key: Key) { integer(value, key) }
  func encode(_ value: Int64, forKey key: Key) { integer(value, key) }
  func encode(_ value: UInt, forKey key: Key) { integer(value, key) }
  func encode(_ value: UInt8, forKey key: Key) { integer(value, key) }
  func encode(_ value: UInt16, forKey key: Key) { integer(value, key) }
  func encode(_ value: UInt32, forKey key: Key) { integer(value, key) }
  func encode(_ value: UInt64, forKey key: Key) { integer(value, key) }

  func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
    self.key(key)
    try encoding.value(value, at: key)
  }

  // `nil` is written, not left out: each of these would otherwise skip the key.
  func encodeIfPresent(_ value: Bool?, forKey key: Key) {
    if let value { encode(value, forKey: key) } else { encodeNil(forKey: key) }
  }
  func encodeIfPresent(_ value: String?, forKey key: Key) {
    if let value { encode(value, forKey: key) } else { encodeNil(forKey: key) }
  }
  func encodeIfPresent(_ value: Double?, forKey key: Key) throws {
    if let value { try encode(value, forKey: key) } else { encodeNil(forKey: key) }
  }
  func encodeIfPresent(_ value: Float?, forKey key: Key) throws {
    if let value { try encode(value, forKey: key) } else { encodeNil(forKey: key) }
  }
  func encodeIfPresent(_ value: Int?, forKey key: Key) { optionalInteger(value, key) }
  func encodeIfPresent(_ value: Int8?, forKey key: Key) { optionalInteger(value, key) }
  func encodeIfPresent(_ value: Int16?, forKey key: Key) { optionalInteger(value, key) }
  func encodeIfPresent(_ value: Int32?, forKey key: Key) { optionalInteger(value, key) }
  func encodeIfPresent(_ value: Int64?, forKey key: Key) { optionalInteger(value, key) }
  func encodeIfPresent(_ value: UInt?, forKey key: Key) { optionalInteger(value, key) }
  func encodeIfPresent(_ value: UInt8?, forKey key: Key) { optionalInteger(value, key) }
  func encodeIfPresent(_ value: UInt16?, forKey key: Key) { optionalInteger(value, key) }
  func encodeIfPresent(_ value: UInt32?, forKey key: Key) { optionalInteger(value, key) }
  func encodeIfPresent(_ value: UInt64?, forKey key: Key) { optionalInteger(value, key) }
  func encodeIfPresent<T: Encodable>(_ value: T?, forKey key: Key) throws {
    if let value { try encode(value, forKey: key) } else { encodeNil(forKey: key) }
  }

  private func optionalInteger<Integer: FixedWidthInteger>(_ value: Integer?, _ key: Key) {
    if let value { integer(value, key) } else { encodeNil(forKey: key) }
  }

  func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) -> KeyedEncodingContainer<Nested> {
    self.key(key)
    return JSONEncoding.View(encoding: encoding, base: encoding.depth).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
    self.key(key)
    return JSONEncoding.View(encoding: encoding, base: encoding.depth).unkeyedContainer()
  }

  func superEncoder() -> any Encoder { superEncoder(named: "super") }

  func superEncoder(forKey key: Key) -> any Encoder { superEncoder(named: key.stringValue) }

  /// A super value is always an object: it may be left empty, and something must stand there.
  private func superEncoder(named name: String) -> any Encoder {
    encoding.next(in: handle)
    encoding.writer.string(name)
    encoding.writer.byte(UInt8(ascii: ":"))
    let view = JSONEncoding.View(encoding: encoding, base: encoding.depth)
    _ = view.container(keyedBy: JSONKey.self)
    return view
  }
}

private struct Unkeyed: UnkeyedEncodingContainer {
  let encoding: JSONEncoding
  let handle: JSONEncoding.Handle

  var codingPath: [any CodingKey] { encoding.path }
  var count: Int { encoding.count(of: handle) }

  func encodeNil() {
    encoding.next(in: handle)
    encoding.writer.null()
  }

  func encode(_ value: String) {
    encoding.next(in: handle)
    encoding.writer.string(value)
  }

  func encode<T: Encodable>(_ value: T) throws {
    let index = count
    encoding.next(in: handle)
    try encoding.value(value, at: JSONKey(index: index))
  }

  func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
    encoding.next(in: handle)
    return JSONEncoding.View(encoding: encoding, base: encoding.depth).container(keyedBy: type)
  }

  func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
    encoding.next(in: handle)
    return JSONEncoding.View(encoding: encoding, base: encoding.depth).unkeyedContainer()
  }

  func superEncoder() -> any Encoder {
    encoding.next(in: handle)
    let view = JSONEncoding.View(encoding: encoding, base: encoding.depth)
    _ = view.container(keyedBy: JSONKey.self)
    return view
  }
}

private struct Single: SingleValueEncodingContainer {
  let encoding: JSONEncoding

  var codingPath: [any CodingKey] { encoding.path }

  func encodeNil() { encoding.writer.null() }
  func encode(_ value: Bool) { encoding.writer.bool(value) }
  func encode(_ value: String) { encoding.writer.string(value) }
  func encode(_ value: Double) throws { try encoding.double(value) }
  func encode(_ value: Float) throws { try encoding.float(value) }
  func encode(_ value: Int) { encoding.writer.integer(value) }
  func encode(_ value: Int8) { encoding.writer.integer(value) }
  func encode(_ value: Int16) { encoding.writer.integer(value) }
  func encode(_ value: Int32) { encoding.writer.integer(value) }
  func encode(_ value: Int64) { encoding.writer.integer(value) }
  func encode(_ value: UInt) { encoding.writer.integer(value) }
  func encode(_ value: UInt8) { encoding.writer.integer(value) }
  func encode(_ value: UInt16) { encoding.writer.integer(value) }
  func encode(_ value: UInt32) { encoding.writer.integer(value) }
  func encode(_ value: UInt64) { encoding.writer.integer(value) }
  func encode<T: Encodable>(_ value: T) throws { try encoding.value(value, at: nil) }
}
