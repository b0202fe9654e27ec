// The counts of a task's runs by state. Once every run has its verdict they never change, so they are remembered: a list of tasks on ten
// thousand hosts each would otherwise count a million rows for every page. Only a task that agents have reported (`FlowFound`) gains runs later:
// as many as there are agents that speak of it.

import GRDB
import Shared
import Synchronization

final class TaskCounts: Sendable {
  private static let remembered = 4096
  private let final = Mutex<[ULID: [RunState: Int]]>([:])

  func counts(of task: TaskRecord, _ db: Database) throws -> [RunState: Int] {
    if let counts = final.withLock({ $0[task.id] }) { return counts }
    let counts = try TaskQueries.counts(db, task.id)
    if task.origin != TaskOrigin.report.rawValue, !counts.isEmpty, counts.keys.allSatisfy(\.isVerdict) {
      final.withLock {
        if $0.count >= Self.remembered { $0.removeAll() }
        $0[task.id] = counts
      }
    }
    return counts
  }
}
