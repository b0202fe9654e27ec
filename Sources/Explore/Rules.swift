// The rules that can be left out, by the names of `shared/model`. The real functions know nothing of this: where a rule is left out, the
// explorer lies to them about an input, or does not call them. `meant`, `former` and `records` are what this search added.
// When adding a rule, also: a line in docs/rules.md, and what shows it in `Budgets.showing`.

struct Rules: OptionSet, Sendable {
  let rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }
  init(_ name: Name) { rawValue = 1 << UInt64(name.index) }

  static let all = Rules(rawValue: (1 << UInt64(Name.allCases.count)) - 1)
  /// Is the rule in force?
  @inline(__always) func has(_ name: Name) -> Bool { rawValue >> UInt64(name.rawIndex) & 1 == 1 }
  func without(_ names: [Name]) -> Rules { names.reduce(self) { $0.subtracting(Rules($1)) } }

  enum Name: String, CaseIterable, Sendable {
    case first, confirm, lease, position, nonce, bind, meant, mark, number, before, hears, raises, kept, pair, asks, told, ask,
      reported,
      word, tomb, tombFirst, tombSure, heed, noDenial, file, plainFile, gone, order, boot, taking, handFirst, endSync, sure,
      answer, close,
      stream, sequence, former, fenced, fence, named, horizon, alive, forward, posSync, records

    /// Its place, without a search: the cases have no values of their own.
    @inline(__always) var rawIndex: UInt8 { unsafeBitCast(self, to: UInt8.self) }
    var index: Int { Int(rawIndex) }

    var words: String {
      switch self {
      case .first: "an id's first record holds for good"
      case .confirm: "nothing starts before its confirm has succeeded"
      case .lease: "a confirm counts only for the lease's present incarnation"
      case .position: "a journal that lacks the last record that Redis holds takes a new id"
      case .nonce: "... told by count and nonce, not by count alone"
      case .bind: "an envelope meant for another journal is left alone"
      case .meant: "an envelope is meant for the journal that its run was marked for, not for whoever speaks by now"
      case .mark: "a run is marked as sent in the store before it is sent"
      case .number: "a restored copy is told by the send number in Redis: what is open there counts as sent"
      case .before: "... compared before the first mark, not only before the first send or end"
      case .hears: "... and before the first report is judged"
      case .raises: "... by a script that raises the fence"
      case .kept: "the fence is kept in Redis, without expiry"
      case .pair: "the send number is fence:count, raised to the present fence by the comparison"
      case .asks: "control messages about a run and the removal of its agent raise it in Redis too"
      case .told: "the agent's hello carries the highest number that it has read"
      case .ask: "sending again is a question first"
      case .reported: "unknown, but once reported: not sent again"
      case .word: "a run that may have been sent is cancelled by the agent's word alone"
      case .tomb: "a tombstone stands in Redis before cancelled, expired or rejected is final"
      case .tombFirst: "... also while Redis is away: not final before"
      case .tombSure: "a tombstone of the journal is reported only after a confirm"
      case .heed: "a send refused by a tombstone makes the run one to be cancelled"
      case .noDenial: "unknown to reconcile does not allow an end in the store alone"
      case .file: "the output file, made exclusively right before exec, proves the start"
      case .plainFile: "the agent only looks for the output file, it does not make it"
      case .gone: "the agent looks whether the runner is gone before it judges"
      case .order: "first that the runner is gone, then that there is no exit record"
      case .boot: "taken on an earlier boot: never started again"
      case .taking: "... counted from the taking, not from the unsynced hand-off"
      case .handFirst: "the hand-off is recorded before the runner gets the attempt"
      case .endSync: "an end is synced before it is reported"
      case .sure: "nothing is reported of an id before its confirm has succeeded"
      case .answer: "reconcile is answered with the verdict, acknowledged or not"
      case .close: "after a change of identity the new journal tombstones, only then the run is lost"
      case .stream: "the identity is judged in the order of the stream, never by the lease"
      case .sequence: "a report whose sequence is committed already is dropped"
      case .former: "a report of a former process of the same journal is dropped"
      case .fenced: "lease and confirm are refused to the journal of a removed agent"
      case .fence: "scripts of an older dashboard are refused"
      case .named: "control messages name journal and incarnation"
      case .horizon: "an unknown run that is older than what was forgotten is not taken"
      case .alive: "sent only to a living agent"
      case .forward: "the confirm script never moves a journal's position back"
      case .posSync: "the recorded position is that of the last synced record"
      case .records: "a hand-off that a power cut took is found again in the runners' records"
      }
    }
  }
}
