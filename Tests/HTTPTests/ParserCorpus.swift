// Requests byte for byte, and what the parser must make of each. The malformed ones are the known ways to smuggle a request
// past a proxy, and everything that RFC 9112 tells a server to refuse.
// When adding a check to the parser, add its line here: all tests of splitting and of the socket then cover it.

import HTTPTypes
import Testing

@testable import HTTP

struct Malformed: Sendable, CustomTestStringConvertible {
  var status: Int
  var bytes: [UInt8]
  var testDescription: String { "\(status) " + String(decoding: bytes.prefix(70), as: UTF8.self).debugDescription }

  init(_ status: Int, _ text: String) { self.init(status, Array(text.utf8)) }
  init(_ status: Int, _ bytes: [UInt8]) {
    self.status = status
    self.bytes = bytes
  }
}

enum ParserCorpus {
  private static let host = "Host: a\r\n"
  private static func get(_ fields: String, target: String = "/") -> String { "GET \(target) HTTP/1.1\r\n\(host)\(fields)\r\n" }
  private static func post(_ fields: String, _ body: String = "") -> String {
    "POST / HTTP/1.1\r\n\(host)\(fields)\r\n\(body)"
  }
  private static func chunked(_ body: String) -> String { post("Transfer-Encoding: chunked\r\n", body) }

  static let malformed: [Malformed] = lines + targets + fields + framing + chunks + limits

