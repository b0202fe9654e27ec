// The routes that answer a log. Both take a run's `auuid`, an alias, or a task's `auuid`.

import HTTP
import HTTPTypes
import Shared

struct LogRoutes: Sendable {
  let services: APIServices

  private enum Subject {
    case run(RunRecord)
    case task(TaskRecord)
  }

  /// `GET /v1/producer/<project>/<auuid>/log`.
  func ofProducer(_ first: String, _ name: String, _ request: Request) async throws -> Response {
    let subject = try await find(name)
    switch subject {
    case .run(let run):
      let belongs = try await services.store.read { db in
        try first == "project" || first == run.id.agent.text || first == run.project
          || AgentQueries.isMember(db, run.id.agent, of: first)
      }
      if !belongs, !(try await isMember(run.id.agent, of: first)) { throw APIError.notOf(first, name) }
    case .task(let task):
      guard first == "project" || first == task.target else { throw APIError.notOf(first, name) }
    }
    return try await answer(subject, request)
  }

  /// Also of a project that it was put into by hand.
  private func isMember(_ agent: AgentID, of project: String) async throws -> Bool {
    // Nobody is, or Redis does not say.
    do { return try await services.project(project).contains(agent) } catch is TargetFault { return false }
  }

  /// `GET /v1/runs/<auuid>/log`.
  func ofRun(_ name: String, _ request: Request) async throws -> Response { try await answer(try await find(name), request) }

  private func find(_ name: String) async throws -> Subject {
    let found = try await services.store.read { db -> Subject? in
      if let run = try RunQueries.find(db, named: name) { return .run(run) }
      return try TaskQueries.find(db, named: name).map { .task($0) }
    }
    guard let found else { throw APIError.unknownRun(name) }
    return found
  }

  private func answer(_ subject: Subject, _ request: Request) async throws -> Response {
    try request.allow("stream", "follow", "attempt")
    let stream = try Self.stream(request)
    let attempt = try Self.attempt(request)
    let follows = try request.flag("follow")
    switch subject {
    case .run(let run):
      if follows {
        if let attempt { _ = try await shown(run, attempt) }
        let follow = LogFollow(services: services, run: run.id, stream: stream, only: attempt)
        guard request.accepts("text/event-stream") else { return follow.plain() }
        return follow.events(after: request.headers[.lastEventID].flatMap { LogFollow.Place($0) })
      }
      let source = try await LogSource(try await shown(run, attempt), in: services.store, stream: stream)
      if request.accepts("text/plain") { return try await LogText.response(source, request) }
      return try await LogObject(source: source).response()
    case .task(let task):
      guard attempt == nil else {
        throw APIError.badField(
          "attempt", "attempts are one run's", hint: "ask for one of its runs: GET /v1/tasks/\(task.id) lists them")
      }
      guard !follows else {
        throw APIError.badField(
          "follow", "a task's log cannot be followed", hint: "follow one of its runs: GET /v1/tasks/\(task.id) lists them")
      }
      return request.accepts("text/plain") ? texts(of: task, stream) : objects(of: task, stream)
    }
  }

  private static func attempt(_ request: Request) throws(APIError) -> Int? {
    guard let text = request.query["attempt"] else { return nil }
    guard let number = Int(text), number >= 1 else { throw .badField("attempt", "\"attempt\" must be a whole number from 1 on") }
    return number
  }

  /// The run with the values of an attempt in it; by default, with the output of its newest one that was started.
  private func shown(_ run: RunRecord, _ attempt: Int?) async throws -> RunRecord {
    try await services.store.read { db in
      guard let attempt else {
        var newest = try AttemptQueries.newestStarted(db, run)
        newest.state = run.state
        return newest
      }
      guard let found = try AttemptQueries.find(db, run, attempt) else { throw APIError.unknownAttempt(attempt, of: run) }
      return found
    }
  }

  private static func stream(_ request: Request) throws(APIError) -> OutputStream? {
    switch request.query["stream"] {
    case nil: return nil
    case "stdout": return .stdout
    case "stderr": return .stderr
    default: throw .badField("stream", "\"stream\" must be stdout or stderr")
    }
  }

  // MARK: A task's

  /// Each host's bytes under `==> <uuid> <==`, as tail(1) does it.
  private func texts(of task: TaskRecord, _ stream: OutputStream?) -> Response {
    Response(
      headers: LogText.fields,
      body: .stream(length: nil) { writer in
        var between = ""
        try await eachRun(of: task) { run in
          let source = try await LogSource(try await shown(run, nil), in: services.store, stream: stream)
          try await writer.write("\(between)==> \(run.id.agent.text) <==\n")
          try await LogText.write(source, 0..<source.total, to: writer)
          between = try await source.read(from: max(0, source.total - 1), count: 1).first.map { $0 == 10 ? "\n" : "\n\n" } ?? "\n"
        }
      })
  }

  private func objects(of task: TaskRecord, _ stream: OutputStream?) -> Response {
    Response(
      headers: [.contentType: "application/json"],
      body: .stream(length: nil) { writer in
        let head = JSONBody.object { body in
          body.field("auuid", task.auuid)
          body.field("taskname", task.taskname)
        }
        try await writer.write(head.dropLast() + Array(",\"runs\":[".utf8))
        var between = ""
        try await eachRun(of: task) { run in
          try await writer.write(between)
          try await LogObject(source: try await LogSource(try await shown(run, nil), in: services.store, stream: stream)).write(
            to: writer)
          between = ","
        }
        try await writer.write("]}")
      })
  }

  private func eachRun(of task: TaskRecord, _ use: (RunRecord) async throws -> Void) async throws {
    var after = ""
    while true {
      let runs = try await services.store.read { [after] in try RunQueries.ofTask($0, task.id, after: after, limit: 100) }
      guard let last = runs.last else { return }
      for run in runs { try await use(run) }
      after = last.id.agent.text
    }
  }
}

extension HTTPField.Name {
  /// The HTML standard's, for resumed event streams.
  static var lastEventID: HTTPField.Name { HTTPField.Name("Last-Event-ID") ?? .ifNoneMatch }
}
