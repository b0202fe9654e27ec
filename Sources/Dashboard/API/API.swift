// The whole route table of the dashboard. When adding a route, also: API.md's table in docs, docs/ADDING.md, and a test on a live socket.
//
// `immediate` answers on the event loop and is only for what neither waits nor reads the store; everything else is `waiting`.

import HTTP
import HTTPTypes
import Shared

struct API: Sendable {
  private let services: APIServices
  private let acceptance: Acceptance
  private let history: HistoryRoutes
  private let logs: LogRoutes
  private let overview: Overview
  private let events: EventRoute
  private let stops: StopRoutes

  init(_ services: APIServices) {
    self.services = services
    acceptance = Acceptance(services: services)
    history = HistoryRoutes(services: services, counts: TaskCounts())
    logs = LogRoutes(services: services)
    overview = Overview(services)
    stops = StopRoutes(services: services)
    events = EventRoute(services: services, overview: overview)
  }

  var routes: [Route] {
    [
      // The seeds'.
      Route(.post, "/v1/producer/:target/task", .waiting { try await acceptance.post($1["target"], $0) }),
      Route(.get, "/v1/producer/:target/:auuid/log", .waiting { try await logs.ofProducer($1["target"], $1["auuid"], $0) }),
      // History.
      Route(.get, "/v1/tasks", .waiting { request, _ in try await history.tasks(request) }),
      Route(.get, "/v1/tasks/:task", .waiting { try await history.task($1["task"], $0) }),
      Route(.get, "/v1/runs", .waiting { request, _ in try await history.runs(request) }),
      Route(.get, "/v1/runs/:auuid", .waiting { try await history.run($1["auuid"], $0) }),
      Route(.get, "/v1/runs/:auuid/log", .waiting { try await logs.ofRun($1["auuid"], $0) }),
      Route(.post, "/v1/runs/:auuid/kill", .waiting { try await stops.run($1["auuid"], $0) }),
      Route(.post, "/v1/tasks/:task/kill", .waiting { try await stops.task($1["task"], $0) }),
      // The fleet.
      Route(.get, "/v1/agents", .waiting { request, _ in try await history.agents(request) }),
      Route(.get, "/v1/agents/:uuid", .waiting { try await history.agent($1["uuid"], $0) }),
      Route(.delete, "/v1/agents/:uuid", .waiting { try await stops.agent($1["uuid"], $0) }),
      Route(.get, "/v1/projects", .waiting { request, _ in try await history.projects(request) }),
      // The dashboard itself.
      Route(.get, "/v1/overview", .waiting { request, _ in try await overview.answer(request) }),
      Route(.get, "/v1/events", .waiting { request, _ in try events.answer(request) }),
      Route(.get, "/v1/health", .immediate { _, _ in health() }),
      Route(.get, "/v1/version", .immediate { _, _ in version() }),
    ]
  }

  /// The routes, and for every other path the pages; errors in JSON.
  /// - Parameter pages: answers paths outside `/v1`.
  func router(pages: Handler? = nil) -> Router {
    let failed = services.failed
    return Router(
      routes, fallback: Self.outside(pages), render: { fault, request in APIError.render(fault, request) },
      renderError: { error, request in APIError.render(error, request, failed: failed) },
      streamFailed: { error, request in
        // Nobody reads on, or retention took what was being read: neither is a mistake.
        if !(error is CancellationError), !(error is LogSource.Gone) { failed(error, request.target) }
      })
  }

  /// Paths under `/v1` that are no route are 404 in JSON, whatever files there are.
  private static func outside(_ pages: Handler?) -> Handler? {
    @Sendable func fault(_ request: Request) -> HTTPFault {
      HTTPFault(.notFound, "there is no route \(request.method.rawValue) \(request.target.prefix(200))")
    }
    switch pages {
    case nil: return .immediate { request, _ in throw fault(request) }
    case .immediate(let page):
      return .immediate { request, parameters in
        if request.path.first == "v1" { throw fault(request) }
        return try page(request, parameters)
      }
    case .waiting(let page):
      return .waiting { request, parameters in
        if request.path.first == "v1" { throw fault(request) }
        return try await page(request, parameters)
      }
    }
  }

  private func health() -> Response {
    var parts = services.health()
    var canAccept = parts.canAccept
    switch services.standing() {
    case .accepting: break
    case .draining:
      canAccept = false
      parts.warnings.append("this dashboard is about to stop: it accepts no tasks")
    case .standby(let reason):
      canAccept = false
      if !parts.warnings.contains(reason) { parts.warnings.append(reason) }
    }
    return .json(
      JSONBody.object { body in
        body.field("health", canAccept ? "healthy" : "death")
        body.field("store", parts.store)
        body.field("redis", parts.redis)
        body.field("redisServer", parts.redisServer)
        body.list("warnings", parts.warnings) { $0.element($1) }
        body.object("reports") { body in
          body.field("refused", parts.reports.refused)
          body.field("ofRemovedAgents", parts.reports.ofRemovedAgents)
          body.field("found", parts.reports.found)
          body.field("dropped", parts.reports.dropped)
        }
      }, status: canAccept ? .ok : .serviceUnavailable)
  }

  private func version() -> Response {
    .json(
      JSONBody.object { body in
        body.field("version", services.version)
        body.field("protocol", Protocol.version)
      })
  }
}

/// Everything that the dashboard answers: the API, and `files` for every other path.
func dashboardRouter(_ services: APIServices, files: StaticFiles) -> Router { API(services).router(pages: files.handler()) }
