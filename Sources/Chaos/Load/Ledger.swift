// Everything the harness was told, kept beside the programs it judges: what was posted and answered, which state of which run was seen when,
// which runs somebody asked to kill. All times are `Monotonic.milliseconds`.

import Shared
import Synchronization

struct PostRecord: Sendable {
  enum Outcome: Sendable {
    /// 202 or 200, with these runs.
    case accepted([String])
    /// Refused by an answer that promises that nothing was stored; 0: nobody took the connection.
    case refused(Int)
    /// No answer, or one that leaves it open (5xx).
    case unanswered(String)
  }
  let number: Int
  let at: Int
  let answeredAt: Int
  let outcome: Outcome
}

/// What was seen of one run. Only the first verdict and what contradicts it are kept.
struct Sighting: Sendable {
  var verdict: String?
  var verdictAt = 0
  /// Another verdict than the first one, seen later.
  var contradictions: [(state: String, at: Int)] = []
  /// An open state, seen after the verdict.
  var reopenedAt: [Int] = []
}

struct LedgerContents: Sendable {
  var posts: [Int: PostRecord] = [:]
  var acceptedRuns = 0
  var seen: [String: Sighting] = [:]
  var killAsked: [String: Int] = [:]
  var killRefused: [String: String] = [:]
  /// Fields put into an agent's plain hash: number → whether Redis said that it has it.
  var plain: [Int: Bool] = [:]
}

final class Ledger: Sendable {
  private let guarded = Mutex(LedgerContents())

  var contents: LedgerContents { guarded.withLock { $0 } }
  var acceptedRuns: Int { guarded.withLock { $0.acceptedRuns } }
  var verdicts: Int { guarded.withLock { $0.seen.values.count { $0.verdict != nil } } }

  func posted(_ record: PostRecord) {
    guarded.withLock { state in
      state.posts[record.number] = record
      if case .accepted(let runs) = record.outcome { state.acceptedRuns += runs.count }
    }
  }

  /// - Parameter asked: when the request was sent whose answer says so. What was asked before a verdict was seen and answered late is no
  ///   contradiction.
  func saw(_ run: String, in state: String, asked: Int, answered: Int) {
    guarded.withLock { contents in
      var sighting = contents.seen[run] ?? Sighting()
      let isVerdict = RunState(rawValue: state)?.isVerdict ?? false
      if let verdict = sighting.verdict {
        if isVerdict, state != verdict { sighting.contradictions.append((state, answered)) }
        if !isVerdict, asked > sighting.verdictAt { sighting.reopenedAt.append(asked) }
      } else if isVerdict {
        (sighting.verdict, sighting.verdictAt) = (state, answered)
      }
      contents.seen[run] = sighting
    }
  }

  func askedToKill(_ run: String, refused: String? = nil) {
    guarded.withLock { state in
      if let refused { state.killRefused[run] = refused } else { state.killAsked[run] = Monotonic.milliseconds }
    }
  }

  func plain(_ number: Int, answered: Bool) { guarded.withLock { $0.plain[number] = answered } }
}
