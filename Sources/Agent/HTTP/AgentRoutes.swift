// The agent's own port (API.md, "Agent: its own port"): the whole route table, and the shapes of its answers. On loopback only.
// When adding a route, also: API.md, docs/agent.md, AgentHTTPTests.

import HTTP
import HTTPTypes
import Shared

struct AgentRoutes: Sendable {
  private let work: AgentWork
  private let uuid: AgentID

  init(_ work: AgentWork, _ uuid: AgentID) {
    self.work = work
    self.uuid = uuid
  }

  var router: Router {
    Router(
      [
        Route(.get, "/v1/agent/version", .immediate { _, _ in try answer(VersionAnswer()) }),
        Route(.get, "/v1/agent/health", .immediate { _, _ in try health() }),
        Route(.get, "/v1/agent/:auuid/log", .waiting { _, parameters in try await log(parameters["auuid"]) }),
      ],
      render: { fault, _ in AgentErrors.response(to: fault) },
      renderError: { error, _ in AgentErrors.response(to: error) })
  }

  private func health() throws -> Response {
    guard let fault = work.status.fault else { return try answer(HealthAnswer(health: "healthy")) }
    return try answer(HealthAnswer(health: "death", reason: fault), status: .serviceUnavailable)
  }

  /// The whole log of a run up to `RunLog.limit`, else its head and tail.
  private func log(_ name: String) async throws -> Response {
    guard let found = try await work.log(of: name, limit: LogAnswer.limit) else { throw UnknownRun(name: name) }
    return try answer(LogAnswer(uuid: uuid, run: found.run, log: found.bytes))
  }

  private func answer(_ value: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
    .json(try JSONCoder.encode(value), status: status)
  }
}

/// No such run on this host.
struct UnknownRun: Error {
  let name: String
}

private struct VersionAnswer: Encodable {
  let version = MusterVersion.short
}

private struct HealthAnswer: Encodable {
  let health: String
  let reason: String?

  init(health: String, reason: String? = nil) {
    self.health = health
    self.reason = reason
  }

  enum CodingKeys: CodingKey { case health, reason }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(health, forKey: .health)
    // The seed's form when healthy has one field.
    if let reason { try container.encode(reason, forKey: .reason) }
  }
}

/// As the seed has it: the log itself stands under `auuid`; the run's id under `id`.
struct LogAnswer: Encodable {
  /// Bytes of a log in one answer.
  static let limit = 1 << 20

  let uuid: String
  let auuid: String
  let id: String
  let encoding: String

  init(uuid: AgentID, run: RunID, log: [UInt8]) {
    self.uuid = uuid.text
    id = "\(run)"
    if let text = String(validating: log, as: UTF8.self) {
      (auuid, encoding) = (text, "utf-8")
    } else {
      (auuid, encoding) = (Base64.encode(log), "base64")
    }
  }
}
