// A call at its owner: what was asked, what has come back so far, and the one who waits. Resumed exactly once: when its
// last outcome is known, or earlier with the missing ones failed.

/// Not Sendable: lives on the owner thread from submission to completion.
final class PendingCall {
  let id: UInt64
  let commands: [RedisCommand]
  let patience: Duration
  let isBlocking: Bool
  /// From the call to its deadline, for messages.
  let timeout: Duration
  var deadline: MonotonicTime
  /// When its bytes were made ready to go.
  var sentAt = MonotonicTime(nanoseconds: 0)

  private var outcomes: [Outcome?]
  private var missing: Int
  private var continuation: CheckedContinuation<[Outcome], Never>?

  init(_ submission: Submission) {
    id = submission.id
    commands = submission.commands
    patience = submission.patience
    timeout = submission.timeout
    isBlocking = submission.isBlocking
    deadline = submission.deadline
    continuation = submission.continuation
    outcomes = Array(repeating: nil, count: commands.count)
    missing = commands.count
  }

  /// True once the caller has gone on; replies that still come are dropped.
  var isFinished: Bool { continuation == nil }

  /// Records the outcome of one command, unless it is known already.
  func record(_ outcome: Outcome, at index: Int) {
    guard !isFinished, outcomes[index] == nil else { return }
    outcomes[index] = outcome
    missing -= 1
    if missing == 0 { finish(otherwise: .notSent(.closed)) }
  }

  /// Gives the caller everything that came, and `error` for the rest.
  func finish(otherwise error: RedisError) {
    guard let continuation else { return }
    self.continuation = nil
    continuation.resume(returning: outcomes.map { $0 ?? .failure(error) })
    outcomes = []
  }
}
