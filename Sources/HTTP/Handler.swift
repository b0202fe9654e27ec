// What answers a request, and where it runs.

import HTTPTypes

/// Answers requests. An error thrown here goes to `Router.renderError`, an `HTTPFault` to `Router.render`.
public enum Handler: Sendable {
  /// Runs on the event loop, between two reads of sockets: the fastest answer there is. It must neither block nor compute
  /// for long, because every connection of the loop waits for it.
  case immediate(@Sendable (Request, Parameters) throws -> Response)
  /// Runs in a task of its own and may suspend. The task is cancelled when the client goes away.
  case waiting(@Sendable (Request, Parameters) async throws -> Response)
}

/// The decoded path segments that a route's `:names` stand for.
public struct Parameters: Sendable {
  private let names: [String]
  private let values: [String]

  /// No parameters; what fallback handlers get.
  public init() { self.init(names: [], values: []) }

  init(names: [String], values: [String]) {
    self.names = names
    self.values = values
  }

  /// The segment that `name` stands for; never empty for a name of the route's pattern. Asking for another name is a
  /// mistake in the program: it stops a debug build, and is the empty string otherwise.
  public subscript(_ name: String) -> String {
    guard let index = names.firstIndex(of: name), index < values.count else {
      assertionFailure("the route has no parameter \(name)")
      return ""
    }
    return values[index]
  }
}

/// One line of the route table.
public struct Route: Sendable {
  let method: HTTPRequest.Method
  let pattern: String
  let handler: Handler

  /// - Parameter pattern: a path such as `/v1/runs/:auuid/log`. A segment `:name` takes any one non-empty segment; where a
  ///   literal segment and a name both match, the literal wins. GET routes answer HEAD as well.
  public init(_ method: HTTPRequest.Method, _ pattern: String, _ handler: Handler) {
    self.method = method
    self.pattern = pattern
    self.handler = handler
  }
}
