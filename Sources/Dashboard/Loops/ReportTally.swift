// What agents said that changed nothing, counted since this process started: `GET /v1/health` shows it.
import Shared
import Synchronization

final class ReportTally: Sendable {
  struct Counts: Sendable, Equatable {
    /// For a run that has its verdict, or about an older attempt.
    var refused = 0
    /// From the journal of a removed agent.
    var ofRemovedAgents = 0
    /// Runs that the store knows by a report alone; kept as history.
    var found = 0
    /// About nothing that the store has or can keep.
    var dropped = 0
  }
  private let kept = Mutex(Counts())

  var counts: Counts { kept.withLock { $0 } }

  func add(_ outcomes: [BatchOutcome]) {
    kept.withLock { counts in
      for outcome in outcomes {
        counts.refused += outcome.refused
        counts.ofRemovedAgents += outcome.refusedAsRemoved
        counts.found += outcome.found
        counts.dropped += outcome.unknown
      }
    }
  }
}
