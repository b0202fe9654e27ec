// Reads the fields of a request's body and collects every fault at once, so that a user mends them in one go.
//
// Ask for each field once, then call `finish()`: it adds a fault for each field that nobody asked for and throws when
// there is any. What the `required…` functions return after a fault is a placeholder that `finish()` keeps from use.
// A body may hold 100,000 faults: after the first few they are only counted.
// `null` is the same as absent. When adding a kind of field, also add a row to FieldReaderTests.

/// One thing that is wrong with a request's body.
public struct FieldFault: Error, Sendable, Equatable {
  /// API.md's error codes that a body can cause; all are 400.
  public enum Code: String, Sendable {
    case badField = "bad_field"
    case unknownField = "unknown_field"
    case badName = "bad_name"
  }

  public let code: Code
  /// `nil` when the body itself is at fault. Inside a list or map: `args[2]`, `env.PATH`.
  public let field: String?
  public let message: String
  public let hint: String?

  public init(_ code: Code, _ field: String?, _ message: String, hint: String? = nil) {
    self.code = code
    self.field = field
    self.message = message
    self.hint = hint
  }
}

/// All that is wrong with a request's body; never empty.
public struct FieldFaults: Error, Sendable, Equatable {
  public let faults: [FieldFault]
}

public struct FieldReader {
  private let object: JSONObject
  private let isObject: Bool
  private var asked: [String] = []
  public private(set) var faults: [FieldFault] = []
  /// Faults beyond the first `most`, and the code of the first of them.
  private var others: (code: FieldFault.Code, count: Int)?
  /// Nobody mends more in one go.
  private static let most = 20
  private var count: Int { faults.count + (others?.count ?? 0) }

  /// - Parameter body: should be an object; anything else is a fault.
  public init(_ body: JSONValue) {
    if case .object(let object) = body {
      self.object = object
      isObject = true
    } else {
      object = JSONObject()
      isObject = false
      fault(.badField, nil, "the body must be a JSON object, it is \(body.kindName)")
    }
  }

  /// Adds a fault that the caller found.
  public mutating func fault(
    _ code: FieldFault.Code = .badField, _ field: @autoclosure () -> String?, _ message: @autoclosure () -> String,
    hint: @autoclosure () -> String? = nil
  ) {
    guard faults.count == Self.most else { return faults.append(FieldFault(code, field(), message(), hint: hint())) }
    others = (others?.code ?? code, (others?.count ?? 0) + 1)
  }

  /// Whether a field is there and not null. Does not count as asking for it.
  public func has(_ field: String) -> Bool { object[field].map { !$0.isNull } ?? false }

  /// Ends the reading.
  ///
  /// - Throws: the faults, in the order in which the fields were asked for, unknown fields last; beyond the first 20, how many more there are.
  public mutating func finish() throws(FieldFaults) {
    let known = asked
    let isKnown = Set(known).contains
    for key in object.keys where !isKnown(key) {
      fault(
        .unknownField, key, "\"\(Self.shown(key))\" is not a field of this body",
        hint: nearestName(to: key, among: known).map { "did you mean \"\($0)\"?" }
          ?? "known fields: \(known.joined(separator: ", "))")
    }
    guard !faults.isEmpty else { return }
    let rest = others.map { FieldFault($0.code, nil, "and \($0.count) more that are not told one by one") }
    throw FieldFaults(faults: faults + (rest.map { [$0] } ?? []))
  }

  // MARK: Fields

  /// The raw value; `nil` when absent or null.
  public mutating func value(_ field: String) -> JSONValue? {
    if !asked.contains(field) { asked.append(field) }
    return object[field].flatMap { $0.isNull ? nil : $0 }
  }

  /// Text whose length in UTF-8 bytes lies within `bytes`. NUL is refused: no command can be given one.
  public mutating func string(_ field: String, bytes: ClosedRange<Int> = 0 ... .max) -> String? {
    value(field).flatMap { string($0, field, bytes) }
  }

  public mutating func requiredString(_ field: String, bytes: ClosedRange<Int> = 0 ... .max) -> String {
    required(field) { $0.string(field, bytes: bytes) } ?? ""
  }

  /// A uuid, project or queue by the rules of names.
  public mutating func name(_ field: String) -> String? {
    guard let name = string(field) else { return nil }
    if let reason = nameFault(name) {
      fault(.badName, field, "\"\(field)\" \(reason)")
      return nil
    }
    return name
  }

