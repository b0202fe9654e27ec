// The request line: method, target, version (RFC 9112, section 3).

extension HeadParser {
  mutating func requestLine(_ line: Range<Int>, in bytes: Span<UInt8>) throws(HTTPFault) {
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
}
