// Every error of the API as a value, with its status and its words. Nothing else words an error for HTTP.
// When adding a code, also: API.md's list in docs, and a row in APIErrorTests.

import HTTP
import HTTPTypes
import Shared

struct APIError: Error, Sendable, Equatable {
  enum Code: String, Sendable {
    case badJSON = "bad_json"
    case badField = "bad_field"
    case unknownField = "unknown_field"
    case badName = "bad_name"
    case notAMember = "not_a_member"
    case duplicateKey = "duplicate_key"
    case unauthorized, forbidden
    case unknownTarget = "unknown_target"
    case unknownTask = "unknown_task"
    case unknownRun = "unknown_run"
    case unknownAgent = "unknown_agent"
    case unknownRoute = "unknown_route"
    case methodNotAllowed = "method_not_allowed"
    case alreadyEnded = "already_ended"
    case nameTaken = "name_taken"
    case storeFull = "store_full"
    case redisAway = "redis_away"
    case standby, draining
    // What the server says before a route is asked.
    case badRequest = "bad_request"
    case timeout
    case tooLarge = "too_large"
    case busy
    case unsupported
    case badRange = "bad_range"
    // A mistake of ours.
    case `internal`

    var status: HTTPResponse.Status {
      switch self {
      case .badJSON, .badField, .unknownField, .badName, .notAMember, .duplicateKey, .badRequest: .badRequest
      case .unauthorized: .unauthorized
      case .forbidden: .forbidden
      case .unknownTarget, .unknownTask, .unknownRun, .unknownAgent, .unknownRoute: .notFound
      case .methodNotAllowed: .methodNotAllowed
      case .alreadyEnded, .nameTaken: .conflict
      case .timeout: .requestTimeout
      case .tooLarge: .contentTooLarge
      case .storeFull: .init(code: 507, reasonPhrase: "Insufficient Storage")
      case .redisAway, .standby, .draining, .busy: .serviceUnavailable
      case .unsupported: .notImplemented
      case .badRange: .rangeNotSatisfiable
      case .internal: .internalServerError
      }
    }

    /// Seconds; nil where trying again changes nothing.
    var retryAfter: Int? {
      switch self {
      case .redisAway, .draining, .busy: 2
      case .standby: 5
      case .storeFull: 30
      default: nil
      }
    }
  }

  var code: Code
  var message: String
  var hint: String
  var field: String?
  /// All faults, where there are several; this error is then the first of them.
  var others: [APIError] = []

  init(_ code: Code, _ message: String, hint: String = "", field: String? = nil) {
    self.code = code
    self.message = message
    self.hint = hint
    self.field = field
  }
}

// MARK: Words

extension APIError {
  static func unknownTarget(_ name: String) -> APIError {
    APIError(
      .unknownTarget, "no agent and no project is named \"\(shown(name))\"",
      hint: "GET /v1/agents and /v1/projects list those that are known; an agent appears once it has started")
  }
  static func redisAway(_ name: String) -> APIError {
    APIError(
      .redisAway, "\"\(shown(name))\" is not known here, and Redis, which might know it, does not answer",
      hint: "try again; targets that were seen before are accepted without Redis")
  }
  static func redisAway(removing agent: String, _ why: String) -> APIError {
    APIError(
      .redisAway, "\"\(shown(agent))\" was not removed: Redis, where its journal has to be fenced first, did not do it: \(why)",
      hint: "nothing is changed here; try again when Redis does what it is asked")
  }
  static func alreadyEnded(_ run: RunRecord) -> APIError {
    APIError(
      .alreadyEnded, "\(run.id) has ended already: \(run.ending)",
      hint: "a verdict is final; GET /v1/runs/\(run.id) says all of it")
  }
  static func alreadyEnded(_ stop: TaskStop) -> APIError {
    let counts = RunState.allCases.compactMap { state in stop.counts[state].map { "\($0) \(state.rawValue)" } }
    let when = stop.lastFinishedAt.map { ", the last one at \(WallTime(milliseconds: $0))" } ?? ""
    return APIError(
      .alreadyEnded, "all runs of \(stop.task.auuid) have ended already: \(counts.joined(separator: ", "))\(when)",
      hint: "verdicts are final; GET /v1/tasks/\(stop.task.id) says all of them")
  }
  static func notAMember(_ uuid: String, of project: String) -> APIError {
    APIError(
      .notAMember, "\"\(shown(uuid))\" is not a member of \"\(project)\"",
      hint: "GET /v1/agents?project=\(project) lists its members", field: "uuid")
  }
  static func unknownRun(_ name: String) -> APIError {
    APIError(
      .unknownRun, "there is no run \"\(shown(name))\"",
      hint: "an auuid is <uuid>-<task id>; GET /v1/runs lists them, and a task is under /v1/tasks/<id>")
  }
  static func badRange(_ range: String, of total: Int64) -> APIError {
    APIError(
      .badRange, "the log has \(total) bytes, and \(shown(range)) asks for none of them", hint: "ask without Range, or for less")
  }
  static func unknownAttempt(_ attempt: Int, of run: RunRecord) -> APIError {
    APIError(.unknownRun, "\(run.id) has no attempt \(attempt)", hint: "its present attempt is \(run.attempt)")
  }
  static func unknownTask(_ name: String) -> APIError {
    APIError(.unknownTask, "there is no task \"\(shown(name))\"", hint: "GET /v1/tasks lists them")
  }
  static func unknownAgent(_ name: String) -> APIError {
    APIError(.unknownAgent, "there is no agent \"\(shown(name))\"", hint: "GET /v1/agents lists them")
  }
  static func notOf(_ name: String, _ auuid: String) -> APIError {
    APIError(
      .unknownRun, "\"\(shown(auuid))\" is no run of \"\(shown(name))\"",
      hint: "the first segment is the agent's uuid, one of its projects, or the word \"project\"")
  }
  static func badField(_ field: String, _ message: String, hint: String = "") -> APIError {
    APIError(.badField, message, hint: hint, field: field)
  }
  static func badName(_ name: String, _ reason: String) -> APIError {
    APIError(
      .badName, "\"\(shown(name))\" \(reason)",
      hint: "names are 1 to 64 of A-Z a-z 0-9 _ . -, and none of \(reservedNames.sorted().joined(separator: ", "))")
  }
  static func unknownParameter(_ name: String, known: [String]) -> APIError {
    let nearest = nearestName(to: name, among: known)
    let rest = known.isEmpty ? "this route takes none" : "this route takes \(known.joined(separator: ", "))"
    return APIError(
      .unknownField, "\"\(shown(name))\" is not a query parameter of this route",
      hint: nearest.map { "did you mean \"\($0)\"?" } ?? rest,
      field: name)
  }
  static func badJSON(_ fault: JSONFault) -> APIError {
    if case .repeatedKey(let key) = fault.kind {
      return APIError(.duplicateKey, "the body is no valid JSON: \(fault)", hint: "each key may stand once", field: key)
    }
    return APIError(.badJSON, "the body is no valid JSON: \(fault)", hint: "send one JSON object, in UTF-8")
  }
  static func standby(_ reason: String) -> APIError {
    APIError(
      .standby, "this dashboard does not write now: \(reason)", hint: "send it to the dashboard that writes, or try again")
  }
  static let draining = APIError(.draining, "this dashboard is stopping", hint: "try again in a moment")

