// The parser by table: what it refuses and with which status, what it accepts and reads, and that splitting the bytes anywhere
// never changes the outcome.

import HTTPTypes
import Testing

@testable import HTTP

/// What a run of the parser came to, comparable.
struct ParsedRun: Equatable {
  var requests: [String] = []
  var fault: Int?
  var continues = 0
}

/// Feeds `bytes` in the given pieces, keeping what was not consumed, as a connection does.
func parse(_ bytes: [UInt8], piece: Int, limits: ServerLimits = ServerLimits()) -> ParsedRun {
  parse(stride(from: 0, to: bytes.count, by: piece).map { Array(bytes[$0..<min($0 + piece, bytes.count)]) }, limits: limits)
}

func parse(_ pieces: [[UInt8]], limits: ServerLimits = ServerLimits()) -> ParsedRun {
  var parser = RequestParser(limits: limits)
  var run = ParsedRun()
  var carry: [UInt8] = []
  for piece in pieces {
    carry += piece
    progress: while !carry.isEmpty {
      var consumed = 0
      do {
        let event = try parser.parse(carry.span, consumed: &consumed)
        carry.removeFirst(consumed)
        switch event {
        case .incomplete: break progress
        case .wantsContinue: run.continues += 1
        case .request(let head, let body):
          let request = Request(head: head, body: body, address: PeerAddress())
          run.requests.append(
            "\(request.method.rawValue) \(request.path) \(request.query.names) \(request.host) \(request.headers.count) "
              + "keep=\(head.layout.keepAlive) body=\(body.count)")
        }
      } catch {
        run.fault = error.status.code
        return run
      }
    }
  }
  return run
}

@Suite struct ParserTests {
  @Test(arguments: ParserCorpus.malformed)
  func everyMalformedRequestIsRefusedWithItsStatus(_ request: Malformed) {
    let run = parse([request.bytes])
    #expect(run.fault == request.status)
    #expect(run.requests.isEmpty)
  }

  @Test(arguments: ParserCorpus.wellFormed)
  func everyWellFormedRequestIsAccepted(_ text: String) {
    let run = parse([Array(text.utf8)])
    #expect(run.fault == nil)
    #expect(run.requests.count == text.split(separator: " HTTP/1.").count - 1)
  }

  @Test(arguments: ParserCorpus.malformed.map(\.bytes) + ParserCorpus.wellFormed.map { Array($0.utf8) })
  func splittingAtAnyByteChangesNothing(_ bytes: [UInt8]) {
    var whole = parse([bytes])
    whole.continues = 0
    // Two pieces at every byte; long ones at each byte near their interesting ends only, and byte by byte as a whole.
    let cuts = bytes.count <= 2000 ? Array(0...bytes.count) : Array(0...200) + Array((bytes.count - 200)...bytes.count)
    for cut in cuts {
      var run = parse([Array(bytes[..<cut]), Array(bytes[cut...])])
      run.continues = 0
      #expect(run == whole, "cut at \(cut)")
    }
    for piece in [1, 2, 3, 7, 8191] {
      var run = parse(bytes, piece: piece)
      run.continues = 0
      #expect(run == whole, "pieces of \(piece)")
    }
  }

  @Test func theTargetIsSplitAtItsRawSlashesAndThenDecoded() throws {
    let request = try Request(.get, "/v1/a%2Fb//%C3%BC+%20?x=1+2&x=%26&flag&=v&y=a=b")
    #expect(request.path == ["v1", "a/b", "", "ü+ "])
    #expect(request.target == "/v1/a%2Fb//%C3%BC+%20?x=1+2&x=%26&flag&=v&y=a=b")
    #expect(request.query["x"] == "1 2")
    #expect(request.query.all("x") == ["1 2", "&"])
    #expect(request.query["flag"] == "")
    #expect(request.query["y"] == "a=b")
    #expect(request.query["z"] == nil)
    #expect(request.query.names == ["x", "flag", "", "y"])
  }

  @Test func anAbsoluteTargetsHostBeatsTheHostField() throws {
    let request = try Request(.get, "http://real:81/p?q=1", headers: [.init("Host")!: "other"])
    #expect(request.host == "real:81")
    #expect(request.path == ["p"])
    #expect(try Request(.get, "/p").host == "localhost")
    #expect(try Request(.get, "http://real").path == [""])
  }

  @Test func fieldsKeepTheirOrderValuesAndCase() throws {
    let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\nX-One:  a b \t\r\nx-one:\r\nCookie: a=1; b=2\r\n\r\n".utf8)
    var parser = RequestParser(limits: ServerLimits())
    var consumed = 0
    guard case .request(let head, _) = try parser.parse(bytes.span, consumed: &consumed) else {
      Issue.record("no request")
      return
    }
    #expect(consumed == bytes.count)
    #expect(head.fields.map(\.name.rawName) == ["Host", "X-One", "x-one", "Cookie"])
    #expect(head.fields[values: .init("X-One")!] == ["a b", ""])
    #expect(head.fields[.cookie] == "a=1; b=2")
  }

  @Test(arguments: [
    ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false), ("HTTP/1.1", "Connection: x, CLOSE\r\n", false),
    ("HTTP/1.0", "", false), ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
    ("HTTP/1.0", "Connection: keep-alive\r\nConnection: close\r\n", false), ("HTTP/1.1", "Connection: closer\r\n", true),
  ])
  func theConnectionStaysOpenAsVersionAndFieldSay(_ version: String, _ field: String, _ expected: Bool) {
    let run = parse([Array("GET / \(version)\r\nHost: a\r\n\(field)\r\n".utf8)])
    #expect(run.requests.first?.contains("keep=\(expected)") == true)
  }

  @Test func theBodyIsAskedForOnceAndOnlyWhenItIsNotThereYet() {
    let head = Array("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n".utf8)
    #expect(parse([head + Array("body".utf8)]).continues == 0)
    var parser = RequestParser(limits: ServerLimits())
    var consumed = 0
    guard case .wantsContinue = try? parser.parse(head.span, consumed: &consumed) else {
      Issue.record("the body was not asked for")
      return
    }
    #expect(consumed == head.count)
    let none: [UInt8] = []
    guard case .incomplete = try? parser.parse(none.span, consumed: &consumed) else {
      Issue.record("the body was asked for twice")
      return
    }
  }

  @Test func theLimitsAreTheLastAllowedValues() {
    var limits = ServerLimits()
    limits.body = 10
    limits.fields = 2
    func sized(_ count: Int) -> [UInt8] {
      Array("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(count)\r\n\r\n".utf8) + [UInt8](repeating: 65, count: count)
    }
    #expect(parse([sized(10)], limits: limits).fault == nil)
    #expect(parse([sized(11)], limits: limits).fault == 413)
    func chunked(_ chunks: [Int]) -> [UInt8] {
      Array("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
        + chunks.flatMap { Array("\($0)\r\n\(String(repeating: "x", count: $0))\r\n".utf8) } + Array("0\r\n\r\n".utf8)
    }
    #expect(parse([chunked([5, 5])], limits: limits).requests.count == 1)
    #expect(parse([chunked([5, 5, 1])], limits: limits).fault == 413)
    #expect(parse([Array("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n".utf8)], limits: limits).fault == 431)
  }
}
