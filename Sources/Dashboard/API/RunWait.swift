// `?wait`: until every run of a task has ended and its output is here, or until the time is up.

import Shared

struct RunWait: Sendable {
  let services: APIServices

  /// News are hints; the store is looked at this often anyway.
  private static let look: Duration = .seconds(10)
  /// How soon a waiter notices that the dashboard is stopping.
  private static let glance: Duration = .milliseconds(500)

  /// True once all runs of the task have ended; false when `limit` has passed before, or when the dashboard stops: the client then still
  /// gets its answer, with the ids to ask for later.
  func untilEnded(_ task: ULID, within limit: Duration) async throws -> Bool {
    let deadline = ContinuousClock.now + limit
    let news = services.watch.subscribe(task: task)
    defer { news.cancel() }
    // Since when a run that has its verdict lacks output.
    var lacking: [AgentID: ContinuousClock.Instant] = [:]
    while true {
      let now = ContinuousClock.now
      let open = try await services.store.read { try RunQueries.incomplete($0, task) }
      var waiting: Set<AgentID> = []
      for (agent, state) in open {
        if state.isVerdict, now - (lacking[agent] ?? now) >= services.outputGrace { continue }
        if state.isVerdict, lacking[agent] == nil { lacking[agent] = now }
        waiting.insert(agent)
      }
      if waiting.isEmpty { return true }
      guard now < deadline, services.standing() != .draining else { return !open.contains { !$0.state.isVerdict } }
      let grace = waiting.compactMap { lacking[$0] }.min().map { $0 + services.outputGrace }
      try await listen(news, until: min(deadline, now + Self.look, grace ?? deadline), waiting, lacking: lacking.keys)
    }
  }

  /// Returns when there is a reason to look at the store: every run may have ended by the news, or the time has come. So a task on ten
  /// thousand hosts is not read ten thousand times.
  private func listen(
    _ news: Subscription, until wake: ContinuousClock.Instant, _ waiting: Set<AgentID>, lacking: some Collection<AgentID>
  ) async throws {
    var waiting = waiting
    while ContinuousClock.now < wake, services.standing() != .draining {
      let batch = try await news.next(until: min(wake, .now + Self.glance))
      if batch.missedSome { return }
      for (run, state) in batch.states where state.isVerdict { waiting.remove(run.agent) }
      for run in batch.grown where lacking.contains(run.agent) { waiting.remove(run.agent) }
      if waiting.isEmpty { return }
    }
  }
}
