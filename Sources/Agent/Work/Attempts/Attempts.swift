// Everything that the agent remembers of attempts: those of concern in full, the others as a place in the journal: `parked` are those whose
// end still waits for a dashboard, `settled` those that nobody waits for. One owner, the `Worker`.

import Shared

final class Attempts {
  private(set) var live: [AttemptID: Attempt] = [:]
  /// More than this many are not remembered, however young: about 64 MiB.
  static let settledLimit = 1_000_000
  private(set) var settled: [AttemptID: JournalContents.Settled]
  private(set) var parked: [AttemptID: JournalContents.Parked]
  private(set) var forgotten: ULID?
  /// Newest run of each plain task, by its name.
  private(set) var aliases: [[UInt8]: ULID]
  /// The highest attempt that is known of a task, where that is not its first.
  private var laterAttempts: [ULID: Int] = [:]
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
    parked = contents.parked
    forgotten = contents.forgotten
    aliases = contents.aliases
    sends = contents.sends
    for id in settled.keys { learn(id) }
    for id in parked.keys { learn(id) }
    // The file may still hold what is forgotten; what is open is added, and brings its name.
    dropAliases()
  }

  /// The highest attempt that is known of a task; it need not have been started.
  func latest(of task: ULID) -> Int { laterAttempts[task] ?? 1 }

  private func learn(_ id: AttemptID) {
    if id.attempt > 1 { laterAttempts[id.task] = max(id.attempt, laterAttempts[id.task] ?? 1) }
  }

  subscript(id: AttemptID) -> Attempt? { live[id] }

  func knowledge(of id: AttemptID) -> AttemptKnowledge {
    if let attempt = live[id] { return attempt.knowledge }
    return AttemptKnowledge(record: lastWord(of: id) == nil ? .none : .ended, confirmed: true)
  }

  /// Which record of the journal holds the last word on an attempt that is not live.
  func lastWord(of id: AttemptID) -> UInt64? { parked[id]?.count ?? settled[id]?.count }

  func add(_ attempt: Attempt) {
    live[attempt.id] = attempt
    learn(attempt.id)
    count(attempt.stage, 1)
    if let alias = attempt.plain?.alias, attempt.id.task >= aliases[alias] ?? .min { aliases[alias] = attempt.id.task }
  }

  func move(_ attempt: Attempt, to stage: Attempt.Stage) {
    count(attempt.stage, -1)
    attempt.stage = stage
    count(stage, 1)
  }

  /// Nobody waits for it any more: only the place of its end is kept.
  func settle(_ attempt: Attempt, hour: UInt32) {
    guard live.removeValue(forKey: attempt.id) != nil else { return }
    count(attempt.stage, -1)
    guard let end = attempt.endCount else { return }
    settled[attempt.id] = JournalContents.Settled(count: end, hour: hour, isPlain: attempt.plain != nil)
  }

  /// Only a dashboard is waited for: only the place of its end is kept.
  func park(_ attempt: Attempt) {
    guard let end = attempt.endCount, live.removeValue(forKey: attempt.id) != nil else { return }
    count(attempt.stage, -1)
    parked[attempt.id] = JournalContents.Parked(
      count: end, records: attempt.handOff?.records ?? [], start: attempt.handOff?.start ?? 0)
  }

  /// It is of concern again, or nobody waits for it any more.
  func unpark(_ id: AttemptID) { parked[id] = nil }

  /// Nobody waits for it any more, although it was never acknowledged.
  func giveUp(parked id: AttemptID, hour: UInt32) {
    guard let place = parked.removeValue(forKey: id) else { return }
    settled[id] = JournalContents.Settled(count: place.count, hour: hour, isPlain: true)
  }

  // MARK: Forgetting

  /// The newest id of others' making that is to be forgotten: its time is up, or there are too many. Plain ones go at once: nobody else will
  /// ever name them.
  func nextToForget(hour: UInt32, limit: Int = Attempts.settledLimit) -> (newest: ULID?, plain: [AttemptID]) {
    var through: UInt64 = 0
    if settled.count > limit {
      let counts = settled.values.map(\.count).sorted()
      through = counts[settled.count - limit + limit / 8]
    }
    var newest: ULID?
    var plain: [AttemptID] = []
    for (id, place) in settled where place.count <= through || place.isDue(hour) {
      if place.isPlain { plain.append(id) } else { newest = max(newest ?? id.task, id.task) }
    }
    for id in plain { settled[id] = nil }
    if !plain.isEmpty { dropAliases() }
    return (newest, plain)
  }

  /// Ids up to this one are not known any more.
  func forget(_ newest: ULID) {
    forgotten = max(forgotten ?? newest, newest)
    settled = settled.filter { $0.key.task > newest }
    laterAttempts = laterAttempts.filter { $0.key > newest }
    dropAliases()
  }

  /// A name goes with its newest run.
  private func dropAliases() {
    aliases = aliases.filter { _, task in
      let id = AttemptID(task: task)
      return live[id] != nil || parked[id] != nil || settled[id] != nil
    }
  }

  private func count(_ stage: Attempt.Stage, _ by: Int) {
    switch stage {
    case .waiting: waiting += by
    case .working: working += by
    case .ending, .ended: unsettledEnds += by
    }
  }
}
