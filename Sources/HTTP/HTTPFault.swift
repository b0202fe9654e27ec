// What went wrong with a request, as a value. The wording for the client is made elsewhere (`Router.render`), so that an
// API words its own errors.

import HTTPTypes

/// A request that the server, the router or a handler refuses.
public struct HTTPFault: Error, Sendable, Hashable {
  /// The status of the answer.
  public var status: HTTPResponse.Status
  /// One sentence for people: what is wrong with the request.
  public var reason: String
  /// For 405: the methods that the path has. The server adds the `Allow` field itself.
  public var allow: [HTTPRequest.Method]

  public init(_ status: HTTPResponse.Status, _ reason: String, allow: [HTTPRequest.Method] = []) {
    self.status = status
    self.reason = reason
    self.allow = allow
  }
}

extension HTTPFault {
  static func badRequest(_ reason: String) -> HTTPFault { HTTPFault(.badRequest, reason) }
  static let notFound = HTTPFault(.notFound, "There is nothing at this path.")
}
