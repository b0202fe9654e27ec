import HTTP
import HTTPTypes
import Testing

@testable import Dashboard

@Suite struct CrossOriginTests {
  private func refused(_ fields: [(String, String)]) throws -> Bool {
    var headers = HTTPFields()
    for (name, value) in fields { headers[try #require(HTTPField.Name(name))] = value }
    do {
      try CrossOrigin.refuse(Request(.post, "/v1/producer/a/task", headers: headers))
      return false
    } catch {
      #expect((error as? APIError)?.code == .forbidden)
      return true
    }
  }

  @Test func aForeignPageIsRefusedAndOursAndCurlAreNot() throws {
    #expect(try !refused([]))
    #expect(try !refused([("Sec-Fetch-Site", "same-origin"), ("Origin", "http://elsewhere")]))
    #expect(try !refused([("Sec-Fetch-Site", "none")]))
    #expect(try refused([("Sec-Fetch-Site", "cross-site")]))
    #expect(try refused([("Sec-Fetch-Site", "same-site")]))
    #expect(try !refused([("Host", "h:1"), ("Origin", "http://H:1")]))
    #expect(try refused([("Host", "h:1"), ("Origin", "http://h:2")]))
    #expect(try refused([("Host", "h:1"), ("Origin", "null")]))
  }
}
