// Nothing came sooner than it may, or much later. All times are the harness's own: a verdict is seen after it came, a post begins before it is
// accepted, so what is too soon by these is too soon. How long a run waited before it was started is not held against anybody.

import Shared

extension PromiseCheck {
  /// How far the clock that expiry goes by may be wrong across hosts (docs/decisions/0014: less is no step).
  static let clockTolerance = 1000
  /// A time limit is rounded down to a millisecond.
  static let rounding = 10
  /// An agent that was held for 21 s may go by what Redis's clock said before, and its runner was perhaps held as well.
  static let latestStart = 30_000

  mutating func timesAreTrue() {
    for (run, row) in evidence.rows {
      guard let task = task(of: run), let post = post(of: run) else { continue }
      if let sighting = evidence.ledger.seen[run], sighting.verdict == row.state {
        let after = sighting.verdictAt - post.at
        if row.state == RunState.expired.rawValue, let expires = task.expires, after < expires * 1000 - Self.clockTolerance {
          found("is expired \(after) ms after its post, and had \(expires) s to be started", run: run, at: sighting.verdictAt)
        }
        if row.state == RunState.timedOut.rawValue, let timeout = task.timeout, after < Int(timeout * 1000) - Self.rounding {
          found("timed out \(after) ms after its post, and may run for \(timeout) s", run: run, at: sighting.verdictAt)
        }
      }
      // When an unanswered post was accepted is not known.
      guard case .accepted = post.outcome, let expires = task.expires else { continue }
      for at in (evidence.starts[run] ?? []).compactMap(\.at) where at > post.answeredAt + expires * 1000 + Self.latestStart {
        found("was started \(at - post.answeredAt) ms after its post, and had \(expires) s for that", run: run, at: at)
      }
    }
  }
}