  static let lines: [Malformed] = [
    Malformed(400, "\r\n\r\n\r\nGET / HTTP/1.1\r\n"),
    Malformed(400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed(400, " GET / HTTP/1.1\r\n\(host)\r\n"),
    Malformed(400, "GET  / HTTP/1.1\r\n\(host)\r\n"),
    Malformed(400, "GET /  HTTP/1.1\r\n\(host)\r\n"),
    Malformed(400, "GET / HTTP/1.1 \r\n\(host)\r\n"),
    Malformed(400, "GET\t/\tHTTP/1.1\r\n\(host)\r\n"),
    Malformed(400, "GET /\r\n"),
    Malformed(400, "GET\r\n"),
    Malformed(400, "GET  HTTP/1.1\r\n\(host)\r\n"),
    Malformed(400, "G@T / HTTP/1.1\r\n\(host)\r\n"),
    Malformed(400, "GET / HTTP/1.1\n\(host)\r\n"),
    Malformed(400, "GET / HTTP/1.1\r\r\n\(host)\r\n"),
    Malformed(400, "GET / HTTP/1.1\r \n\(host)\r\n"),
    Malformed(400, "GET / http/1.1\r\n\(host)\r\n"),
    Malformed(400, "GET / HTTP/11\r\n\(host)\r\n"),
    Malformed(400, "GET / HTTP/1.10\r\n\(host)\r\n"),
    Malformed(400, "GET / HTTP/1,1\r\n\(host)\r\n"),
    Malformed(400, "GET / HTTPS/1.1\r\n\(host)\r\n"),
    Malformed(505, "GET / HTTP/2.0\r\n\(host)\r\n"),
    Malformed(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Malformed(505, "GET / HTTP/0.9\r\n\(host)\r\n"),
    Malformed(400, [0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
    Malformed(400, [0x80, 0x2E, 0x01]),
    Malformed(400, [0x00]),
  ]

  static let targets: [Malformed] = [
    Malformed(400, get("", target: "index.html")),
    Malformed(400, get("", target: "*")),
    Malformed(400, get("", target: "ftp://a/")),
    Malformed(400, get("", target: "http://")),
    Malformed(400, get("", target: "http:///x")),
    Malformed(400, get("", target: "http://a b/")),
    Malformed(400, get("", target: "http://user@a/")),
    Malformed(400, get("", target: "/#part")),
    Malformed(400, get("", target: "/\u{7F}")),
    Malformed(400, get("", target: "/\u{01}")),
    Malformed(400, get("", target: "/\0")),
    Malformed(400, get("", target: "/%")),
    Malformed(400, get("", target: "/%4")),
    Malformed(400, get("", target: "/%zz")),
    Malformed(400, get("", target: "/%00")),
    Malformed(400, get("", target: "/%ff")),
    Malformed(400, get("", target: "/%c0%ae")),
    Malformed(400, get("", target: "/?a=%")),
    Malformed(400, get("", target: "/?a=%e2%82")),
    Malformed(400, Array("GET /".utf8) + [0xFF] + Array(" HTTP/1.1\r\nHost: a\r\n\r\n".utf8)),
    Malformed(501, "CONNECT a:443 HTTP/1.1\r\n\(host)\r\n"),
  ]

  static let fields: [Malformed] = [
    Malformed(400, "GET / HTTP/1.1\r\n\r\n"),
    Malformed(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    Malformed(400, "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    Malformed(400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    Malformed(400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    Malformed(400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    Malformed(400, "GET / HTTP/1.1\r\nHost: x@a\r\n\r\n"),
    Malformed(400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    Malformed(400, get("X: a\r\n b\r\n")),
    Malformed(400, get("X: a\r\n\tb\r\n")),
    Malformed(400, get("X : a\r\n")),
    Malformed(400, get("X\t: a\r\n")),
    Malformed(400, get(": a\r\n")),
    Malformed(400, get("X\r\n")),
    Malformed(400, get("X a\r\n")),
    Malformed(400, get("X(y): a\r\n")),
    Malformed(400, get("X\u{00E9}: a\r\n")),
    Malformed(400, get("X: a\rb\r\n")),
    Malformed(400, get("X: a\nb: c\r\n")),
    Malformed(400, get("X: a\0b\r\n")),
    Malformed(400, get("X: a\u{0B}b\r\n")),
    Malformed(400, get("X: a\u{7F}b\r\n")),
    Malformed(400, get("X: a\r\r\n")),
    Malformed(400, get("\r: a\r\n")),
    Malformed(417, get("Expect: something\r\n")),
    Malformed(417, get("Expect: 100-continue, more\r\n")),
  ]

  static let framing: [Malformed] = [
    Malformed(400, post("Content-Length: 1\r\nContent-Length: 1\r\n", "a")),
    Malformed(400, post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab")),
    Malformed(400, post("Content-Length: 1, 1\r\n", "a")),
    Malformed(400, post("Content-Length: +1\r\n", "a")),
    Malformed(400, post("Content-Length: -1\r\n", "a")),
    Malformed(400, post("Content-Length: 0x1\r\n", "a")),
    Malformed(400, post("Content-Length: 1 1\r\n", "a")),
    Malformed(400, post("Content-Length: 1.0\r\n", "a")),
    Malformed(400, post("Content-Length:\r\n")),
    Malformed(400, post("Content-Length : 1\r\n", "a")),
    Malformed(400, post("Content-Length: 1\u{0B}\r\n", "a")),
    Malformed(413, post("Content-Length: 1048577\r\n")),
    Malformed(413, post("Content-Length: 99999999999999999999999999\r\n")),
    Malformed(400, post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding:\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: ,\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding:\u{0B}chunked\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding\r\n : chunked\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: gzip\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: identity\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n")),
    Malformed(400, post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n")),
    Malformed(400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
  ]

  static let chunks: [Malformed] = [
    Malformed(400, chunked("\r\n")),
    Malformed(400, chunked("x\r\n")),
    Malformed(400, chunked("-1\r\n")),
    Malformed(400, chunked("0x1\r\na\r\n0\r\n\r\n")),
    Malformed(400, chunked(" 1\r\na\r\n0\r\n\r\n")),
    Malformed(400, chunked("1 \r\na\r\n0\r\n\r\n")),
    Malformed(400, chunked("1\na\n0\n\n")),
    Malformed(400, chunked("1\rXa\r\n0\r\n\r\n")),
    Malformed(400, chunked("1\r\nab\r\n0\r\n\r\n")),
    Malformed(400, chunked("2\r\na\r\n0\r\n\r\n")),
    Malformed(400, chunked("1\r\na\n0\r\n\r\n")),
    Malformed(400, chunked("1;\u{01}\r\na\r\n0\r\n\r\n")),
    Malformed(400, chunked("1;a\nb\r\na\r\n0\r\n\r\n")),
    Malformed(400, chunked("00000000000000001\r\na\r\n0\r\n\r\n")),
    Malformed(400, chunked("0\r\n \r\n\r\n")),
    Malformed(400, chunked("0\r\nX : a\r\n\r\n")),
    Malformed(400, chunked("0\r\nX: a\n\r\n")),
    Malformed(400, chunked("0\r\nX: a\u{00}\r\n\r\n")),
    Malformed(400, chunked("0\r\n\rX")),
    Malformed(413, chunked("100001\r\n")),
    Malformed(413, chunked("ffffffffffffffff\r\n")),
    Malformed(413, chunked("1\r\na\r\n100000\r\n")),
  ]

  static let limits: [Malformed] = [
    Malformed(414, "GET /" + String(repeating: "a", count: 8192) + " HTTP/1.1\r\n\(host)\r\n"),
    Malformed(414, "GET /" + String(repeating: "a", count: 20000)),
    Malformed(414, String(repeating: "A", count: 9000)),
    Malformed(431, get("X: " + String(repeating: "a", count: 33000) + "\r\n")),
    Malformed(431, get("X: " + String(repeating: "a", count: 33000))),
    Malformed(431, get(String(repeating: "X: a\r\n", count: 100))),
    Malformed(431, get(String(repeating: "X: " + String(repeating: "a", count: 1000) + "\r\n", count: 40))),
    Malformed(431, chunked("0\r\n" + String(repeating: "X: a\r\n", count: 101) + "\r\n")),
    Malformed(431, chunked("1;" + String(repeating: "a", count: 33000))),
  ]

  /// Everything a request can be when nothing is wrong with it.
  static let wellFormed: [String] = [
    get(""),
    "\r\n" + get(""),
    "\r\n\r\n" + get(""),
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.2\r\n\(host)\r\n",
    "GET / HTTP/1.1\r\nHOST:a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
    get("", target: "/a/b%20c/?x=1&y=2%2B&x=+3"),
    get("", target: "/\u{00FC}"),
    get("", target: "http://other:81/p?q"),
    get("", target: "HTTPS://other"),
    get("", target: "http://other?q=1"),
    "OPTIONS * HTTP/1.1\r\n\(host)\r\n",
    "DELETE /x HTTP/1.1\r\n\(host)\r\n",
    "BREW /pot HTTP/1.1\r\n\(host)\r\n",
    get("X:\r\nY:  a b\t \r\nZ: \u{00E9}\r\n"),
    get("Connection: close, x\r\n"),
    get(String(repeating: "X: a\r\n", count: 99)),
    post("Content-Length: 0\r\n"),
    post("Content-Length: 005\r\n", "hello"),
    post("Content-Length: 5\r\nExpect: 100-Continue\r\n", "hello"),
    "POST / HTTP/1.0\r\nExpect: something\r\nContent-Length: 2\r\n\r\nhi",
    chunked("0\r\n\r\n"),
    chunked("5\r\nhello\r\n000\r\n\r\n"),
    chunked("1;a=b;c=\"d\"\r\nh\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\nOther:\r\n\r\n"),
    post("transfer-encoding: CHUNKED\r\n", "a\r\n0123456789\r\n0\r\n\r\n"),
    get("") + post("Content-Length: 3\r\n", "abc") + chunked("2\r\nhi\r\n0\r\n\r\n") + get("Connection: close\r\n"),
    "GET /" + String(repeating: "a", count: 8192 - 14) + " HTTP/1.1\r\n\(host)\r\n",
  ]
}
