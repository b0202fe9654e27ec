// Writes a journal anew without what nobody needs any more: of an attempt that is settled only its last word and the acknowledgement
// stay. Records keep their count and nonce, and the newest ones all stay, so that a rollback can still be told (rule `nonce`). Happens
// when a long journal is opened, before anything else is done with it; a crash on the way leaves the old file.

import Glibc
import Shared

enum JournalCompaction {
  /// The newest records, which Redis may hold the position of, all stay.
  static let untouched: UInt64 = 8192

  /// - Returns: whether the file was replaced; not where that would save too little.
  static func run(_ path: String, _ descriptor: Int32, _ opened: Journal.Opened) throws(AgentWorkError) -> Bool {
    let contents = opened.contents
    let last = opened.journal.synced.count
    var kept = JournalRecord.magic
    do {
      let head = JournalRecord.compacted(through: last, sends: contents.sends)
      JournalScanner.frame(try head.payload(count: 0, nonce: Nonce(0)), into: &kept)
    } catch {
      throw .journal("\(error)")
    }
    var reader = JournalFileReader(descriptor: descriptor, offset: UInt64(JournalRecord.magic.count))
    reading: while true {
      switch try reader.next(path) {
      case .record(let placed):
        if placed.count + untouched > last || stays(placed, contents) { kept.append(contentsOf: reader.frame) }
      case .damage: return false
      case .end: break reading
      }
    }
    guard UInt64(kept.count) < opened.journal.size / 4 * 3 else { return false }
    do throws(FileError) {
      try Files.writeAtomically(kept, to: path)
    } catch {
      throw .journal("\(error)")
    }
    return true
  }

  private static func stays(_ placed: PlacedRecord, _ contents: JournalContents) -> Bool {
    // What a newer agent wrote.
    guard let record = placed.record else { return true }
    if case .compacted = record { return false }
    guard let id = record.attempt else { return true }
    if contents.unsettled[id] != nil { return true }
    switch record {
    case .ended, .tombstone: return contents.settled[id] == placed.offset
    case .acknowledged: return contents.settled[id] != nil
    default: return false
    }
  }
}