  /// A name that somebody sent, short enough for a sentence.
  private static func shown(_ name: String) -> String { name.count > 128 ? name.prefix(128) + "…" : name }
}

extension RunRecord {
  /// How and when it ended, for a sentence.
  fileprivate var ending: String {
    var parts = [state.rawValue]
    if let exitCode { parts.append("exit code \(exitCode)") }
    if let signal { parts.append("signal \(signal)") }
    if let reason, reason != state.rawValue { parts.append(reason) }
    return parts.joined(separator: ", ") + (finishedAt.map { ", at \(WallTime(milliseconds: $0))" } ?? "")
  }
}

// MARK: From other errors

extension APIError {
  /// Words whatever a route threw; nil for what is a mistake of ours.
  init?(_ error: any Error) {
    switch error {
    case let error as APIError: self = error
    case let fault as JSONFault: self = .badJSON(fault)
    case let faults as FieldFaults:
      let all = faults.faults.map { fault in
        APIError(Code(fault.code), fault.message, hint: fault.hint ?? "", field: fault.field)
      }
      guard let first = all.first else { return nil }
      self = first
      if all.count > 1 { others = all }
    case TargetFault.unknown(let name): self = .unknownTarget(name)
    case TargetFault.redisAway(let name): self = .redisAway(name)
    case StoreError.full(let reason):
      self.init(
        .storeFull, "the history cannot take more: \(reason)", hint: "free some space where data.path lies, or lower retention")
    case StoreError.closed: self = .draining
    case let fault as HTTPFault: self.init(fault)
    default: return nil
    }
  }

  init(_ fault: HTTPFault) {
    switch fault.status.code {
    case 404:
      self.init(
        .unknownRoute, fault.reason,
        hint: "routes begin with /v1/ and producer, tasks, runs, agents, projects, overview, events, health or version")
    case 405:
      self.init(.methodNotAllowed, fault.reason, hint: "allowed: \(fault.allow.map(\.rawValue).joined(separator: ", "))")
    case 408: self.init(.timeout, fault.reason, hint: "send it again, faster")
    case 413, 414, 431: self.init(.tooLarge, fault.reason, hint: "the limits stand under http.limits in the settings")
    case 503: self.init(.busy, fault.reason, hint: "try again in a moment")
    case 417, 501, 505: self.init(.unsupported, fault.reason, hint: "this server speaks plain HTTP/1.1")
    case 400..<500:
      self.init(
        .badRequest, fault.reason, hint: "the request's head or framing is not as RFC 9112 has it; the connection is closed")
    default: self.init(.internal, fault.reason)
    }
  }
}

extension APIError.Code {
  init(_ code: FieldFault.Code) {
    switch code {
    case .badField: self = .badField
    case .unknownField: self = .unknownField
    case .badName: self = .badName
    }
  }
}

// MARK: Answer

extension APIError {
  /// - Parameter status: the one that the server chose, where it is not the code's.
  func response(status: HTTPResponse.Status? = nil) -> Response {
    var response = Response.json(
      JSONBody.object { body in
        body.object("error", write)
        if !others.isEmpty { body.list("errors", others) { body, error in body.object(error.write) } }
      }, status: status ?? code.status)
    if let seconds = code.retryAfter { response.headers[.retryAfter] = "\(seconds)" }
    return response
  }

  private func write(to body: inout JSONBody) {
    body.field("code", code.rawValue)
    body.field("message", message)
    body.field("hint", hint)
    if let field { body.field("field", field) }
  }

  /// For `Router`.
  static func render(_ fault: HTTPFault, _ request: Request?) -> Response { APIError(fault).response(status: fault.status) }

  /// For `Router`: words anything that a handler threw. `failed` is told of mistakes of ours.
  static func render(_ error: any Error, _ request: Request, failed: (any Error, String) -> Void) -> Response {
    if let known = APIError(error) { return known.response() }
    if !(error is CancellationError) { failed(error, request.target) }
    return APIError(.internal, "something went wrong in the dashboard; its log says what").response()
  }
}
