// Codable through JSONCoder: the shapes that API.md promises, and every container that Codable knows.

import Testing

@testable import Shared

@Suite struct JSONCoderTests {
  struct Numbers: Codable, Equatable {
    var a: Int8 = -128, b: Int16 = 1, c: Int32 = 2, d: Int64 = .min, e: Int = .max
    var f: UInt8 = 255, g: UInt16 = 3, h: UInt32 = 4, i: UInt64 = 5, j: UInt = 6, k: Double = 0.1, l: Float = 0.1
  }

  struct Optionals: Codable, Equatable {
    var a: Int8?, b: Int16?, c: Int32?, d: Int64?, e: Int?, f: UInt8?, g: UInt16?, h: UInt32?, i: UInt64?, j: UInt?
    var k: Double?, l: Float?, m: Bool?, n: String?, o: Numbers?, p: [Int]?
  }

  enum State: String, Codable { case queued, timedOut }

  enum Shape: Codable, Equatable {
    case dot
    case circle(radius: Double)
  }

  struct Mixed: Codable, Equatable {
    var state: State = .timedOut
    var list: [[Int?]] = [[1, nil], []]
    var map: [String: String] = ["k": "v"]
    var shapes: [Shape] = [.dot, .circle(radius: 2)]
    var tree: JSONValue = ["x": [1, 2.5, .null]]
    var id: ULID = .max
    var at = WallTime(milliseconds: 0)
    var flag = true
  }

  private func text<T: Encodable>(_ value: T) throws -> String {
    String(decoding: try JSONCoder.encode(value), as: UTF8.self)
  }

  @Test func whatIsWrittenReadsBack() throws {
    #expect(try JSONCoder.decode(Numbers.self, from: JSONCoder.encode(Numbers())) == Numbers())
    #expect(try JSONCoder.decode(Mixed.self, from: JSONCoder.encode(Mixed())) == Mixed())
    #expect(try JSONCoder.decode([Optionals].self, from: JSONCoder.encode([Optionals()])) == [Optionals()])
    let full = Optionals(
      a: 1, b: 2, c: 3, d: 4, e: 5, f: 6, g: 7, h: 8, i: 9, j: 10, k: 1.5, l: 2.5, m: false, n: "", o: Numbers(), p: [1])
    #expect(try JSONCoder.decode(Optionals.self, from: JSONCoder.encode(full)) == full)
  }

  @Test func aMissingOptionalIsWrittenAsNullForEveryType() throws {
    let names = "abcdefghijklmnop".map { "\"\($0)\":null" }.joined(separator: ",")
    #expect(try text(Optionals()) == "{\(names)}")
    #expect(try JSONCoder.decode(Optionals.self, from: Array("{}".utf8)) == Optionals())
  }

  @Test func theShapeIsTheUsualOne() throws {
    #expect(
      try text(Mixed())
        == #"{"state":"timedOut","list":[[1,null],[]],"map":{"k":"v"},"shapes":[{"dot":{}},{"circle":{"radius":2}}],"#
        + #""tree":{"x":[1,2.5,null]},"id":"7ZZZZZZZZZZZZZZZZZZZZZZZZZ","at":"1970-01-01T00:00:00.000Z","flag":true}"#)
    #expect(try text(5) == "5")
    #expect(try text("a\u{1}\u{1F}\"\\\u{7F}/é\n") == "\"a\\u0001\\u001f\\\"\\\\\u{7F}/é\\n\"")
    #expect(try text([Int?.none, 1]) == "[null,1]")
    #expect(try text(Int?.none) == "null")
    #expect(try text([String: Int]()) == "{}")
    #expect(try text(Float(0.1)) == "0.1")
    #expect(try text(UInt64.max) == "18446744073709551615")
    #expect(try text(1e300) == "1e+300")
    #expect(try text(-0.0) == "-0.0")
    #expect(try text(100.0) == "100")
  }

