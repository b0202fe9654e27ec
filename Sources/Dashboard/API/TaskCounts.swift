// The counts of a task's runs by state. Once every run has its verdict they never change, so they are remembered: a list of tasks on ten
// thousand hosts each would otherwise count a million rows for every page.

import GRDB
import Shared
import Synchronization

final class TaskCounts: Sendable {
  private static let remembered = 4096
  private let final = Mutex<[ULID: [RunState: Int]]>([:])

  func counts(of task: ULID, _ db: Database) throws -> [RunState: Int] {
    if let counts = final.withLock({ $0[task] }) { return counts }
    let counts = try TaskQueries.counts(db, task)
    if !counts.isEmpty, counts.keys.allSatisfy(\.isVerdict) {
      final.withLock {
        if $0.count >= Self.remembered { $0.removeAll() }
        $0[task] = counts
      }
    }
    return counts
  }
}
