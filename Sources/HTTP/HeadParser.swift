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
  var layout = HeadLayout()
  let limits: ServerLimits
  private var lineStart = 0
  private var scanned = 0
  private var emptyLines = 0
  var fieldCount = 0
  private var sawRequestLine = false
  var sawHost = false
  var sawContentLength = false
  var sawTransferEncoding = false
  var sawKeepAlive = false
  var sawClose = false

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
