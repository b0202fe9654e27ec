// Query parameters, checked: an unknown one is an error, because a misspelt filter would otherwise show everything.

import HTTP
import Shared

extension Request {
  /// - Throws: `APIError.unknownParameter` for a parameter that is not in `known`.
  func allow(_ known: String...) throws(APIError) {
    for name in query.names where !known.contains(name) { throw .unknownParameter(name, known: known) }
  }

  /// `?limit=`, 1 to 1000, default 100.
  func limit() throws(APIError) -> Int {
    guard let text = query["limit"] else { return 100 }
    guard let limit = Int(text), (1...1000).contains(limit) else {
      throw .badField("limit", "\"limit\" must be a whole number from 1 to 1000")
    }
    return limit
  }

  /// A filter's value; empty is a fault, because it would mean "any" by accident.
  func filter(_ name: String) throws(APIError) -> String? {
    guard let value = query[name] else { return nil }
    guard !value.isEmpty else { throw .badField(name, "\"\(name)\" must not be empty") }
    return value
  }

  /// An RFC 3339 time, as milliseconds since 1970.
  func time(_ name: String) throws(APIError) -> Int64? {
    guard let text = query[name] else { return nil }
    // "+" in a query is a space: 2025-01-01T00:00:00+01:00 arrives with one.
    guard let time = WallTime(text) ?? WallTime(String(text.map { $0 == " " ? "+" : $0 })) else {
      throw .badField(name, "\"\(name)\" must be a time such as 2025-11-21T13:45:00Z")
    }
    return time.milliseconds
  }

  /// `?state=`, which may be repeated.
  func states() throws(APIError) -> [RunState] {
    var states: [RunState] = []
    for text in query.all("state") {
      guard let state = RunState(rawValue: text) else {
        let known = RunState.allCases.map(\.rawValue)
        throw .badField(
          "state", "\"state\" must be one of \(known.joined(separator: ", "))",
          hint: nearestName(to: text, among: known).map { "did you mean \"\($0)\"?" } ?? "")
      }
      if !states.contains(state) { states.append(state) }
    }
    return states
  }

  /// `?flag=1`. Absent or `0`: false.
  func flag(_ name: String) throws(APIError) -> Bool {
    switch query[name] {
    case nil, "0", "false": return false
    case "1", "true", "": return true
    default: throw .badField(name, "\"\(name)\" must be 1 or 0")
    }
  }

  /// The filters of runs and tasks.
  func runFilter() throws(APIError) -> RunFilter {
    RunFilter(
      states: try states(), project: try filter("project"), uuid: try filter("uuid"), since: try time("since"),
      until: try time("until"))
  }

  /// Whether `Accept` names this type.
  func accepts(_ type: String) -> Bool {
    headers[.accept]?.split(separator: ",").contains { part in
      part.prefix { $0 != ";" }.lowercased().filter { $0 != " " && $0 != "\t" } == type
    } ?? false
  }
}

extension Response {
  /// One page of a list.
  static func page<Item>(_ items: [Item], next: String?, _ write: (Item, inout JSONBody) throws -> Void) rethrows -> Response {
    .json(
      try JSONBody.object { body in
        try body.list("items", items) { body, item in try body.object { try write(item, &$0) } }
        body.field("next", next)
      })
  }
}