  @Test func aFloatThatIsNoNumberIsAnError() {
    #expect(throws: EncodingError.self) { try JSONCoder.encode(Double.nan) }
    #expect(throws: EncodingError.self) { try JSONCoder.encode([Double.infinity]) }
    #expect(throws: EncodingError.self) { try JSONCoder.encode(Numbers(l: .infinity)) }
  }

  @Test func unknownFieldsArePassedOverAndOrderDoesNotMatter() throws {
    struct Two: Codable, Equatable { var a: Int, b: Int }
    #expect(try JSONCoder.decode(Two.self, from: Array(#"{"z":[{}],"b":2,"y":1,"a":1,"x":0}"#.utf8)) == Two(a: 1, b: 2))
  }

  static let mismatches: [(text: String, sentence: String)] = [
    (#"{"a":"x"}"#, "a: expected a whole number, found a string"),
    (#"{"a":1.5}"#, "a: expected a whole number, found a number"),
    (#"{"a":128}"#, "a: 128 is not between -128 and 127"),
    (#"{"a":null}"#, "a: expected a whole number, found null"),
    (#"{}"#, "the field \"a\" is missing"),
    (#"[]"#, "expected an object, found a list"),
  ]

  @Test(arguments: mismatches)
  func aWrongShapeIsToldInASentence(_ text: String, _ sentence: String) {
    let error = #expect(throws: DecodingError.self) { try JSONCoder.decode(Numbers.self, from: Array(text.utf8)) }
    #expect(error?.sentence == sentence)
  }

  @Test func thePlaceOfAWrongShapeNamesListsToo() {
    let error = #expect(throws: DecodingError.self) {
      try JSONCoder.decode([Mixed].self, from: Array(#"[{"state":"queued","list":[[1],[2,"x"]]}]"#.utf8))
    }
    #expect(error?.sentence == "[0].list[1][1]: expected a whole number, found a string")
  }

  // MARK: Hand-written conformances

  class Base: Encodable {
    var base = 1
    init() {}
  }

  final class Derived: Base {
    enum Keys: String, CodingKey { case own, nested, list, parent }
    var shared = false

    override func encode(to encoder: any Encoder) throws {
      if shared { try super.encode(to: encoder) }
      var container = encoder.container(keyedBy: Keys.self)
      try container.encode(2, forKey: .own)
      var nested = container.nestedContainer(keyedBy: Keys.self, forKey: .nested)
      try nested.encode("x", forKey: .own)
      var list = container.nestedUnkeyedContainer(forKey: .list)
      try list.encode(1)
      try list.encodeNil()
      var inner = list.nestedContainer(keyedBy: Keys.self)
      try inner.encode(true, forKey: .own)
      _ = list.nestedUnkeyedContainer()
      if !shared { try super.encode(to: container.superEncoder(forKey: .parent)) }
    }
  }

  @Test func nestedAndSuperContainersAreClosedInTheirPlace() throws {
    let derived = Derived()
    let own = #""own":2,"nested":{"own":"x"},"list":[1,null,{"own":true},[]]"#
    #expect(try text([derived, derived]) == "[{\(own),\"parent\":{\"base\":1}},{\(own),\"parent\":{\"base\":1}}]")
    derived.shared = true
    #expect(try text(derived) == "{\"base\":1,\(own)}")
  }

  struct Interleaved: Encodable {
    enum Keys: String, CodingKey { case a, b }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: Keys.self)
      var nested = container.nestedContainer(keyedBy: Keys.self, forKey: .a)
      try container.encode(1, forKey: .b)
      try nested.encode(1, forKey: .a)
    }
  }

  struct Silent: Encodable { func encode(to encoder: any Encoder) {} }

  @Test func containersThatAreNotStrictlyNestedAreAnErrorAndNotBrokenText() throws {
    #expect(throws: EncodingError.self) { try JSONCoder.encode(Interleaved()) }
    #expect(try text([Silent(), Silent()]) == "[{},{}]")
  }
}
