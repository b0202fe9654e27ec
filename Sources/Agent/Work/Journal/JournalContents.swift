// What a journal says, once all of its records were read in order: the state with which the work begins. Pure.

import Runner
import Shared

struct JournalContents: Sendable {
  /// An attempt that is open, or whose end is not acknowledged.
  struct Entry: Sendable {
    var entry: [UInt8]?
    var takenAt: Int64 = 0
    /// Taken on this boot of the host and under this identity; nil: never taken.
    var takenOn: String?
    var takenUnder: JournalID?
    var tombstone: EndCause?
    var handOff: HandOff?
    var ending: JournalRecord.Ending?
    /// Of the end or the tombstone.
    var lastWord: UInt64?
  }

  struct HandOff: Sendable, Equatable {
    var records: [UInt8]
    var runner: ProcessIdentity
    /// Where in the records its own begin is, or would be; 0: not known.
    var start: UInt64 = 0
  }

  /// Its end waits for a dashboard, and is kept in the journal alone.
  struct Parked: Sendable, Equatable {
    /// Of its end.
    var count: UInt64
    var records: [UInt8]
    var start: UInt64
  }

  /// Where the last word on an attempt stands that nobody waits for any more, and when that became so.
  struct Settled: Sendable, Equatable {
    var count: UInt64
    var hour: UInt32
    /// The agent made its id itself: nobody else will ever send it.
    var isPlain = false
  }

  /// For so many hours of its agents' lives a journal remembers what is settled.
  static let remembered: UInt32 = 30 * 24

  private(set) var settled: [AttemptID: Settled] = [:]
  private(set) var unsettled: [AttemptID: Entry] = [:]
  private(set) var parked: [AttemptID: Parked] = [:]
  private(set) var journal: JournalID?
  private(set) var bootID: String?
  private(set) var forgotten: ULID?
  private(set) var hour: UInt32 = 0
  /// The highest send number read.
  private(set) var sends = SendNumber.zero
  /// Newest run of each plain task, by its name.
  private(set) var aliases: [[UInt8]: ULID] = [:]
  private(set) var newestPlain = ULID.min
  /// Counts up to this one have gaps.
  private(set) var compactedThrough: UInt64 = 0
  private var plainParked: Set<AttemptID> = []
  /// Each path once.
  private var paths: Set<[UInt8]> = []

  mutating func apply(_ placed: PlacedRecord) {
    guard let record = placed.record else { return }
    switch record {
    case .identity(let id): journal = id
    case .opened(_, let bootID): self.bootID = bootID
    case .taken(let id, let entry, let number, let wall):
      sends = max(sends, number)
      guard !knows(id) else { return }
      unsettled[id] = Entry(entry: entry, takenAt: wall, takenOn: bootID ?? "", takenUnder: journal)
      if case .plain(let name, _)? = try? InboxEntry(bytes: entry) {
        learn(PlainTask(name: name, command: [], takenAt: wall), id.task)
      }
    case .tombstone(let id, let cause, let number, _):
      sends = max(sends, number)
      // Once more, because the first could not be synced: the same word, now in this place.
      if unsettled[id]?.tombstone == cause, unsettled[id]?.entry == nil { unsettled[id]?.lastWord = placed.count }
      guard !knows(id) else { return }
      unsettled[id] = Entry(tombstone: cause, lastWord: placed.count)
    case .handedOff(let id, let records, let runner, let start):
      unsettled[id]?.handOff = HandOff(records: records, runner: runner, start: start)
    case .ended(let id, let ending):
      guard settled[id] == nil, parked[id] == nil else { return }
      if let known = unsettled[id]?.ending {
        if known == ending { unsettled[id]?.lastWord = placed.count }
        return
      }
      unsettled[id, default: Entry()].ending = ending
      unsettled[id]?.lastWord = placed.count
      if let plain = ending.plain { learn(plain, id.task) }
    case .parked(let id, let records, let start):
      guard let entry = unsettled[id], entry.ending != nil, let count = entry.lastWord else { return }
      unsettled[id] = nil
      parked[id] = Parked(count: count, records: paths.insert(records).memberAfterInsert, start: start)
      if entry.ending?.plain != nil { plainParked.insert(id) }
    case .acknowledged(let id):
      if let parked = parked.removeValue(forKey: id) {
        settled[id] = Settled(count: parked.count, hour: hour, isPlain: plainParked.remove(id) != nil)
        return
      }
      guard let entry = unsettled[id], let count = entry.lastWord else { return }
      unsettled[id] = nil
      settled[id] = Settled(count: count, hour: hour, isPlain: entry.ending?.plain != nil)
    case .compacted(let through, let sends):
      compactedThrough = through
      self.sends = max(self.sends, sends)
    case .forgotten(let id):
      forgotten = max(forgotten ?? id, id)
      settled = settled.filter { $0.key.task > id }
    case .hour(let hour): self.hour = max(self.hour, hour)
    }
  }

  private func knows(_ id: AttemptID) -> Bool { unsettled[id] != nil || settled[id] != nil || parked[id] != nil }

  /// What its time is up for. Of ids that others made the newest is remembered by whoever drops them; of plain ones nothing is.
  mutating func dropDue() {
    let hour = hour
    settled = settled.filter { !($0.value.isPlain && $0.value.isDue(hour)) }
  }

  private mutating func learn(_ plain: PlainTask, _ task: ULID) {
    newestPlain = max(newestPlain, task)
    if let alias = plain.alias, task >= aliases[alias] ?? .min { aliases[alias] = task }
  }
}

extension JournalContents.Settled {
  func isDue(_ now: UInt32) -> Bool { now >= JournalContents.remembered && hour <= now - JournalContents.remembered }
}
