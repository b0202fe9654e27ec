// One field line, and what the fields that concern framing and the connection say.

extension HeadParser {
  mutating func fieldLine(_ line: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) {
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
      throw HTTPFault(.badRequest, "The only transfer coding known here is chunked.")
    }
    layout.isChunked = true
  }
}