  public mutating func requiredName(_ field: String) -> String {
    required(field) { $0.name(field) } ?? ""
  }

  public mutating func bool(_ field: String) -> Bool? {
    guard let value = value(field) else { return nil }
    guard case .bool(let bool) = value else { return wrongKind(field, "true or false", value) }
    return bool
  }

  public mutating func integer(_ field: String, in range: ClosedRange<Int64> = .min ... .max) -> Int64? {
    guard let value = value(field) else { return nil }
    guard let integer = value.asInteger else { return wrongKind(field, "a whole number", value) }
    guard range.contains(integer) else {
      fault(.badField, field, "\"\(field)\" must be between \(range.lowerBound) and \(range.upperBound), it is \(integer)")
      return nil
    }
    return integer
  }

  public mutating func number(_ field: String) -> Double? {
    guard let value = value(field) else { return nil }
    guard let number = value.asDouble else { return wrongKind(field, "a number", value) }
    return number
  }

  /// Seconds, fractions allowed, at most `maximum` in size. The sign is the caller's to judge.
  public mutating func seconds(_ field: String, maximum: Duration = .seconds(1_000_000_000)) -> Duration? {
    guard let number = number(field) else { return nil }
    let limit = maximum.components.seconds
    guard number.magnitude <= Double(limit) else {
      fault(.badField, field, "\"\(field)\" must not be more than \(limit) seconds")
      return nil
    }
    return .seconds(number)
  }

  /// A list of texts; each within `bytes`.
  public mutating func strings(
    _ field: String, count: ClosedRange<Int> = 0 ... .max, bytes: ClosedRange<Int> = 0 ... .max
  ) -> [String]? {
    guard let value = value(field) else { return nil }
    guard case .array(let elements) = value else { return wrongKind(field, "a list of strings", value) }
    guard count.contains(elements.count) else {
      fault(.badField, field, "\"\(field)\" must have \(Self.amount(count, "element")), it has \(elements.count)")
      return nil
    }
    let strings = elements.enumerated().map { string($1, "\(field)[\($0)]", bytes) }
    return strings.contains(nil) ? nil : strings.compactMap { $0 }
  }

  /// An object whose values are texts, in its order; each within `bytes`.
  public mutating func stringMap(
    _ field: String, bytes: ClosedRange<Int> = 0 ... .max
  ) -> [(key: String, value: String)]? {
    guard let value = value(field) else { return nil }
    guard case .object(let object) = value else { return wrongKind(field, "an object of strings", value) }
    let pairs = object.members.map { member -> (key: String, value: String)? in
      string(member.value, "\(field).\(Self.shown(member.key))", bytes).map { (member.key, $0) }
    }
    return pairs.contains { $0 == nil } ? nil : pairs.compactMap { $0 }
  }

  // MARK: Checks

  private mutating func required<Value>(_ field: String, _ read: (inout FieldReader) -> Value?) -> Value? {
    let before = count
    let value = read(&self)
    if value == nil, isObject, count == before { fault(.badField, field, "\"\(field)\" is required") }
    return value
  }

  private mutating func string(_ value: JSONValue, _ field: String, _ bytes: ClosedRange<Int>) -> String? {
    guard case .string(let text) = value else { return wrongKind(field, "a string", value) }
    if text.isEmpty, bytes.lowerBound == 1 {
      fault(.badField, field, "\"\(field)\" must not be empty")
      return nil
    }
    guard bytes.contains(text.utf8.count) else {
      fault(.badField, field, "\"\(field)\" must have \(Self.amount(bytes, "byte")), it has \(text.utf8.count)")
      return nil
    }
    if text.utf8.contains(0) {
      fault(.badField, field, "\"\(field)\" must not contain NUL")
      return nil
    }
    return text
  }

  private mutating func wrongKind<Value>(_ field: String, _ expected: String, _ value: JSONValue) -> Value? {
    fault(.badField, field, "\"\(field)\" must be \(expected), it is \(value.kindName)")
    return nil
  }

  private static func amount(_ range: ClosedRange<Int>, _ unit: String) -> String {
    if range.upperBound == .max { return "at least \(range.lowerBound) \(unit)s" }
    return range.lowerBound == 0 ? "at most \(range.upperBound) \(unit)s" : "\(range.lowerBound) to \(range.upperBound) \(unit)s"
  }

  /// A key that somebody sent, short enough for a sentence.
  private static func shown(_ key: String) -> String { key.count > 64 ? key.prefix(64) + "…" : key }
}
