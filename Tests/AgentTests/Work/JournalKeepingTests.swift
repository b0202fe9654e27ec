// What a journal keeps when it is written anew, and the bytes that every later version must still read.

import Runner
import Shared
import Testing

@testable import Agent

@Suite struct JournalKeepingTests {
  private let scratch = ScratchFolder()

  /// Rule `nonce`.
  @Test func aCompactedJournalKnowsTheSameAndStillTellsARollback() async throws {
    let path = scratch.path + "/journal"
    let ids = ULIDGenerator()
    let journal = try Journal.open(path).journal
    let settled = (0..<4000).map { _ in AttemptID(task: ids.next()) }
    for id in settled {
      try journal.append([
        .taken(id, entry: [UInt8](repeating: 7, count: 500), number: SendNumber(raw: 40), wallMilliseconds: 1),
        .handedOff(id, records: Array("/r".utf8), runner: ProcessIdentity(pid: 1, startTime: 2, bootID: "b")),
        .ended(id, .init(verdict: Verdict(state: .failed, exitCode: 4), plain: nil)), .acknowledged(id),
      ])
    }
    let open = AttemptID(task: ids.next())
    let tomb = AttemptID(task: ids.next())
    try journal.append([
      .taken(open, entry: [1], number: SendNumber(raw: 41), wallMilliseconds: 1),
      .tombstone(tomb, .expired, number: SendNumber(raw: 42), wallMilliseconds: 1),
    ])
    let position = try await journal.sync()
    let size = journal.size
    let compacted = try Journal.open(path, compactFrom: 1000)
    #expect(compacted.damaged == nil && compacted.torn.bytes == 0)
    #expect(compacted.journal.size < size / 4 * 3)
    #expect(compacted.journal.identity == journal.identity)
    #expect(compacted.contents.settled.count == 4000)
    #expect(compacted.contents.unsettled.keys.sorted() == [open, tomb])
    #expect(compacted.contents.sends == SendNumber(raw: 42))
    for id in [settled[0], settled[3999]] {
      let place = try #require(compacted.contents.settled[id])
      #expect(
        try compacted.journal.record(at: place.count)
          == .ended(id, .init(verdict: Verdict(state: .failed, exitCode: 4), plain: nil)))
    }
    #expect(try !compacted.journal.lacks(position))
    // It goes on, and is read again.
    try compacted.journal.append([.acknowledged(tomb)])
    let later = try await compacted.journal.sync()
    #expect(later.count == position.count + 1)
    let again = try Journal.open(path)
    #expect(again.damaged == nil)
    #expect(again.contents.settled.count == 4001)
    #expect(try again.journal.nonce(at: later.count) == later.nonce)
  }

  @Test func theGoldenBytesAreWhatIsWrittenToday() throws {
    let made = Base64.encode(try GoldenJournal.bytes())
    #expect(made == GoldenJournal.version1)
  }

  @Test func theFirstVersionsJournalIsStillRead() throws {
    let path = scratch.path + "/journal"
    try Files.writeAtomically(try #require(Base64.decode(GoldenJournal.version1)), to: path)
    let opened = try Journal.open(path)
    #expect(opened.torn.bytes == 0 && opened.damaged == nil)
    #expect(opened.journal.identity == Nonce(0x0102_0304_0506_0708))
    let contents = opened.contents
    #expect(contents.bootID == "a-boot")
    #expect(contents.sends == SendNumber(raw: 9))
    #expect(contents.forgotten == ULID("01ARZ3NDEKTSV4RRFFQ69G5FAV"))
    let taken = AttemptID(task: try #require(ULID("01BX5ZZKBKACTAV9WEVGEMMVRY")))
    let entry = try #require(contents.unsettled[taken])
    #expect(entry.entry == Array("M1P000000001xecho".utf8))
    #expect(entry.takenOn == "a-boot")
    #expect(entry.handOff?.records == Array("/records".utf8))
    #expect(entry.handOff?.runner == ProcessIdentity(pid: 12, startTime: 34, bootID: "a-boot"))
    let tomb = AttemptID(task: try #require(ULID("01BX5ZZKBKACTAV9WEVGEMMVRZ")))
    #expect(contents.unsettled[tomb]?.tombstone == .expired)
    let ended = AttemptID(task: try #require(ULID("01BX5ZZKBKACTAV9WEVGEMMVS0")), attempt: 2)
    let place = try #require(contents.settled[ended])
    guard case .ended(_, let ending)? = try opened.journal.record(at: place.count) else {
      Issue.record("its end cannot be read")
      return
    }
    #expect(
      ending.verdict
        == Verdict(state: .failed, exitCode: 3, reason: "output_cap", note: "é", outputBytes: 10, droppedBytes: 2, droppedFrom: 4)
    )
    #expect(ending.plain == PlainTask(name: [0xff], command: [0], takenAt: 9))
  }
}

/// Never to be changed: what version 1 of the format looks like.
enum GoldenJournal {
  static let version1 = [
    "TVVTVEpOTDErAAAAGSmn4gAAAAAAAAAAAAAAAAAAAAAJAggAAAAJAAAAAAAAAAMIAAAAAwAAAAAAAAAeAAAAckbuhwEAAAAAAAAACwAAAAAAAAABAggAAAAI",
    "BwYFBAMCASkAAAArsvV0AgAAAAAAAAAWAAAAAAAAAAICCAAAAAUAAAAAAAAAAwYAAABhLWJvb3RgAAAAXUHsNAMAAAAAAAAAIQAAAAAAAAADARoAAAAwMUJY",
    "NVpaS0JLQUNUQVY5V0VWR0VNTVZSWQIRAAAATTFQMDAwMDAwMDAxeGVjaG8DCAAAAAcAAAAAAAAABAgAAAAFAAAAAAAAAGIAAAAyYJ7sBAAAAAAAAAAsAAAA",
    "AAAAAAUBGgAAADAxQlg1WlpLQktBQ1RBVjlXRVZHRU1NVlJZAggAAAAvcmVjb3JkcwMIAAAADAAAAAAAAAAECAAAACIAAAAAAAAABQYAAABhLWJvb3RWAAAA",
    "zohZ4wUAAAAAAAAANwAAAAAAAAAEARoAAAAwMUJYNVpaS0JLQUNUQVY5V0VWR0VNTVZSWgIHAAAAZXhwaXJlZAMIAAAACQAAAAAAAAAECAAAAAMAAAAAAAAA",
    "agEAADY0+3cGAAAAAAAAAEIAAAAAAAAABgEcAAAAMDFCWDVaWktCS0FDVEFWOVdFVkdFTU1WUzAuMgIzAQAAeyJ2ZXJkaWN0Ijp7InN0YXRlIjoiZmFpbGVk",
    "IiwiZXhpdENvZGUiOjMsInNpZ25hbCI6bnVsbCwicmVhc29uIjoib3V0cHV0X2NhcCIsIm5vdGUiOiLDqSIsInN0YXJ0ZWRBdCI6bnVsbCwiZmluaXNoZWRB",
    "dCI6bnVsbCwib3V0cHV0Qnl0ZXMiOjEwLCJkcm9wcGVkQnl0ZXMiOjIsImRyb3BwZWRGcm9tIjo0LCJzdGRvdXRTaGEyNTYiOm51bGwsInN0ZGVyclNoYTI1",
    "NiI6bnVsbCwic2lnbmFsbGVkIjowLCJsZWZ0IjowfSwicGxhaW4iOnsibmFtZSI6Ii93PT0iLCJjb21tYW5kIjoiQUE9PSIsInRha2VuQXQiOjl9LCJ1bnRh",
    "a2VuIjpudWxsfTIAAAD4lg3zBwAAAAAAAABNAAAAAAAAAAcBHAAAADAxQlg1WlpLQktBQ1RBVjlXRVZHRU1NVlMwLjIwAAAAlamXvAgAAAAAAAAAWAAAAAAA",
    "AAAIAhoAAAAwMUFSWjNOREVLVFNWNFJSRkZRNjlHNUZBVg==",
  ].joined()

  /// How it was made.
  static func records() -> [JournalRecord] {
    guard let forgotten = ULID("01ARZ3NDEKTSV4RRFFQ69G5FAV"), let a = ULID("01BX5ZZKBKACTAV9WEVGEMMVRY"),
      let b = ULID("01BX5ZZKBKACTAV9WEVGEMMVRZ"), let c = ULID("01BX5ZZKBKACTAV9WEVGEMMVS0")
    else { return [] }
    let verdict = Verdict(
      state: .failed, exitCode: 3, reason: "output_cap", note: "é", outputBytes: 10, droppedBytes: 2, droppedFrom: 4)
    let third = AttemptID(task: c, attempt: 2)
    return [
      .compacted(through: 9, sends: SendNumber(raw: 3)), .identity(Nonce(0x0102_0304_0506_0708)),
      .opened(Nonce(5), bootID: "a-boot"),
      .taken(AttemptID(task: a), entry: Array("M1P000000001xecho".utf8), number: SendNumber(raw: 7), wallMilliseconds: 5),
      .handedOff(
        AttemptID(task: a), records: Array("/records".utf8), runner: ProcessIdentity(pid: 12, startTime: 34, bootID: "a-boot")),
      .tombstone(AttemptID(task: b), .expired, number: SendNumber(raw: 9), wallMilliseconds: 3),
      .ended(third, .init(verdict: verdict, plain: PlainTask(name: [0xff], command: [0], takenAt: 9), untaken: nil)),
      .acknowledged(third), .forgotten(forgotten),
    ]
  }

  static func bytes() throws -> [UInt8] {
    var bytes = JournalRecord.magic
    for (index, record) in records().enumerated() {
      JournalScanner.frame(try record.payload(count: UInt64(index), nonce: Nonce(UInt64(index) * 11)), into: &bytes)
    }
    return bytes
  }
}
