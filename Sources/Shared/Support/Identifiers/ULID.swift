// Task ids. A ULID sorts by time as bytes, as number and as text, so that lists page by id alone and an agent can
// remember "the newest id I have forgotten" (DESIGN section 3, "Memory"). How they are made: ULIDGenerator.swift.

/// 48 bits of milliseconds since 1970, then 80 bits that make it unique.
public struct ULID: Sendable, Hashable, Comparable {
  /// The first eight bytes: the time and 16 of the other bits.
  let high: UInt64
  let low: UInt64

  init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  public static let min = ULID(high: 0, low: 0)
  public static let max = ULID(high: .max, low: .max)

  /// When it was made, by the wall clock of whoever made it. Below 2^48.
  public var timestampMilliseconds: Int64 { Int64(high >> 16) }

  public static func < (left: ULID, right: ULID) -> Bool {
    left.high == right.high ? left.low < right.low : left.high < right.high
  }

  /// The id after this one; `nil` after the last.
  var successor: ULID? {
    let (low, carry) = low.addingReportingOverflow(1)
    let (high, overflow) = high.addingReportingOverflow(carry ? 1 : 0)
    return overflow ? nil : ULID(high: high, low: low)
  }
}

// MARK: Bytes

extension ULID {
  /// 16 bytes, most significant first.
  public var bytes: [UInt8] {
    withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { Array($0) }
  }

  /// `nil` unless there are exactly 16 bytes.
  public init?(bytes: some Collection<UInt8>) {
    guard bytes.count == 16 else { return nil }
    var high: UInt64 = 0
    var low: UInt64 = 0
    for (index, byte) in bytes.enumerated() {
      if index < 8 { high = high << 8 | UInt64(byte) } else { low = low << 8 | UInt64(byte) }
    }
    self.init(high: high, low: low)
  }
}

// MARK: Text

extension ULID: LosslessStringConvertible {
  private static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)

  private static let values: [UInt8] = {
    var values = [UInt8](repeating: 0xFF, count: 256)
    for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
    return values
  }()

  /// 26 characters of Crockford's base 32, upper case.
  public var description: String {
    String(unsafeUninitializedCapacity: 26) { buffer in
      var high = high
      var low = low
      for index in stride(from: 25, through: 0, by: -1) {
        buffer[index] = Self.alphabet[Int(low & 31)]
        low = low >> 5 | high << 59
        high >>= 5
      }
      return 26
    }
  }

  /// Reads that form and no other: upper case, 26 characters, not above the largest id. One id has one text, because
  /// ids are compared as text in Redis keys and file names.
  public init?(_ text: String) {
    var text = text
    let parsed: ULID? = text.withUTF8 { characters in
      guard characters.count == 26, characters[0] <= UInt8(ascii: "7") else { return nil }
      var high: UInt64 = 0
      var low: UInt64 = 0
      for character in characters {
        let value = Self.values[Int(character)]
        guard value != 0xFF else { return nil }
        high = high << 5 | low >> 59
        low = low << 5 | UInt64(value)
      }
      return ULID(high: high, low: low)
    }
    guard let parsed else { return nil }
    self = parsed
  }
}

extension ULID: Codable {
  public init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let ulid = ULID(text) else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "\"\(text)\" is no ULID"))
    }
    self = ulid
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
