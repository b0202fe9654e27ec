// One JSON text as a tree. Objects keep the order of their members, because people wrote it on purpose.
//
// Invariant: a number without fraction or exponent that fits 64 bits is `.integer` and exact; every other number
// is a finite `.double`. When adding a case, also look at JSONReader, JSONWriter, JSONDecoding and `kindName`.

/// A JSON value (RFC 8259).
public enum JSONValue: Sendable, Equatable {
  case null
  case bool(Bool)
  /// A number that was written without fraction and exponent and fits 64 bits.
  case integer(Int64)
  /// Any other number; always finite when it came from `JSONReader`.
  case double(Double)
  case string(String)
  case array([JSONValue])
  case object(JSONObject)
}

/// The members of a JSON object, in their order. Keys are unique when it came from `JSONReader`.
public struct JSONObject: Sendable, Equatable {
  public struct Member: Sendable, Equatable {
    public let key: String
    public var value: JSONValue

    public init(key: String, value: JSONValue) {
      self.key = key
      self.value = value
    }
  }

  public private(set) var members: [Member]

  public init(_ members: [Member] = []) {
    self.members = members
  }

  public var count: Int { members.count }
  public var isEmpty: Bool { members.isEmpty }
  public var keys: [String] { members.map(\.key) }

  /// The value under `key`. Setting replaces in place or appends; setting `nil` removes.
  public subscript(key: String) -> JSONValue? {
    get { members.first { $0.key == key }?.value }
    set {
      if let index = members.firstIndex(where: { $0.key == key }) {
        if let newValue { members[index].value = newValue } else { members.remove(at: index) }
      } else if let newValue {
        members.append(Member(key: key, value: newValue))
      }
    }
  }
}

extension JSONValue {
  public var asBool: Bool? { if case .bool(let value) = self { value } else { nil } }
  public var asString: String? { if case .string(let value) = self { value } else { nil } }
  public var asArray: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
  public var asObject: JSONObject? { if case .object(let value) = self { value } else { nil } }
  public var isNull: Bool { self == .null }

  /// A whole number; `5.0` and `5e3` count as whole, as long as every digit is certain (below 2^53).
  public var asInteger: Int64? {
    switch self {
    case .integer(let value): value
    case .double(let value) where value.magnitude < 9_007_199_254_740_992: Int64(exactly: value)
    default: nil
    }
  }

  public var asDouble: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// The member `key` of an object; `nil` for a missing member and for every other kind of value.
  public subscript(key: String) -> JSONValue? { asObject?[key] }

  /// What this is, for sentences: "a string", "a list", …
  public var kindName: String {
    switch self {
    case .null: "null"
    case .bool: "true or false"
    case .integer, .double: "a number"
    case .string: "a string"
    case .array: "a list"
    case .object: "an object"
    }
  }
}

// Not ExpressibleByNilLiteral: `nil` where an optional is meant would silently become `.null`.
extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByFloatLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  public init(stringLiteral value: String) { self = .string(value) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(integerLiteral value: Int64) { self = .integer(value) }
  public init(floatLiteral value: Double) { self = .double(value) }
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    self = .object(JSONObject(elements.map { JSONObject.Member(key: $0.0, value: $0.1) }))
  }
}
