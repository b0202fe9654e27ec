// How the client learns where an answer's body ends (RFC 9112, section 6.3). Decided once, here; the head says it, the body's
// writer obeys it.

enum BodyFraming: Sendable {
  /// No body and no length: 1xx, 204, 304.
  case none
  case sized(Int)
  case chunked
  /// HTTP/1.0 without a length: the end of the connection is the end of the body.
  case untilClose

  init(of response: Response, isHTTP10: Bool) {
    guard response.allowsBody else {
      self = .none
      return
    }
    switch response.body {
    case .empty: self = .sized(0)
    case .bytes(let bytes): self = .sized(bytes.count)
    case .stream(let length?, _): self = .sized(length)
    case .stream(nil, _): self = isHTTP10 ? .untilClose : .chunked
    }
  }
}
