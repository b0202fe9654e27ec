// Everything that the agent remembers of attempts: those of concern in full, the others as a place in the journal. One owner, the `Worker`.

import Shared

final class Attempts {
  private(set) var live: [AttemptID: Attempt] = [:]
  /// Where the last word on an attempt stands that nobody waits for any more.
  private(set) var settled: [AttemptID: UInt64]
  private(set) var forgotten: ULID?
  /// Newest run of each plain task, by its name.
  private(set) var aliases: [[UInt8]: ULID]
  /// The highest send number that was read.
  var sends: SendNumber
  /// With a runner.
  private(set) var working = 0
  /// Taken, no runner has it.
  private(set) var waiting = 0
  /// Ended, not settled.
  private(set) var unsettledEnds = 0

  init(_ contents: JournalContents) {
    settled = contents.settled
    forgotten = contents.forgotten
    aliases = contents.aliases
    sends = contents.sends
  }

  subscript(id: AttemptID) -> Attempt? { live[id] }

  func knowledge(of id: AttemptID) -> AttemptKnowledge {
    if let attempt = live[id] { return attempt.knowledge }
    return AttemptKnowledge(record: settled[id] == nil ? .none : .ended, confirmed: true)
  }

  func add(_ attempt: Attempt) {
    live[attempt.id] = attempt
    count(attempt.stage, 1)
    if let plain = attempt.plain, attempt.id.task >= aliases[plain.name.bytes] ?? .min {
      aliases[plain.name.bytes] = attempt.id.task
    }
  }

  func move(_ attempt: Attempt, to stage: Attempt.Stage) {
    count(attempt.stage, -1)
    attempt.stage = stage
    count(stage, 1)
  }

  /// Nobody waits for it any more: only the place of its end is kept.
  func settle(_ attempt: Attempt) {
    guard live.removeValue(forKey: attempt.id) != nil else { return }
    count(attempt.stage, -1)
    if let offset = attempt.endOffset { settled[attempt.id] = offset }
  }

  /// Ids up to this one are not known any more.
  func forget(_ newest: ULID) {
    forgotten = max(forgotten ?? newest, newest)
    settled = settled.filter { $0.key.task > newest }
  }

  private func count(_ stage: Attempt.Stage, _ by: Int) {
    switch stage {
    case .waiting: waiting += by
    case .working: working += by
    case .ending, .ended: unsettledEnds += by
    }
  }
}
