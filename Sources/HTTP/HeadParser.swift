// The head of a request: request line and fields, up to the empty line (RFC 9112, sections 2 to 6).
//
// A pure incremental function. The caller keeps the bytes from the head's first one on and calls again with more behind
// them; what was looked at is not looked at again, and the outcome never depends on where the bytes were split.
// Strict on purpose: whatever two parsers could read differently (bare CR or LF, folded lines, space before a colon,
// repeated lengths, unknown codings) is refused, because a proxy in front of us might read it the other way.
// When adding a check, also add its line to the corpus in Tests/HTTPTests/ParserCorpus.swift.

import HTTPTypes

#if canImport(Glibc)
  import Glibc
#endif

/// Where the parts of a head lie in its bytes, and what it says about framing.
struct HeadLayout: Sendable {
  var method = 0..<0
  var target = 0..<0
  var path = 0..<0
  /// Without the question mark; nil where there is none.
  var query: Range<Int>?
  /// All field lines, from the first byte of the first one to the last one's line end.
  var fields = 0..<0
  /// The value of Host, or the authority of an absolute target.
  var authority = 0..<0
  var isHTTP10 = false
  /// Whether path or query need decoding: they hold an escape or bytes above ASCII.
  var hasEscapes = false
  var keepAlive = true
  var isChunked = false
  var contentLength = 0
  var expectsContinue = false
  /// Bytes of the whole head, the empty line included.
  var length = 0
}

struct HeadParser: Sendable {
  private(set) var layout = HeadLayout()
  private let limits: ServerLimits
  private var lineStart = 0
  private var scanned = 0
  private var emptyLines = 0
  private var fieldCount = 0
  private var sawRequestLine = false
  private var sawHost = false
  private var sawContentLength = false
  private var sawTransferEncoding = false
  private var sawKeepAlive = false
  private var sawClose = false

  init(limits: ServerLimits) { self.limits = limits }

  /// Looks at the bytes behind those already seen; true once the head is complete. `bytes` begins at the head's first byte.
  mutating func parse(_ bytes: Span<UInt8>) throws(HTTPFault) -> Bool {
    while true {
      // A first byte that no request has, such as a TLS greeting's, is answered now and not after a timeout.
      if !sawRequestLine, lineStart < bytes.count, !ByteRules.isToken(bytes[lineStart]),
        bytes[lineStart] != ByteRules.carriageReturn
      {
        throw .badRequest("The request line does not begin with a method.")
      }
      guard let lineFeed = Self.lineFeed(in: bytes, from: scanned) else {
        scanned = bytes.count
        try checkLength(lineEnd: bytes.count, complete: false)
        return false
      }
      scanned = lineFeed + 1
      try checkLength(lineEnd: lineFeed + 1, complete: true)
      guard lineFeed > lineStart, bytes[lineFeed - 1] == ByteRules.carriageReturn else {
        throw .badRequest("A line of the head ends without a carriage return.")
      }
      let line = lineStart..<(lineFeed - 1)
      lineStart = lineFeed + 1
      if line.isEmpty {
        if sawRequestLine {
          try finish(bytes, fieldsEnd: line.lowerBound)
          return true
        }
        emptyLines += 1
        guard emptyLines <= 2 else { throw .badRequest("Empty lines stand where a request should.") }
      } else if sawRequestLine {
        try fieldLine(line, in: bytes)
      } else {
        try requestLine(line, in: bytes)
        sawRequestLine = true
        layout.fields = lineStart..<lineStart
      }
    }
  }

  /// Whether any byte of this head has been seen.
  var hasBegun: Bool { scanned > 0 }

