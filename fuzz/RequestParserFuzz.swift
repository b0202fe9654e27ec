// libFuzzer's entry to the request parser. Built by fuzz/run, together with the sources of HTTP as one module.
//
// Not only "does not crash": for every input the outcome must be the same in one piece and in pieces cut where the input says,
// and what the parser lets through must keep its promises (limits, decodable path, one way down for static files).

import HTTPTypes

private struct Outcome: Equatable {
  var requests: [String] = []
  var fault: Int?
}

private func outcome(of pieces: [[UInt8]], limits: ServerLimits, router: Router) -> Outcome {
  var parser = RequestParser(limits: limits)
  var outcome = Outcome()
  var carry: [UInt8] = []
  for piece in pieces {
    carry += piece
    feeding: while !carry.isEmpty {
      var consumed = 0
      do {
        let event = try parser.parse(carry.span, consumed: &consumed)
        precondition(consumed <= carry.count)
        carry.removeFirst(consumed)
        switch event {
        case .incomplete: break feeding
        case .wantsContinue: break
        case .request(let head, let body):
          outcome.requests.append(check(Request(head: head, body: body, address: PeerAddress()), limits, router))
        }
      } catch {
        precondition((400...505).contains(error.status.code))
        outcome.fault = error.status.code
        return outcome
      }
    }
    // What waits for more is bounded by the limits, whatever comes.
    precondition(carry.count <= limits.head + 2)
  }
  return outcome
}

/// Everything a handler could ask a request for, and what must hold for it.
private func check(_ request: Request, _ limits: ServerLimits, _ router: Router) -> String {
  precondition(request.body.count <= limits.body)
  precondition(request.headers.count <= limits.fields)
  precondition(request.target.utf8.count <= limits.requestLine)
  precondition(!request.path.isEmpty)
  if request.head.layout.path.count > 0, request.target != "*" {
    precondition(request.path.count == request.head.bytes[request.head.layout.path].count { $0 == 0x2F })
  }
  for segment in request.path { precondition(!segment.utf8.contains(0)) }
  for field in request.headers {
    precondition(!field.value.utf8.contains { $0 == 0x0D || $0 == 0x0A || $0 == 0 })
  }
  if let segments = StaticFiles.safeSegments(request.path) {
    for segment in segments { precondition(segment != ".." && segment != "." && !segment.contains("/")) }
  }
  if case .handler(_, let parameters) = router.match(request.head), request.path.first == "p" {
    precondition(!parameters["name"].isEmpty)
  }
  return
    "\(request.method) \(request.path) \(request.query.names) \(request.host) \(request.headers.map(\.value)) \(request.body)"
}

private let limits: ServerLimits = {
  var limits = ServerLimits()
  // Small enough for the fuzzer to reach.
  limits.requestLine = 200
  limits.head = 500
  limits.fields = 8
  limits.body = 300
  return limits
}()

private let router = Router([
  Route(.get, "/p/:name", .immediate { _, _ in Response() }), Route(.get, "/p/:name/x", .immediate { _, _ in Response() }),
])

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRequestParser(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let start, count > 1 else { return 0 }
  // The first byte says where to cut.
  let step = Int(start[0] % 64) + 1
  let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
  let whole = outcome(of: [bytes], limits: limits, router: router)
  let pieces = stride(from: 0, to: bytes.count, by: step).map { Array(bytes[$0..<min($0 + step, bytes.count)]) }
  precondition(outcome(of: pieces, limits: limits, router: router) == whole)
  return 0
}
