// Bytes in, requests out: head, then body, then the next head. Pure; no socket, no clock.
//
// The caller hands over what it has, throws away what `parse` consumed, and calls again with more. After `.request` the
// parser is ready for the next head; after a fault it must not be used again.

struct RequestParser: Sendable {
  enum Event {
    /// More bytes are needed.
    case incomplete
    /// The head asked to be told to go on, and nothing of the body is here yet. Said once.
    case wantsContinue
    case request(RequestHead, body: [UInt8])
  }

  private enum Stage {
    case head
    case sized(left: Int)
    case chunked(ChunkedDecoder)
  }

  private var stage = Stage.head
  private var headParser: HeadParser
  private var head: RequestHead?
  private var body: [UInt8] = []
  private var saidContinue = false
  private let limits: ServerLimits

  init(limits: ServerLimits) {
    self.limits = limits
    headParser = HeadParser(limits: limits)
  }

  /// Whether a head is complete and its body is not.
  var isInBody: Bool { head != nil }
  /// Whether nothing of a request has been seen.
  var isBetweenRequests: Bool { head == nil && !headParser.hasBegun }

  /// Takes what it can from `bytes`, which begin where the last call's consumed ones ended.
  mutating func parse(_ bytes: Span<UInt8>, consumed: inout Int) throws(HTTPFault) -> Event {
    consumed = 0
    if head == nil {
      guard try headParser.parse(bytes) else { return .incomplete }
      let layout = headParser.layout
      consumed = layout.length
      let complete = RequestHead(bytes, layout: layout)
      if !layout.isChunked, layout.contentLength == 0 {
        headParser = HeadParser(limits: limits)
        return .request(complete, body: [])
      }
      head = complete
      stage = layout.isChunked ? .chunked(ChunkedDecoder(limits: limits)) : .sized(left: layout.contentLength)
    }
    guard let head else { return .incomplete }
    let rest = bytes.extracting(consumed..<bytes.count)
    if rest.isEmpty {
      guard head.layout.expectsContinue, !saidContinue, body.isEmpty else { return .incomplete }
      saidContinue = true
      return .wantsContinue
    }
    let (used, done) = try takeBody(rest)
    consumed += used
    guard done else { return .incomplete }
    let whole = body
    self.head = nil
    body = []
    stage = .head
    saidContinue = false
    headParser = HeadParser(limits: limits)
    return .request(head, body: whole)
  }

  private mutating func takeBody(_ bytes: Span<UInt8>) throws(HTTPFault) -> (used: Int, done: Bool) {
    switch stage {
    case .head: return (0, false)
    case .sized(let left):
      let run = min(left, bytes.count)
      bytes.extracting(0..<run).withUnsafeBufferPointer { body.append(contentsOf: $0) }
      stage = .sized(left: left - run)
      return (run, run == left)
    case .chunked(var decoder):
      let result = try decoder.decode(bytes, into: &body)
      stage = .chunked(decoder)
      return result
    }
  }
}
