// One request with its whole body in memory (bounded by `ServerLimits.body`), as handlers see it.

import HTTPTypes

/// One parsed request. Path, query and fields are decoded when first asked for, and kept.
public struct Request: Sendable {
  let head: RequestHead
  /// The body without its framing; empty where there is none.
  public let body: [UInt8]
  let address: PeerAddress

  init(head: RequestHead, body: [UInt8], address: PeerAddress) {
    self.head = head
    self.body = body
    self.address = address
  }

  public var method: HTTPRequest.Method { head.method }
  /// The request target exactly as it was sent.
  public var target: String { head.target }
  /// The path split at its raw slashes, then each segment percent-decoded. `/` is one empty segment.
  public var path: [String] { head.path }
  public var query: Query { head.query }
  public var headers: HTTPFields { head.fields }
  /// The host (and port) that the client asked for; empty where an HTTP/1.0 client named none.
  public var host: String { head.authority }
  /// The client's address and port.
  public var peer: String { address.description }
}

extension Request {
  /// A request without a socket, for tests of routers and handlers. Held to the same rules as one from the wire.
  /// - Throws: the fault that a client sending this would be answered with.
  public init(
    _ method: HTTPRequest.Method, _ target: String, headers: HTTPFields = [:], body: [UInt8] = []
  ) throws(HTTPFault) {
    var text = "\(method.rawValue) \(target) HTTP/1.1\r\n"
    if !headers.contains(where: { $0.name.canonicalName == "host" }) { text += "Host: localhost\r\n" }
    for field in headers { text += "\(field.name.rawName): \(field.value)\r\n" }
    text += "\r\n"
    var parser = HeadParser(limits: ServerLimits())
    let bytes = Array(text.utf8)
    guard try parser.parse(bytes.span) else { throw .badRequest("The request has no complete head.") }
    self.init(head: RequestHead(bytes.span, layout: parser.layout), body: body, address: PeerAddress())
  }
}
