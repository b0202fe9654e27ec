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
      guard belongs else { throw APIError.notOf(first, name) }
    case .task(let task):
      guard first == "project" || first == task.target else { throw APIError.notOf(first, name) }
    }
    return try await answer(subject, request)
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
    try request.allow("stream", "follow")
    let stream = try Self.stream(request)
    let follows = try request.flag("follow")
    switch subject {
    case .run(let run):
      if follows {
        let follow = LogFollow(services: services, run: run.id, stream: stream)
        guard request.accepts("text/event-stream") else { return follow.plain() }
        return follow.events(after: request.headers[.lastEventID].flatMap { Int64($0) })
      }
      let source = try await LogSource(run, in: services.store, stream: stream)
      if request.accepts("text/plain") { return try await LogText.response(source, request) }
      return try await LogObject(source: source).response()
    case .task(let task):
      guard !follows else {
        throw APIError.badField(
          "follow", "a task's log cannot be followed", hint: "follow one of its runs: GET /v1/tasks/\(task.id) lists them")
      }
      return request.accepts("text/plain") ? texts(of: task, stream) : objects(of: task, stream)
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
          let source = try await LogSource(run, in: services.store, stream: stream)
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
          try await LogObject(source: try await LogSource(run, in: services.store, stream: stream)).write(to: writer)
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
