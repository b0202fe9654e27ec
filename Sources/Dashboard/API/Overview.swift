// The six counters on top of every page: `GET /v1/overview`. Counting a million runs takes a while, so the answer is kept for a moment and
// everybody who asks meanwhile shares it.

import HTTP
import Shared
import Synchronization

final class Overview: Sendable {
  struct Counts: Sendable, Equatable {
    var online = 0
    var offline = 0
    var running = 0
    var waiting = 0
    var failed = 0
    var unknown = 0

    func write(to body: inout JSONBody) {
      body.field("online", online)
      body.field("offline", offline)
      body.field("running", running)
      body.field("waiting", waiting)
      body.field("failed", failed)
      body.field("unknown", unknown)
    }
  }

  /// How old an answer may be.
  private static let freshness: Duration = .milliseconds(500)
  private static let day: Duration = .seconds(86_400)

  private struct Kept {
    var counters: AgentQueries.Counters
    var at: ContinuousClock.Instant
  }
  private struct Guarded {
    var kept: Kept?
    var asking: Task<AgentQueries.Counters, any Error>?
  }
  private let services: APIServices
  private let guarded = Mutex(Guarded())

  init(_ services: APIServices) { self.services = services }

  func counts() async throws -> Counts {
    let counters = try await self.counters()
    let online = services.online().count
    return Counts(
      online: online, offline: max(0, counters.agents - online), running: counters.running, waiting: counters.waiting,
      failed: counters.failed, unknown: counters.unknown)
  }

  func answer(_ request: Request) async throws -> Response {
    try request.allow()
    let counts = try await counts()
    return .json(JSONBody.object { counts.write(to: &$0) })
  }

  private func counters() async throws -> AgentQueries.Counters {
    let (kept, asking) = guarded.withLock { guarded -> (AgentQueries.Counters?, Task<AgentQueries.Counters, any Error>?) in
      if let kept = guarded.kept, kept.at.duration(to: .now) < Self.freshness { return (kept.counters, nil) }
      if let asking = guarded.asking { return (nil, asking) }
      let store = services.store
      let asking = Task {
        let since = (WallTime.now() - Self.day).milliseconds
        return try await store.read { try AgentQueries.counters($0, failedSince: since) }
      }
      guarded.asking = asking
      return (nil, asking)
    }
    if let kept { return kept }
    guard let asking else { return AgentQueries.Counters() }
    let answer = await asking.result
    guarded.withLock { guarded in
      guard guarded.asking == asking else { return }
      guarded.asking = nil
      if case .success(let counters) = answer { guarded.kept = Kept(counters: counters, at: .now) }
    }
    return try answer.get()
  }
}
