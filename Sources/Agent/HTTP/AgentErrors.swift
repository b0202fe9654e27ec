// Faults of the agent's own port, worded: `{"error":{"code","message","hint"}}` (API.md, "Conventions").

import HTTP
import HTTPTypes
import Shared

enum AgentErrors {
  static func response(to fault: HTTPFault) -> Response {
    switch fault.status {
    case .notFound:
      body(
        "unknown_route", fault.reason, hint: "this is an agent's port: GET /v1/agent/version, /health or /<auuid>/log", .notFound)
    case .methodNotAllowed:
      body("method_not_allowed", fault.reason, hint: "an agent's port only answers questions", .methodNotAllowed)
    default: body(code(of: fault.status), fault.reason, hint: "", fault.status)
    }
  }

  static func response(to error: any Error) -> Response {
    if let unknown = error as? UnknownRun {
      return body(
        "unknown_run", "\"\(unknown.name.prefix(300))\" is no run of this agent",
        hint: "an auuid is <uuid>-<task id>; after hset <uuid> <name> it is also <uuid><name>", .notFound)
    }
    return body("internal", "the agent could not answer: \(error)", hint: "its log says more", .internalServerError)
  }

  /// The dashboard's codes for what the server itself refuses.
  private static func code(of status: HTTPResponse.Status) -> String {
    switch status.code {
    case 408: "timeout"
    case 413, 414, 431: "too_large"
    case 503: "busy"
    case 501, 505: "unsupported"
    case 500...: "internal"
    default: "bad_request"
    }
  }

  private static func body(_ code: String, _ message: String, hint: String, _ status: HTTPResponse.Status) -> Response {
    var fields = JSONObject()
    fields["code"] = .string(code)
    fields["message"] = .string(message)
    fields["hint"] = .string(hint)
    let answer: JSONValue = ["error": .object(fields)]
    return .json(answer.bytes(), status: status)
  }
}
