// Ending runs and removing agents: kill of a run, kill of a whole task, removal of an agent. What is asked for here is committed before the
// answer; how runs end is the flow's matter. A run that was never sent ends at once, so the answer waits a moment for that.

import HTTP
import HTTPTypes
import Shared

struct StopRoutes: Sendable {
  let services: APIServices

  /// How long an answer waits for runs that were never sent to be `cancelled`.
  private static let patience: Duration = .milliseconds(250)

  /// `POST /v1/runs/<auuid>/kill`.
  func run(_ name: String, _ request: Request) async throws -> Response {
    let order = try read(request)
    let outcome = try await services.store.write { db in
      try FlowStops.stop(db, named: name, order, now: WallTime.now().milliseconds)
    }
    switch outcome {
    case nil: throw APIError.unknownRun(name)
    case .endedAlready(let run)?: throw APIError.alreadyEnded(run)
    case .asked(let asked)?:
      try await stop(
        [asked.id], unsent: asked.state == .queued ? [asked.id] : [], of: asked.id.task, [RunNews(asked.id, .state(asked.state))])
      let (run, attempts) = try await services.store.read { db in
        let run = try RunQueries.find(db, asked.id) ?? asked
        return (run, try AttemptQueries.all(db, run))
      }
      return .json(JSONBody.object { run.write(to: &$0, attempts: attempts) }, status: .accepted)
    }
  }

  /// `POST /v1/tasks/<id or auuid>/kill`.
  func task(_ name: String, _ request: Request) async throws -> Response {
    let order = try read(request)
    let outcome = try await services.store.write { db in
      try FlowStops.stopTask(db, named: name, order, now: WallTime.now().milliseconds)
    }
    guard let outcome else { throw APIError.unknownTask(name) }
    guard !outcome.asked.isEmpty else { throw APIError.alreadyEnded(outcome) }
    let task = outcome.task.id
    // Of one run its page wants to hear; of many nobody looks at each.
    let open = outcome.asked.count == 1 ? outcome.counts.keys.filter { !$0.isVerdict } : []
    try await stop(outcome.asked, unsent: outcome.unsent, of: task, zip(outcome.asked, open).map { RunNews($0, .state($1)) })
    let counts = try await services.store.read { try TaskQueries.counts($0, task) }
    let all = counts.values.reduce(0, +)
    return .json(
      JSONBody.object { body in
        body.field("task", task.description)
        body.field("auuid", outcome.task.auuid)
        body.counts(counts)
        body.field("asked", outcome.asked.count)
        body.field("ended", all - outcome.asked.count)
      }, status: .accepted)
  }

  /// `DELETE /v1/agents/<uuid>`.
  func agent(_ name: String, _ request: Request) async throws -> Response {
    try mayChange(request)
    try request.allow()
    let removal: RemovedAgents.Removal?
    do { removal = try await services.remove(name, request.peer) } catch let fault as RemovalFault {
      throw APIError.redisAway(removing: name, fault.description)
    }
    guard let removal else { throw APIError.unknownAgent(name) }
    return .json(
      JSONBody.object { body in
        removal.agent.write(to: &body, removal.presence)
        body.field("closedRuns", removal.closed.count)
      })
  }

  // MARK: Asking

  private func mayChange(_ request: Request) throws(APIError) {
    try CrossOrigin.refuse(request)
    switch services.standing() {
    case .accepting: break
    case .standby(let reason): throw .standby(reason)
    case .draining: throw .draining
    }
  }

  private func read(_ request: Request) throws -> StopOrder {
    try mayChange(request)
    try request.allow()
    return try StopBody(request.body).order
  }

  /// Tells whoever looks that an end is asked for (`told`: with the states of that moment), then the loops, which have newer ones to tell; waits a
  /// moment for runs that were never sent.
  private func stop(_ runs: [RunID], unsent: [RunID], of task: ULID, _ told: [RunNews]) async throws {
    let news = services.watch.subscribe(task: task)
    defer { news.cancel() }
    services.watch.publish(told)
    services.stopped(runs)
    var waiting = Set(unsent)
    let deadline = ContinuousClock.now + Self.patience
    while !waiting.isEmpty, ContinuousClock.now < deadline {
      let batch = try await news.next(until: deadline)
      if batch.missedSome { return }
      for (run, state) in batch.states where state.isVerdict { waiting.remove(run) }
    }
  }
}

/// The optional body of a kill.
struct StopBody: Sendable, Equatable {
  var order: StopOrder

  /// - Throws: `JSONFault`, or `FieldFaults` with every fault there is.
  init(_ bytes: [UInt8]) throws {
    guard bytes.contains(where: { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 }) else {
      order = StopOrder()
      return
    }
    var reader = FieldReader(try JSONReader.parse(bytes))
    var signal: String?
    if let text = reader.string("signal") {
      signal = SignalName.canonical(text)
      if signal == nil {
        let nearest = nearestName(to: text.uppercased(), among: SignalName.all)
        reader.fault(
          .badField, "signal", "\"signal\" must be a signal's name, with or without SIG",
          hint: nearest.map { "did you mean \"\($0)\"?" } ?? "such as TERM, INT, HUP, KILL, USR1")
      }
    }
    let grace = reader.number("grace")
    if let grace, !(0...StopOrder.longestGrace).contains(grace) {
      reader.fault(.badField, "grace", "\"grace\" must be from 0 to \(Int(StopOrder.longestGrace)) seconds")
    }
    try reader.finish()
    order = StopOrder(signal: signal, grace: grace)
  }
}
