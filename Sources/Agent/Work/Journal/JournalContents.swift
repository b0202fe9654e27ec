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
  }

  struct HandOff: Sendable, Equatable {
    var records: [UInt8]
    var runner: ProcessIdentity
  }

  /// Where the last word on an attempt stands that the dashboard has acknowledged.
  private(set) var settled: [AttemptID: UInt64] = [:]
  private(set) var unsettled: [AttemptID: Entry] = [:]
  /// Offsets of the ends and tombstones of what is unsettled.
  private var lastWords: [AttemptID: UInt64] = [:]
  private(set) var journal: JournalID?
  private(set) var bootID: String?
  private(set) var forgotten: ULID?
  /// The highest send number read.
  private(set) var sends = SendNumber.zero
  /// Newest run of each plain task, by its name.
  private(set) var aliases: [[UInt8]: ULID] = [:]
  private(set) var newestPlain = ULID.min
  /// Counts up to this one have gaps.
  private(set) var compactedThrough: UInt64 = 0

  mutating func apply(_ placed: PlacedRecord) {
    guard let record = placed.record else { return }
    switch record {
    case .identity(let id): journal = id
    case .opened(_, let bootID): self.bootID = bootID
    case .taken(let id, let entry, let number, let wall):
      sends = max(sends, number)
      guard unsettled[id] == nil, settled[id] == nil else { return }
      unsettled[id] = Entry(entry: entry, takenAt: wall, takenOn: bootID ?? "", takenUnder: journal)
      if case .plain(let name, _)? = try? InboxEntry(bytes: entry) { learn(name, id.task) }
    case .tombstone(let id, let cause, let number, _):
      sends = max(sends, number)
      guard unsettled[id] == nil, settled[id] == nil else { return }
      unsettled[id] = Entry(tombstone: cause)
      lastWords[id] = placed.offset
    case .handedOff(let id, let records, let runner): unsettled[id]?.handOff = HandOff(records: records, runner: runner)
    case .ended(let id, let ending):
      guard settled[id] == nil, unsettled[id]?.ending == nil else { return }
      unsettled[id, default: Entry()].ending = ending
      lastWords[id] = placed.offset
      if let plain = ending.plain { learn(plain.name.bytes, id.task) }
    case .acknowledged(let id):
      guard let offset = lastWords.removeValue(forKey: id) else { return }
      unsettled[id] = nil
      settled[id] = offset
    case .compacted(let through, let sends):
      compactedThrough = through
      self.sends = max(self.sends, sends)
    case .forgotten(let id):
      forgotten = max(forgotten ?? id, id)
      settled = settled.filter { $0.key.task > id }
    }
  }

  /// Where the end or the tombstone of an unsettled attempt stands.
  func lastWord(of id: AttemptID) -> UInt64? { lastWords[id] }

  private mutating func learn(_ name: [UInt8], _ task: ULID) {
    newestPlain = max(newestPlain, task)
    if task >= aliases[name] ?? .min { aliases[name] = task }
  }
}
