// What `GET /v1/health` says: each loop sets its own line and clears it. Redis away is a warning (tasks are still accepted); only a store
// that cannot take tasks makes the dashboard unhealthy.
import Shared
import Synchronization

final class HealthBoard: Sendable {
  enum Line: String, CaseIterable, Sendable { case store, redis, standby, eviction, persistence, collector, damage, embedded }

  private let lines = Mutex<[Line: String]>([:])

  func set(_ line: Line, _ reason: String?) { lines.withLock { $0[line] = reason } }

  /// Sentences, store first.
  func reason(_ line: Line) -> String? { lines.withLock { $0[line] } }
  var warnings: [String] { lines.withLock { lines in Line.allCases.filter { $0 != .store }.compactMap { lines[$0] } } }
  var canAccept: Bool { lines.withLock { $0[.store] == nil } }
}
