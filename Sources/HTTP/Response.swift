// What a handler answers: a status, fields, and a body that is there already or comes piece by piece.

import HTTPTypes

/// An answer. The server adds `Date`, the framing fields (`Content-Length`, `Transfer-Encoding`) and `Connection` itself and
/// ignores the handler's, except for `Connection: close`, which it obeys.
public struct Response: Sendable {
  public enum Body: Sendable {
    case empty
    case bytes([UInt8])
    /// Written piece by piece by a task of its own. With a `length` the writer must write exactly that many bytes, else the
    /// connection is cut; without one the body is chunked (HTTP/1.0: ends with the connection). For a HEAD it never runs.
    case stream(length: Int?, @Sendable (BodyWriter) async throws -> Void)
  }

  public var status: HTTPResponse.Status
  public var headers: HTTPFields
  public var body: Body
  /// For streams that go on until something happens (events, following a log): when the server drains, the stream's task is
  /// cancelled at once instead of at the end of `ServerLimits.drain`, and its body then ends in an orderly way.
  public var endsOnDrain = false

  public init(status: HTTPResponse.Status = .ok, headers: HTTPFields = [:], body: Body = .empty) {
    self.status = status
    self.headers = headers
    self.body = body
  }

  /// An answer with a body of the given type.
  public init(status: HTTPResponse.Status = .ok, contentType: String, bytes: [UInt8]) {
    self.init(status: status, headers: [.contentType: contentType], body: .bytes(bytes))
  }

  /// Plain UTF-8 text.
  public static func text(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
    Response(status: status, contentType: "text/plain; charset=utf-8", bytes: Array(text.utf8))
  }

  /// Bytes that are JSON already.
  public static func json(_ bytes: [UInt8], status: HTTPResponse.Status = .ok) -> Response {
    Response(status: status, contentType: "application/json", bytes: bytes)
  }

  /// Server-sent events (`text/event-stream`), until `events` returns, the client goes away, or the server drains.
  public static func eventStream(_ events: @escaping @Sendable (EventStream) async throws -> Void) -> Response {
    var response = Response(
      headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
      body: .stream(length: nil) { writer in try await events(EventStream(writer)) })
    response.endsOnDrain = true
    return response
  }

  /// Whether this status may carry a body at all (RFC 9110, 6.4.1).
  var allowsBody: Bool { status.code >= 200 && status.code != 204 && status.code != 304 }
}
