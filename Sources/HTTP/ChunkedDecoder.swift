// Chunked bodies (RFC 9112, section 7.1), byte by byte where the framing is, in runs where the data is.
//
// A pure incremental function: it may be given the bytes in any pieces. Extensions and trailers are checked, bounded and
// dropped. As strict as the head: no white space around a size, CR LF and nothing else at every line end.

struct ChunkedDecoder: Sendable {
  private enum State {
    case size(digits: Int)
    case sizeExtension
    case sizeLineFeed
    case data
    case dataReturn
    case dataLineFeed
    case trailerStart
    case trailerName
    case trailerValue
    case trailerLineFeed
    case endLineFeed
  }

  private var state = State.size(digits: 0)
  private var chunkLeft = 0
  private var overhead = 0
  private var trailers = 0
  private let limits: ServerLimits

  init(limits: ServerLimits) { self.limits = limits }

  /// Appends the data in `bytes` to `body`. Returns how many bytes belonged to the body and whether it is complete.
  mutating func decode(_ bytes: Span<UInt8>, into body: inout [UInt8]) throws(HTTPFault) -> (used: Int, done: Bool) {
    var index = 0
    while index < bytes.count {
      if case .data = state {
        let run = min(chunkLeft, bytes.count - index)
        bytes.extracting(index..<(index + run)).withUnsafeBufferPointer { body.append(contentsOf: $0) }
        index += run
        chunkLeft -= run
        if chunkLeft == 0 { state = .dataReturn }
        continue
      }
      let done = try step(bytes[index], bodyCount: body.count)
      index += 1
      if done { return (index, true) }
    }
    return (index, false)
  }

  /// One byte of framing; true for the last one of the body.
  private mutating func step(_ byte: UInt8, bodyCount: Int) throws(HTTPFault) -> Bool {
    switch state {
    case .size(let digits): try size(byte, digits: digits, bodyCount: bodyCount)
    case .sizeExtension:
      try spend()
      if byte == ByteRules.carriageReturn {
        state = .sizeLineFeed
      } else if !ByteRules.isFieldValue(byte) {
        throw .badRequest("A chunk's extension holds a control character.")
      }
    case .sizeLineFeed:
      try expectLineFeed(byte)
      state = chunkLeft > 0 ? .data : .trailerStart
    case .data: break  // taken in runs by `decode`
    case .dataReturn:
      guard byte == ByteRules.carriageReturn else { throw .badRequest("A chunk is longer than its size.") }
      state = .dataLineFeed
    case .dataLineFeed:
      try expectLineFeed(byte)
      state = .size(digits: 0)
    case .trailerStart: try trailerStart(byte)
    case .trailerName:
      try spend()
      if byte == ByteRules.colon {
        state = .trailerValue
      } else if !ByteRules.isToken(byte) {
        throw .badRequest("A trailer line is not a name, a colon and a value.")
      }
    case .trailerValue:
      try spend()
      if byte == ByteRules.carriageReturn {
        state = .trailerLineFeed
      } else if !ByteRules.isFieldValue(byte) {
        throw .badRequest("A trailer's value holds a control character.")
      }
    case .trailerLineFeed:
      try expectLineFeed(byte)
      state = .trailerStart
    case .endLineFeed:
      try expectLineFeed(byte)
      return true
    }
    return false
  }

  private mutating func size(_ byte: UInt8, digits: Int, bodyCount: Int) throws(HTTPFault) {
    if let digit = ByteRules.hexDigit(byte) {
      guard digits < 16 else { throw .badRequest("A chunk's size has too many digits.") }
      // Saturates far above any limit instead of overflowing.
      chunkLeft = min(chunkLeft, 1 << 56) * 16 + digit
      state = .size(digits: digits + 1)
      return
    }
    guard digits > 0 else { throw .badRequest("A chunk does not begin with its size.") }
    if byte == ByteRules.carriageReturn {
      state = .sizeLineFeed
    } else if byte == UInt8(ascii: ";") {
      state = .sizeExtension
    } else {
      throw .badRequest("A chunk's size is not hexadecimal.")
    }
    if chunkLeft > limits.body - bodyCount {
      throw HTTPFault(.contentTooLarge, "The body is longer than \(limits.body) bytes.")
    }
  }

  private mutating func trailerStart(_ byte: UInt8) throws(HTTPFault) {
    if byte == ByteRules.carriageReturn {
      state = .endLineFeed
      return
    }
    trailers += 1
    guard trailers <= limits.fields else {
      throw HTTPFault(.requestHeaderFieldsTooLarge, "The body has more than \(limits.fields) trailers.")
    }
    guard ByteRules.isToken(byte) else { throw .badRequest("A trailer line is not a name, a colon and a value.") }
    try spend()
    state = .trailerName
  }

  private func expectLineFeed(_ byte: UInt8) throws(HTTPFault) {
    guard byte == ByteRules.lineFeed else { throw .badRequest("A carriage return stands alone in a chunked body.") }
  }

  /// Extensions and trailers are held to the limit of a head: they cost work and carry nothing.
  private mutating func spend() throws(HTTPFault) {
    overhead += 1
    guard overhead <= limits.head else {
      throw HTTPFault(
        .requestHeaderFieldsTooLarge, "The chunked body's extensions and trailers are longer than \(limits.head) bytes.")
    }
  }
}
