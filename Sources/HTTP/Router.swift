// Which handler answers a path, and how faults and errors become answers.
//
// The table is a tree of segments, built once; a look-up walks the raw path and makes no strings but the parameters'.
// Literal segments win over names, and where that leads nowhere the names are tried, so `/a/:x/c` and `/a/b/d` can coexist.

import HTTPTypes

/// Routes, a fallback, and the wording of errors.
public struct Router: Sendable {
  private struct Endpoint: Sendable {
    var method: HTTPRequest.Method
    var names: [String]
    var handler: Handler
  }

  private struct Node: Sendable {
    var literals: [(name: [UInt8], node: Int)] = []
    var parameter: Int?
    var endpoints: [Endpoint] = []
  }

  enum Match {
    case handler(Handler, Parameters)
    case fault(HTTPFault)
  }

  private var nodes = [Node()]
  private let fallback: Handler?
  private let renderFault: @Sendable (HTTPFault, Request?) -> Response
  private let renderError: @Sendable (any Error, Request) -> Response
  private let streamFailed: @Sendable (any Error, Request) -> Void

  /// - Parameters:
  ///   - fallback: answers every path that no route has (static files); without one they are a 404.
  ///   - render: words a fault. The request is nil where it could not be parsed. The server adds `Allow` and `Connection`.
  ///   - renderError: words any other error that a handler threw.
  ///   - streamFailed: is told when a streamed body ended in an error that was not the client's leaving. The answer is
  ///     already on its way then, so it can only be cut.
  public init(
    _ routes: [Route], fallback: Handler? = nil,
    render: @escaping @Sendable (HTTPFault, Request?) -> Response = { fault, _ in .text(fault.reason + "\n", status: fault.status)
    },
    renderError: @escaping @Sendable (any Error, Request) -> Response = { _, _ in
      .text("Something went wrong in the server.\n", status: .internalServerError)
    },
    streamFailed: @escaping @Sendable (any Error, Request) -> Void = { _, _ in }
  ) {
    self.fallback = fallback
    renderFault = render
    self.renderError = renderError
    self.streamFailed = streamFailed
    for route in routes { add(route) }
  }

  /// Answers without a socket; what the server does, minus the framing.
  public func respond(to request: Request) async -> Response {
    switch match(request.head) {
    case .fault(let fault): return render(fault, request)
    case .handler(let handler, let parameters):
      do {
        switch handler {
        case .immediate(let answer): return try answer(request, parameters)
        case .waiting(let answer): return try await answer(request, parameters)
        }
      } catch {
        return render(error, request)
      }
    }
  }

  /// Turns anything thrown into an answer.
  func render(_ error: any Error, _ request: Request?) -> Response {
    if let fault = error as? HTTPFault {
      var response = renderFault(fault, request)
      if !fault.allow.isEmpty, response.headers[.allow] == nil {
        response.headers[.allow] = fault.allow.map(\.rawValue).joined(separator: ", ")
      }
      return response
    }
    guard let request else { return renderFault(HTTPFault(.internalServerError, "Something went wrong in the server."), nil) }
    return renderError(error, request)
  }

  func reportStreamFailure(_ error: any Error, _ request: Request) { streamFailed(error, request) }

  // MARK: Building

  private mutating func add(_ route: Route) {
    var names: [String] = []
    var node = 0
    for segment in route.pattern.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
      if segment.first == ":" {
        names.append(String(segment.dropFirst()))
        node = parameterChild(of: node)
      } else {
        node = literalChild(of: node, named: Array(segment.utf8))
      }
    }
    nodes[node].endpoints.append(Endpoint(method: route.method, names: names, handler: route.handler))
  }

  private mutating func parameterChild(of node: Int) -> Int {
    if let child = nodes[node].parameter { return child }
    nodes.append(Node())
    nodes[node].parameter = nodes.count - 1
    return nodes.count - 1
  }

  private mutating func literalChild(of node: Int, named name: [UInt8]) -> Int {
    if let child = nodes[node].literals.first(where: { $0.name == name }) { return child.node }
    nodes.append(Node())
    nodes[node].literals.append((name, nodes.count - 1))
    return nodes.count - 1
  }

  // MARK: Look-up

  private struct Search {
    var values: [Range<Int>] = []
    var allow: [HTTPRequest.Method] = []
  }

  func match(_ head: RequestHead) -> Match {
    var search = Search()
    // An absolute target may have no path at all: the same as "/".
    let start = min(head.layout.path.lowerBound + 1, head.layout.path.upperBound)
    if let endpoint = find(from: 0, at: start, head, &search) {
      let values = search.values.isEmpty ? [] : search.values.map { head.segment(at: $0) }
      return .handler(endpoint.handler, Parameters(names: endpoint.names, values: values))
    }
    if !search.allow.isEmpty {
      let methods = search.allow.map(\.rawValue).joined(separator: ", ")
      return .fault(HTTPFault(.methodNotAllowed, "This path has \(methods) only.", allow: search.allow))
    }
    if let fallback { return .handler(fallback, Parameters()) }
    return .fault(.notFound)
  }

  /// The endpoint below `index` for the path from byte `start` on. Depth is bounded by the deepest route.
  private func find(from index: Int, at start: Int, _ head: RequestHead, _ search: inout Search) -> Endpoint? {
    let end = head.layout.path.upperBound
    guard start <= end else { return endpoint(of: index, head.method, &search) }
    var segmentEnd = start
    while segmentEnd < end, head.bytes[segmentEnd] != UInt8(ascii: "/") { segmentEnd += 1 }
    let segment = start..<segmentEnd
    if let child = literal(segment, below: index, head), let found = find(from: child, at: segmentEnd + 1, head, &search) {
      return found
    }
    guard let child = nodes[index].parameter, !segment.isEmpty else { return nil }
    search.values.append(segment)
    if let found = find(from: child, at: segmentEnd + 1, head, &search) { return found }
    search.values.removeLast()
    return nil
  }

  private func literal(_ segment: Range<Int>, below index: Int, _ head: RequestHead) -> Int? {
    if head.layout.hasEscapes {
      let decoded = Array(head.segment(at: segment).utf8)
      return nodes[index].literals.first { $0.name == decoded }?.node
    }
    return nodes[index].literals.first { $0.name.count == segment.count && $0.name.elementsEqual(head.bytes[segment]) }?.node
  }

  private func endpoint(of index: Int, _ method: HTTPRequest.Method, _ search: inout Search) -> Endpoint? {
    let endpoints = nodes[index].endpoints
    if let exact = endpoints.first(where: { $0.method == method }) { return exact }
    if method == .head, let get = endpoints.first(where: { $0.method == .get }) { return get }
    for endpoint in endpoints {
      for allowed in endpoint.method == .get ? [.get, .head] : [endpoint.method] where !search.allow.contains(allowed) {
        search.allow.append(allowed)
      }
    }
    return nil
  }
}
