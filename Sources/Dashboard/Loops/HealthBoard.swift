// What `GET /v1/health` says: each loop sets its own line and clears it. All of these are warnings. Unhealthy is a dashboard that accepts no
// tasks: because its store takes none, which the store says itself (`Store.fault`), or because it stands by or is about to stop.
import Shared
import Synchronization

final class HealthBoard: Sendable {
  enum Line: String, CaseIterable, Sendable {
    case redis, agents, standby, eviction, persistence, clients, memory, descriptors, collector, damage, embedded
  }

  private let lines = Mutex<[Line: String]>([:])

  func set(_ line: Line, _ reason: String?) { lines.withLock { $0[line] = reason } }

  func reason(_ line: Line) -> String? { lines.withLock { $0[line] } }
  var warnings: [String] { lines.withLock { lines in Line.allCases.compactMap { lines[$0] } } }
}
