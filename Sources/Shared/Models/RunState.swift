// The states of a run (DESIGN section 3, "States") and the one table that says which may follow which.
// Both programs, the store and the explorer use this table and no other.
// When adding a state, also: `docs/ARCHITECTURE.md`, the page's `states.js`, and a golden report.

/// Where a run stands. Every case but the first four is a verdict, and a verdict is final.
public enum RunState: String, Sendable, Hashable, Codable, CaseIterable {
  /// Accepted and stored; no agent can know of it yet.
  case queued
  /// Marked as sent in the store; it may stand in Redis or in the agent's journal.
  case sent
  /// The agent has said that the command was started.
  case running
  /// The agent's lease lapsed while the run was out. Not a verdict.
  case unknown
  /// Exit code 0.
  case succeeded
  /// Exit code other than 0, a signal, or the program could not be started.
  case failed
  /// Ended by the runner at its time limit.
  case timedOut
  /// Ended by the runner because somebody asked.
  case killed
  /// Ended before it was started because somebody asked.
  case cancelled
  /// Not started within its `expires`.
  case expired
  /// Refused by the agent (policy, signature, executor).
  case rejected
  /// The agent says that it cannot know.
  case lost

  /// True for the final states.
  public var isVerdict: Bool {
    switch self {
    case .queued, .sent, .running, .unknown: false
    case .succeeded, .failed, .timedOut, .killed, .cancelled, .expired, .rejected, .lost: true
    }
  }

  /// True for verdicts that promise that the command was never started.
  public var saysNeverStarted: Bool { self == .cancelled || self == .expired || self == .rejected }

  /// The transition table: any open state accepts any later one (a verdict may overtake "sent"), a verdict accepts none.
  /// `running → sent` and `unknown → sent` stand for a run that its agent denies and that is sent again.
  /// The table is one attempt's. The next attempt begins in `queued` or, in a restored copy of the store, in `sent`, whatever open state the one
  /// before it was in (`RunFlow+Attempts`): no verdict lies between them.
  public func accepts(_ next: RunState) -> Bool {
    switch (self, next) {
    case (.queued, .queued), (.sent, .sent), (.running, .running), (.unknown, .unknown): false
    case (.queued, _): true
    case (.sent, .queued): false
    case (.running, .queued): false
    case (.unknown, .queued): false
    case (.sent, _), (.running, _), (.unknown, _): true
    default: false
    }
  }

  /// States that are not yet verdicts, in the order in which a run passes through them.
  public static let open: [RunState] = [.queued, .sent, .running, .unknown]
}
