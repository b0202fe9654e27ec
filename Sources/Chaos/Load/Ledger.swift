// Everything the harness was told, kept beside the programs it judges: what was posted and answered, which state of which run was seen when,
// which task a run is of, which runs somebody asked to kill. All times are `Monotonic.milliseconds`.

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

/// A field put into an agent's plain hash.
struct PlainRecord: Sendable {
  let at: Int
  /// Redis said that it has it.
  let answered: Bool
}

struct LedgerContents: Sendable {
  var posts: [Int: PostRecord] = [:]
  var acceptedRuns = 0
  var seen: [String: Sighting] = [:]
  /// Which task a run is of, by an answer or by its name in a list: a restored database may have forgotten it since.
  var numbers: [String: Int] = [:]
  /// When it was asked, and nobody said that nothing will come of it.
  var killAsked: [String: Int] = [:]
  /// When a 202 came.
  var killTold: [String: Int] = [:]
  var killRefused: [String: String] = [:]
  var plain: [Int: PlainRecord] = [:]
}

final class Ledger: Sendable {
  private let guarded = Mutex(LedgerContents())

  var contents: LedgerContents { guarded.withLock { $0 } }
  var acceptedRuns: Int { guarded.withLock { $0.acceptedRuns } }
  func number(of run: String) -> Int? { guarded.withLock { $0.numbers[run] } }
  func killTold(_ run: String) -> Int? { guarded.withLock { $0.killTold[run] } }

  func posted(_ record: PostRecord) {
    guarded.withLock { state in
      state.posts[record.number] = record
      guard case .accepted(let runs) = record.outcome else { return }
      state.acceptedRuns += runs.count
      for run in runs { state.numbers[run] = record.number }
    }
  }

  /// - Parameter asked: when the request was sent whose answer says so. What was asked before a verdict was seen and answered late is no
  ///   contradiction.
  func saw(_ run: String, in state: String, taskname: String?, asked: Int, answered: Int) {
    guarded.withLock { contents in
      if contents.numbers[run] == nil { contents.numbers[run] = taskname.flatMap(PostedTask.number(ofTaskname:)) }
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

  enum KillAnswer {
    case told
    /// An answer that promises that nothing will come of it.
    case refused(String)
    case none
  }

  func askedToKill(_ run: String, _ answer: KillAnswer) {
    let now = Monotonic.milliseconds
    guarded.withLock { state in
      if case .refused(let words) = answer { return state.killRefused[run] = words }
      state.killAsked[run] = now
      if case .told = answer { state.killTold[run] = now }
    }
  }

  func plain(_ number: Int, at: Int, answered: Bool) {
    guarded.withLock { $0.plain[number] = PlainRecord(at: at, answered: answered) }
  }
}