  private static func lineFeed(in bytes: Span<UInt8>, from start: Int) -> Int? {
    guard start < bytes.count else { return nil }
    return bytes.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress, let found = memchr(base + start, Int32(ByteRules.lineFeed), buffer.count - start)
      else { return nil }
      return UnsafeRawPointer(found) - UnsafeRawPointer(base)
    }
  }

  /// `lineEnd` is behind the line feed, or where the bytes end so far. Both ways of calling agree on every head.
  private func checkLength(lineEnd: Int, complete: Bool) throws(HTTPFault) {
    if !sawRequestLine {
      // Without the line end: CR LF when complete; a CR may already be there when not.
      let length = lineEnd - lineStart - (complete ? 2 : 1)
      if length > limits.requestLine {
        throw HTTPFault(.uriTooLong, "The request line is longer than \(limits.requestLine) bytes.")
      }
    }
    if lineEnd > limits.head {
      throw HTTPFault(.requestHeaderFieldsTooLarge, "The request head is longer than \(limits.head) bytes.")
    }
  }

  // MARK: Request line

  private mutating func requestLine(_ line: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) {
    var index = line.lowerBound
    while index < line.upperBound, ByteRules.isToken(bytes[index]) { index += 1 }
    guard index > line.lowerBound, index < line.upperBound, bytes[index] == ByteRules.space else {
      throw .badRequest("The request line is not a method, a target and a version with one space between.")
    }
    layout.method = line.lowerBound..<index
    let targetStart = index + 1
    var queryMark: Int?
    index = targetStart
    while index < line.upperBound {
      let byte = bytes[index]
      if byte == ByteRules.space { break }
      guard byte > ByteRules.space, byte != 0x7F, byte != UInt8(ascii: "#") else {
        throw .badRequest("The request target holds a control character or a fragment.")
      }
      if byte == UInt8(ascii: "?") {
        if queryMark == nil { queryMark = index }
      } else if byte == UInt8(ascii: "%") || byte >= 0x80 {
        layout.hasEscapes = true
      }
      index += 1
    }
    layout.target = targetStart..<index
    try version(index..<line.upperBound, in: bytes)
    try target(queryMark: queryMark, in: bytes)
  }

  private mutating func version(_ range: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) {
    let start = range.lowerBound + 1
    guard range.count == 9, bytes[start] == 0x48, bytes[start + 1] == 0x54, bytes[start + 2] == 0x54, bytes[start + 3] == 0x50,
      bytes[start + 4] == 0x2F, ByteRules.isDigit(bytes[start + 5]), bytes[start + 6] == 0x2E,
      ByteRules.isDigit(bytes[start + 7])
    else {
      throw .badRequest("The request line does not end with a version such as HTTP/1.1.")
    }
    guard bytes[start + 5] == UInt8(ascii: "1") else {
      throw HTTPFault(.httpVersionNotSupported, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    }
    layout.isHTTP10 = bytes[start + 7] == UInt8(ascii: "0")
  }

  /// Origin, absolute and asterisk form (RFC 9112, 3.2); `CONNECT`'s authority form is not served.
  private mutating func target(queryMark: Int?, in bytes: Span<UInt8>) throws(HTTPFault) {
    let target = layout.target
    guard !target.isEmpty else { throw .badRequest("The request line has no target.") }
    var pathStart = target.lowerBound
    if bytes.matches("connect", at: layout.method) {
      throw HTTPFault(.notImplemented, "This server is no proxy: CONNECT is not served.")
    }
    if bytes[pathStart] != UInt8(ascii: "/") {
      if target.count == 1, bytes[pathStart] == UInt8(ascii: "*"), bytes.matches("options", at: layout.method) {
        layout.path = target
        return
      }
      pathStart = try absolute(target, in: bytes)
    }
    let mark = queryMark ?? target.upperBound
    layout.path = min(pathStart, mark)..<mark
    layout.query = queryMark.map { ($0 + 1)..<target.upperBound }
    if layout.hasEscapes { try checkEscapes(bytes) }
  }

  /// Where the path of an absolute target begins; keeps its authority, which beats Host.
  private mutating func absolute(_ target: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) -> Int {
    var index = target.lowerBound
    for scheme: StaticString in ["http://", "https://"] {
      let end = index + scheme.utf8CodeUnitCount
      guard end <= target.upperBound, bytes.matches(scheme, at: index..<end) else { continue }
      index = end
      while index < target.upperBound, ByteRules.isHost(bytes[index]) { index += 1 }
      let atEnd = index == target.upperBound || bytes[index] == UInt8(ascii: "/") || bytes[index] == UInt8(ascii: "?")
      guard index > end, atEnd else { break }
      layout.authority = end..<index
      return index
    }
    throw .badRequest("The request target is neither a path nor an http URL.")
  }

  private func checkEscapes(_ bytes: Span<UInt8>) throws(HTTPFault) {
    func part(_ range: Range<Int>) -> [UInt8] { range.map { bytes[$0] } }
    guard PercentCoding.text(part(layout.path)) != nil else {
      throw .badRequest("The path holds a broken percent escape, a NUL, or bytes that are not UTF-8.")
    }
    if let query = layout.query, PercentCoding.text(part(query)) == nil {
      throw .badRequest("The query holds a broken percent escape, a NUL, or bytes that are not UTF-8.")
    }
  }

  // MARK: Fields

  private mutating func fieldLine(_ line: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) {
    fieldCount += 1
    guard fieldCount <= limits.fields else {
      throw HTTPFault(.requestHeaderFieldsTooLarge, "The request has more than \(limits.fields) fields.")
    }
    let name = try FieldLine.name(of: line, in: bytes)
    let value = bytes.trimmed((name.upperBound + 1)..<line.upperBound)
    try FieldLine.check(value, in: bytes)
    switch name.count {
    case 4 where bytes.matches("host", at: name): try host(value, in: bytes)
    case 6 where bytes.matches("expect", at: name): try expect(value, in: bytes)
    case 10 where bytes.matches("connection", at: name): connection(value, in: bytes)
    case 14 where bytes.matches("content-length", at: name): try contentLength(value, in: bytes)
    case 17 where bytes.matches("transfer-encoding", at: name): try transferEncoding(value, in: bytes)
    default: break
    }
  }

  private mutating func host(_ value: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) {
    guard !sawHost else { throw .badRequest("The Host field is there more than once.") }
    sawHost = true
    for index in value where !ByteRules.isHost(bytes[index]) {
      throw .badRequest("The Host field does not name one host.")
    }
    if layout.authority.isEmpty { layout.authority = value }
  }

  private mutating func expect(_ value: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) {
    if layout.isHTTP10 { return }
    guard bytes.matches("100-continue", at: value) else {
      throw HTTPFault(.expectationFailed, "The only expectation known here is 100-continue.")
    }
    layout.expectsContinue = true
  }

  private mutating func connection(_ value: Range<Int>, in bytes: Span<UInt8>) {
    var (close, keep) = (false, false)
    bytes.listElements(value) { element in
      if bytes.matches("close", at: element) { close = true }
      if bytes.matches("keep-alive", at: element) { keep = true }
    }
    sawClose = sawClose || close
    sawKeepAlive = sawKeepAlive || keep
  }

  private mutating func contentLength(_ value: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) {
    guard !sawContentLength else { throw .badRequest("The Content-Length field is there more than once.") }
    sawContentLength = true
    guard !value.isEmpty else { throw .badRequest("The Content-Length field has no number.") }
    var length = 0
    for index in value {
      guard ByteRules.isDigit(bytes[index]) else { throw .badRequest("The Content-Length field is not one decimal number.") }
      // Saturates far above any limit instead of overflowing.
      length = min(length, 1 << 56) * 10 + Int(bytes[index] - 0x30)
    }
    layout.contentLength = length
  }

  private mutating func transferEncoding(_ value: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) {
    guard !sawTransferEncoding else { throw .badRequest("The Transfer-Encoding field is there more than once.") }
    sawTransferEncoding = true
    var (count, chunked, lastIsChunked) = (0, 0, false)
    bytes.listElements(value) { coding in
      count += 1
      lastIsChunked = bytes.matches("chunked", at: coding)
      if lastIsChunked { chunked += 1 }
    }
    guard count > 0, chunked <= 1, chunked == 0 || lastIsChunked else {
      throw .badRequest("The Transfer-Encoding field is empty, or chunked is not its last and only chunked coding.")
    }
    guard count == 1, chunked == 1 else {
      throw HTTPFault(.notImplemented, "The only transfer coding known here is chunked.")
    }
    layout.isChunked = true
  }

  // MARK: The empty line

  private mutating func finish(_ bytes: Span<UInt8>, fieldsEnd: Int) throws(HTTPFault) {
    layout.fields = layout.fields.lowerBound..<fieldsEnd
    layout.length = lineStart
    if !sawHost, !layout.isHTTP10 { throw .badRequest("The Host field is missing.") }
    if sawTransferEncoding {
      if sawContentLength { throw .badRequest("Content-Length and Transfer-Encoding are both there.") }
      if layout.isHTTP10 { throw .badRequest("HTTP/1.0 has no Transfer-Encoding.") }
    }
    layout.keepAlive = !sawClose && (!layout.isHTTP10 || sawKeepAlive)
    if layout.contentLength > limits.body {
      throw HTTPFault(.contentTooLarge, "The body is longer than \(limits.body) bytes.")
    }
  }
}
