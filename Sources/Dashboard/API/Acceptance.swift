// From a posted body to a stored task (DESIGN section 3, step 1): check, find the target, one transaction, and only then the answer.

import HTTP
import Shared

struct Acceptance: Sendable {
  let services: APIServices

  /// Whom a body is for.
  private struct Addressee {
    var target: String
    var kind: FreshTask.Kind
    var agents: [AgentID]
    /// Nil: the agent's first project is looked up.
    var project: String?
    /// The task's `auuid` is its one run's.
    var isOneRun: Bool
  }

  /// `POST /v1/producer/<segment>/task`.
  func post(_ segment: String, _ request: Request) async throws -> Response {
    try CrossOrigin.refuse(request)
    try request.allow("wait")
    let wait = try Self.wait(request)
    switch services.standing() {
    case .accepting: break
    case .standby(let reason): throw APIError.standby(reason)
    case .draining: throw APIError.draining
    }
    let body = try TaskBody(request.body)
    let task = try await store(body, for: try await addressee(segment, body))
    guard let wait else {
      return .json(
        JSONBody.object { json in
          json.field("auuid", task.auuid)
          json.field("task", task.id.description)
          json.list("runs", task.runs) { json, run in
            json.object {
              $0.field("uuid", run.id.agent.text)
              $0.field("auuid", run.id.description)
            }
          }
        }, status: .accepted)
    }
    let ended = try await RunWait(services: services).untilEnded(task.id, within: wait)
    return try await WholeRuns(services: services).answer(task.id, auuid: task.auuid, count: task.runs.count, ended: ended)
  }

  private static func wait(_ request: Request) throws(APIError) -> Duration? {
    guard let text = request.query["wait"] else { return nil }
    guard let seconds = Double(text), seconds > 0, seconds <= 600 else {
      throw .badField("wait", "\"wait\" must be more than 0 and at most 600 seconds")
    }
    return .seconds(seconds)
  }

  // MARK: Target

  private func addressee(_ segment: String, _ body: TaskBody) async throws -> Addressee {
    switch segment {
    case "uuid":
      guard let uuid = body.uuid else { throw APIError.badField("uuid", "\"uuid\" is required: the path does not name an agent") }
      try refuse(body.project, on: uuid)
      return Self.one(try await services.agent(uuid))
    case "project":
      if let project = body.project { return try member(body.uuid, of: project, try await services.project(project)) }
      guard let name = body.uuid else {
        throw APIError.badField("project", "\"project\" is required: the path does not name one")
      }
      return Self.addressee(try await services.either(name))
    default:
      if let reason = nameFault(segment) { throw APIError.badName(segment, reason) }
      switch try await services.either(segment) {
      case .agent(let agent):
        if let uuid = body.uuid, uuid != agent.text {
          throw APIError.badField(
            "uuid", "\"uuid\" is \"\(uuid)\", but the path names the agent \"\(agent.text)\"", hint: "leave \"uuid\" out")
        }
        try refuse(body.project, on: agent.text)
        return Self.one(agent)
      case .project(let project, let members):
        if let named = body.project, named != project {
          throw APIError.badField(
            "project", "\"project\" is \"\(named)\", but the path names the project \"\(project)\"", hint: "leave \"project\" out"
          )
        }
        return try member(body.uuid, of: project, members)
      }
    }
  }

  private func refuse(_ project: String?, on uuid: String) throws(APIError) {
    guard let project else { return }
    throw .badField(
      "project", "\"project\" is \"\(project)\", but the task is for the agent \"\(uuid)\"",
      hint: "POST /v1/producer/\(project)/task with \"uuid\" is for one member of a project")
  }

  private func member(_ uuid: String?, of project: String, _ members: [AgentID]) throws(APIError) -> Addressee {
    guard let uuid else { return Self.all(project, members) }
    guard members.contains(AgentID(uuid)) else { throw .notAMember(uuid, of: project) }
    return Addressee(target: project, kind: .project, agents: [AgentID(uuid)], project: project, isOneRun: true)
  }

  private static func addressee(_ target: Target) -> Addressee {
    switch target {
    case .agent(let agent): one(agent)
    case .project(let project, let members): all(project, members)
    }
  }
  private static func one(_ agent: AgentID) -> Addressee {
    Addressee(target: agent.text, kind: .agent, agents: [agent], project: nil, isOneRun: true)
  }
  private static func all(_ project: String, _ members: [AgentID]) -> Addressee {
    Addressee(target: project, kind: .project, agents: Set(members).sorted(), project: project, isOneRun: false)
  }

  // MARK: Store

  private func store(_ body: TaskBody, for addressee: Addressee) async throws -> FreshTask {
    let (ids, admit, clock) = (services.ids, services.admit, services.clock)
    let task: FreshTask
    do {
      task = try await services.store.write { db in
        // Made on the writer's thread: ids are in the order of the commits, so that a list never gains a task behind its first page.
        let id = ids.next()
        let now = WallTime.now()
        // It may have been removed since it was found: its work would wait until it expires.
        let agents = try addressee.agents.filter { try !TargetQueries.isRemoved(db, $0) }
        guard !agents.isEmpty else {
          throw TargetFault.unknown(addressee.isOneRun ? addressee.agents[0].text : addressee.target)
        }
        let project = try addressee.project ?? AgentQueries.firstProject(db, agents[0])
        let runs = agents.map { FreshRun(id: RunID(agent: $0, task: id), project: project) }
        var task = FreshTask(
          id: id, auuid: addressee.isOneRun ? runs[0].id.description : "\(addressee.target)-\(id)", target: addressee.target,
          kind: addressee.kind, spec: body.spec, origin: .http, createdAt: now.milliseconds,
          startBefore: (WallTime(milliseconds: clock.now) + .seconds(body.expires)).milliseconds, retries: body.retries,
          runs: runs)
        try admit(&task, db)
        try task.insert(into: db)
        return task
      }
    } catch let fault as TargetFault {
      throw fault
    } catch {
      services.doubted(addressee.agents, error)
      throw error
    }
    // Before anybody is told to go on with it, who has newer things to tell.
    services.watch.publish(task.runs.map { RunNews($0.id, .state($0.state)) })
    services.accepted(task)
    return task
  }
}
