// Runs that asked for retries: every attempt that the dashboard tells of, held against the lines that they left. The first start of such a command
// fails, and every later one succeeds (`PostedTask`).

import Shared

extension PromiseCheck {
  mutating func attemptsAreTrue() {
    for (run, attempts) in evidence.attempts {
      guard let row = evidence.rows[run], RunState(rawValue: row.state)?.isVerdict == true, !row.isUnknown else { continue }
      let at = evidence.ledger.seen[run]?.verdictAt
      let told = "its attempts are \(attempts.map(\.state).joined(separator: ", "))"
      if attempts.map(\.attempt) != Array(1...max(1, row.attempt)) || attempts.last?.state != row.state {
        found("is \(row.summary), and \(told)", run: run, at: at)
        continue
      }
      // What a restored store cannot know it does not make up.
      let mayBeUnknown = !evidence.deeds.restores.isEmpty
      for attempt in attempts.dropLast() {
        let isRetried = [.failed, .lost].contains(RunState(rawValue: attempt.state))
        if !isRetried, !(mayBeUnknown && attempt.state == RunState.unknown.rawValue) {
          found("went on after attempt \(attempt.attempt), which is \(attempt.state)", run: run, at: at)
        }
      }
      let failed = attempts.filter { $0.state == RunState.failed.rawValue }
      let succeeded = attempts.count { $0.state == RunState.succeeded.rawValue }
      let starts = evidence.starts[run]?.count ?? 0
      if failed.count > 1 { found("\(told), and only its first start fails", run: run, at: at) }
      if failed.contains(where: { $0.exitCode != 1 }) { found("\(told), with another exit code than 1", run: run, at: at) }
      if succeeded > 0, starts < 2 { found("\(told), and its first start fails", run: run, at: at) }
      if failed.count + succeeded > starts { found("\(told), and it was started \(starts) times", run: run, at: at) }
      if failed.count + succeeded > evidence.ends[run, default: 0] {
        found("\(told), and it came to its end \(evidence.ends[run, default: 0]) times", run: run, at: at)
      }
    }
  }
}
