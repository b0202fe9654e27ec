// RFC 8259's grammar as a table: what must be read, what must be refused, and what the RFC leaves to us. The groups
// are those of the well-known parsing test suites; the cases are our own.

import Shared
import Testing

@Suite struct JSONGrammarTests {
  static let accepted: [(text: String, value: JSONValue)] = [
    // Structure
    ("{}", .object(JSONObject())), ("[]", []), ("[[]]", [[]]), ("{\"a\":{}}", ["a": [:]]), (" [ ] ", []),
    ("\t\n\r [1\n,\t2\r] \n", [1, 2]), ("{\"a\":1,\"b\":2}", ["a": 1, "b": 2]), ("{\"\":0}", ["": 0]),
    ("{\"a\":[{\"b\":null}]}", ["a": [["b": .null]]]), ("[null,true,false]", [.null, true, false]),
    // A text of one scalar
    ("null", .null), ("true", true), ("false", false), ("\"\"", ""), ("\"x\"", "x"), ("-1", -1), ("0", 0), (" 7 ", 7),
    // Numbers
    ("[-0]", [.double(-0.0)]), ("0.5", 0.5), ("-0.1", -0.1), ("1e2", 100.0), ("1E+2", 100.0), ("1e-2", 0.01), ("0e1", 0.0),
    ("123.456e3", 123456.0), ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
    ("9223372036854775808", .double(9_223_372_036_854_775_808)), ("-9223372036854775809", .double(-9_223_372_036_854_775_808)),
    ("123456789012345678901234567890", .double(123_456_789_012_345_677_877_719_597_056)),
    ("0.1e-400", 0.0), ("1.7976931348623157e308", .double(.greatestFiniteMagnitude)), ("5e-324", .double(.leastNonzeroMagnitude)),
    ("0.30000000000000004", .double(0.30000000000000004)),
    // Strings
    (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"), (#""\u0061\u00e9\u20AC""#, "aé€"), (#""\uD83D\uDE00""#, "😀"),
    (#""\uDBFF\uDFFF""#, "\u{10FFFF}"), (#""\u0000""#, "\0"), (#""a\u0022b""#, "a\"b"), (#""\u005C""#, "\\"),
    ("\"é€😀\"", "é€😀"), ("\"\u{7F}\"", "\u{7F}"), ("\"\u{2028}\u{2029}\"", "\u{2028}\u{2029}"),
    ("\"\u{FFFF}\u{10FFFF}\u{FEFF}\"", "\u{FFFF}\u{10FFFF}\u{FEFF}"), (#""\uFFFE""#, "\u{FFFE}"), (#""/ \/""#, "/ /"),
    (#""before\nafter é""#, "before\nafter é"), (#"{"\u0061":1}"#, ["a": 1]), ("\"// /* #\"", "// /* #"),
    ("{\"a\":1,\"A\":2}", ["a": 1, "A": 2]),
  ]

  @Test(arguments: accepted)
  func isRead(_ text: String, _ value: JSONValue) throws {
    #expect(try JSONReader.parse(text) == value)
    #expect(try JSONReader.parse(value.bytes()).bytes() == value.bytes(), "what we write reads back the same")
  }

  static let refused: [String] = [
    // Structure
    "", " ", "{", "}", "[", "]", "[[", "{]", "[}", "[1", "[1,", "[,", "[,1]", "[1,]", "[1,,2]", "[1 2]", "[1]]", "[]x",
    "[1]2", "{} {}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{\"a\" 1}", "{\"a\"}", "{\"a\":}",
    "{:1}", "{1:1}", "{a:1}", "{'a':1}", "{\"a\"::1}", "{\"a\":1 \"b\":2}", "{\"a\":1;\"b\":2}", "{\"a\",1}", "[\"a\":1]",
    "{null:1}", "{\"a\":1,,\"b\":2}", "{\"a\":1}}", "{\"a\":1}#", "{\"a\":1}//", "/**/1", "[1/**/]", "<.>", "*", "&", "[\u{A0}]",
    "[\u{C}]", "[\u{B}1]", "\u{2060}[]", "{\"a\":/*x*/1}", "\u{FEFF}[]",
    // Words
    "nul", "nulll", "tru", "True", "TRUE", "fals", "falsey", "undefined", "NaN", "Infinity", "-Infinity", "nan", "n", "t",
    // Numbers
    "01", "-01", "00", "-", "+1", "--1", "-a", "1.", ".1", "-.1", "1.e1", "1e", "1e+", "1e-", "1E", "0x1", "1_000", "1,000",
    "1.2.3", "1e1.5", "1 000", "1a", "0e", "2.e3", "-2.", "0.e1", "1eE2", "１", "[1+2]", "1L", "- 1", "1e400", "-1e999", "++1",
    // Strings
    "\"", "\"a", "'a'", "`a`", "abc", "\"\\\"", "\"\\x41\"", "\"\\a\"", "\"\\0\"", "\"\\'\"", "\"\\U0041\"", "\"\\u\"",
    "\"\\u1\"",
    "\"\\u12\"", "\"\\u123\"", "\"\\u123g\"", "\"\\u 123\"", "\"\\u+123\"", "\"\\", "\"\\u00A", "\"a\u{0}b\"", "\"a\nb\"",
    "\"a\rb\"", "\"a\tb\"", "\"\u{1F}\"", "\"\\\u{1F}\"", "\"\\é\"", "\"a\"b\"", "[\"a]", "\"\\u００４１\"",
    // Surrogates
    #""\uD800""#, #""\uDC00""#, #""\uD83Dx""#, #""\uD83D\n""#, #""\uD83D\uD83D""#, #""\uDE00\uD83D""#, #""\uD800\u0041""#,
    #""\uD83D\"#, #""\uD83D\u"#, #""\uDBFF""#,
    // Repeated keys, also when they are written differently
    "{\"a\":1,\"a\":1}", #"{"a":1,"\u0061":2}"#, "{\"\":1,\"\":2}",
  ]

  @Test(arguments: refused)
  func isRefused(_ text: String) {
    #expect(throws: JSONFault.self) { try JSONReader.parse(text) }
  }

  static let notUTF8: [[UInt8]] = [
    [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xC3, 0x28], [0xE2, 0x82], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80],
    [0xED, 0xBF, 0xBF], [0xF0, 0x80, 0x80, 0x80], [0xF0, 0x9F, 0x98], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80],
    [0xF8, 0x88, 0x80, 0x80, 0x80], [0xFE], [0xFF],
  ]

  @Test(arguments: notUTF8)
  func bytesThatAreNotUTF8AreRefusedWhereTheyStand(_ bytes: [UInt8]) {
    for (before, after) in [("[\"", "\"]"), ("[\"é€\\n", "\"]"), ("[\"", "\\n\"]"), ("{\"", "\":1}")] {
      let fault = #expect(throws: JSONFault.self) {
        try JSONReader.parse(Array(before.utf8) + bytes + Array(after.utf8))
      }
      #expect(fault?.kind == .encoding)
      #expect(fault?.offset == before.utf8.count)
    }
    #expect(throws: JSONFault.self) { try JSONReader.parse(bytes) }
  }

  @Test func utf16IsRefused() {
    #expect(throws: JSONFault.self) { try JSONReader.parse([0xFF, 0xFE, 0x5B, 0, 0x5D, 0]) }
    #expect(throws: JSONFault.self) { try JSONReader.parse([0, 0x5B, 0, 0x5D]) }
  }

  @Test func nestingIsBoundedAndTheBoundIsExact() throws {
    func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
    _ = try JSONReader.parse(nested(64))
    let fault = #expect(throws: JSONFault.self) { try JSONReader.parse(nested(65)) }
    #expect(fault?.kind == .tooDeep)
    #expect(fault?.column == 65)
    _ = try JSONReader.parse(nested(3), maxDepth: 3)
    #expect(throws: JSONFault.self) { try JSONReader.parse(nested(4), maxDepth: 3) }
    #expect(throws: JSONFault.self) { try JSONReader.parse(String(repeating: "[", count: 1_000_000)) }
    #expect(throws: JSONFault.self) { try JSONReader.parse(String(repeating: "{\"a\":", count: 1_000_000)) }
    _ = try JSONReader.parse("[" + String(repeating: "[[]],", count: 100) + "0]")
  }

  @Test func aTextCutAnywhereIsRefused() throws {
    let whole = #"{"a":[1,-2.5e3,"x\n\uD83D\uDE00é",{"b":null}],"c":true}"#
    _ = try JSONReader.parse(whole)
    let bytes = Array(whole.utf8)
    for length in 0..<bytes.count {
      #expect(throws: JSONFault.self) { try JSONReader.parse(Array(bytes[..<length])) }
    }
  }
}
