// Faults say where and what, because people read them.

import Shared
import Testing

@Suite struct JSONFaultTests {
  static let worded: [(text: String, description: String)] = [
    ("", "line 1, column 1: the text is empty"),
    ("{\n  \"log\"{", "line 2, column 8: expected ':' after the key \"log\", found '{'"),
    ("{\"a\":1\n\"b\":2}", "line 2, column 1: expected ',' or '}' after the value of \"a\", found '\"'"),
    ("{\"a\":1,\n}", "line 2, column 1: a comma must not stand before '}'"),
    ("[1,]", "line 1, column 4: a comma must not stand before ']'"),
    ("{\r\n\r\n  a", "line 3, column 3: expected a key in double quotes, found 'a'"),
    ("{\r\r  a", "line 3, column 3: expected a key in double quotes, found 'a'"),
    ("[\"é😀\", x]", "line 1, column 8: expected a value, found 'x'"),
    ("[\n\n", "line 3, column 1: expected a value, found the end of the text"),
    ("[\"abc", "line 1, column 2: this string has no closing quote"),
    ("[\"a\nb\"]", "line 1, column 4: a string must end on the line where it began (write a line break as \\n)"),
    ("[012]", "line 1, column 2: a number must not start with 0"),
    ("[1.]", "line 1, column 4: expected a digit after the point, found ']'"),
    (" 1 2", "line 1, column 4: expected the end of the text, found '2'"),
    ("{\"a\":{\n\"b\":1,\"b\":2}}", "line 2, column 7: the key \"b\" stands twice in one object"),
    ("[\"\\uD800\"]", "line 1, column 3: half of a surrogate pair stands alone"),
  ]

  @Test(arguments: worded)
  func aFaultSaysWhereAndWhat(_ text: String, _ description: String) {
    let fault = #expect(throws: JSONFault.self) { try JSONReader.parse(text) }
    #expect(fault?.description == description)
  }

  @Test func aRepeatedKeyKnowsTheObjectsAroundIt() {
    let fault = #expect(throws: JSONFault.self) { try JSONReader.parse(#"{"redis":{"tls":[{"x":1,"x":2}]}}"#) }
    #expect(fault?.kind == .repeatedKey("x"))
    #expect(fault?.path == ["redis", "tls"])
  }

  @Test func aRepeatedKeyIsFoundAmongManyAsAmongFew() {
    for count in [1, 11, 12, 13, 500] {
      let members = (0..<count).map { "\"key\($0)\":\($0)" }.joined(separator: ",")
      #expect(throws: Never.self) { try JSONReader.parse("{\(members)}") }
      #expect(throws: JSONFault.self) { try JSONReader.parse("{\(members),\"key0\":0}") }
      #expect(throws: JSONFault.self) { try JSONReader.parse("{\(members),\"key\(count - 1)\":0}") }
    }
  }

  @Test func keysThatOnlyLookTheSameAreTwoKeys() throws {
    let filler = (0..<20).map { "\"key\($0)\":0," }.joined()
    for start in ["{", "{" + filler] {
      let value = try JSONReader.parse(start + "\"\u{E9}\":1,\"e\u{301}\":2}")
      #expect(value.asObject?.members.last?.value == 2)
    }
  }
}
