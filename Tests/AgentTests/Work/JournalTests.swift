// The journal's file: what it keeps, what a torn or damaged one becomes, how a rollback is told.

import Runner
import Shared
import Testing

@testable import Agent

@Suite struct JournalTests {
  private let scratch = ScratchFolder()
  private func temporary() throws -> String {
    let path = "\(scratch.path)/\(UInt64.random(in: 0 ... .max))"
    try Files.makeFolder(path)
    return path + "/journal"
  }

  private let ids = ULIDGenerator()
  private func taken(_ id: AttemptID) -> JournalRecord {
    .taken(id, entry: [1, 2, 3], number: SendNumber(raw: 7), wallMilliseconds: 5)
  }
  private func ended(_ id: AttemptID, _ state: RunState = .succeeded) -> JournalRecord {
    .ended(id, .init(verdict: Verdict(state: state), plain: nil))
  }

  @Test func everyRecordIsReadAsItWasWritten() throws {
    let path = try temporary()
    let id = AttemptID(task: ids.next())
    let later = AttemptID(task: ids.next(), attempt: 3)
    let plain = PlainTask(name: [0xff, 0], command: [10, 13], takenAt: 9)
    let records: [JournalRecord] = [
      .opened(Nonce(5), bootID: "boot"), taken(id), .tombstone(later, .expired, number: SendNumber(raw: 9), wallMilliseconds: 3),
      .handedOff(id, records: [47, 0xfe], runner: ProcessIdentity(pid: 12, startTime: 34, bootID: "boot")),
      .ended(id, .init(verdict: Verdict(state: .failed, exitCode: 3, note: "é"), plain: plain, untaken: true)), .acknowledged(id),
      .forgotten(later.task),
    ]
    let opened = try Journal.open(path)
    let placed = try opened.journal.append(records)
    for (record, place) in zip(records, placed) { #expect(try opened.journal.record(at: place.count) == record) }
    let again = try Journal.open(path)
    #expect(again.torn.bytes == 0 && again.damaged == nil)
    #expect(again.contents.journal == opened.journal.identity)
    #expect(again.contents.sends == SendNumber(raw: 9))
    #expect(again.contents.forgotten == later.task)
    #expect(again.contents.unsettled.keys.sorted() == [later])
  }

  /// Rule `first`.
  @Test func theFirstRecordDecides() throws {
    let path = try temporary()
    let first = AttemptID(task: ids.next())
    let second = AttemptID(task: ids.next())
    try Journal.open(path).journal.append([
      .tombstone(first, .cancelled, number: .zero, wallMilliseconds: 1), taken(first), taken(second),
      .tombstone(second, .cancelled, number: .zero, wallMilliseconds: 1),
    ])
    let contents = try Journal.open(path).contents
    #expect(contents.unsettled[first]?.tombstone == .cancelled)
    #expect(contents.unsettled[first]?.entry == nil)
    #expect(contents.unsettled[second]?.entry == [1, 2, 3])
    #expect(contents.unsettled[second]?.tombstone == nil)
  }

  @Test func aTornTailIsCutOffAtEveryByteAndTheJournalGoesOn() throws {
    let path = try temporary()
    let opened = try Journal.open(path)
    let one = AttemptID(task: ids.next())
    let two = AttemptID(task: ids.next())
    try opened.journal.append([taken(one)])
    let whole = try Files.read(path)
    try opened.journal.append([taken(two)])
    let longer = try Files.read(path)
    for length in whole.count..<longer.count {
      try Files.writeAtomically(Array(longer[..<length]), to: path)
      let cut = try Journal.open(path)
      #expect(cut.torn.bytes == UInt64(length - whole.count))
      #expect(cut.damaged == nil)
      #expect(cut.contents.unsettled.keys.sorted() == [one])
      try cut.journal.append([taken(two)])
      #expect(try Journal.open(path).contents.unsettled.count == 2)
    }
  }

  @Test func aDamagedMiddleIsSetAsideAndTheIdentityIsNew() throws {
    let path = try temporary()
    let opened = try Journal.open(path)
    let attempts = (0..<5).map { _ in AttemptID(task: ids.next()) }
    let placed = try opened.journal.append(attempts.map(taken))
    var bytes = try Files.read(path)
    bytes[Int(placed[2].offset) + 12] ^= 0x40
    try Files.writeAtomically(bytes, to: path)
    let again = try Journal.open(path)
    let aside = try #require(again.damaged)
    #expect(try Files.read(aside) == bytes)
    #expect(again.journal.identity != opened.journal.identity)
    #expect(again.contents.unsettled.count == 4)
  }

  /// Rules `nonce`, `posSync`.
  @Test func aJournalThatWentOnHasTheRecordAndOneThatWasPutBackLacksIt() async throws {
    let path = try temporary()
    let opened = try Journal.open(path)
    try opened.journal.append((0..<600).map { _ in taken(AttemptID(task: ids.next())) })
    let copy = try Files.read(path, limit: 1 << 24)
    try opened.journal.append([taken(AttemptID(task: ids.next()))])
    let stored = try await opened.journal.sync()
    #expect(try !opened.journal.lacks(stored))
    try opened.journal.append([taken(AttemptID(task: ids.next()))])
    #expect(try !opened.journal.lacks(stored))
    let reopened = try Journal.open(path).journal
    #expect(try !reopened.lacks(stored))
    try Files.writeAtomically(copy, to: path)
    let old = try Journal.open(path).journal
    #expect(try old.lacks(stored))
    // It goes on with the same count: the nonce differs.
    try old.append([taken(AttemptID(task: ids.next()))])
    #expect(try old.lacks(stored))
  }

  /// Rule `endSync`.
  @Test func manyWaitersShareSyncs() async throws {
    let journal = try Journal.open(try temporary()).journal
    let ids = self.ids
    try await withThrowingTaskGroup(of: UInt64.self) { group in
      for _ in 0..<200 {
        group.addTask {
          let place = try journal.append([.taken(AttemptID(task: ids.next()), entry: [], number: .zero, wallMilliseconds: 0)])
          let position = try await journal.sync()
          #expect(position.count >= place[0].count)
          return position.count
        }
      }
      for try await _ in group {}
    }
    #expect(journal.synced.count == 201)
  }

  @Test func acknowledgedAttemptsAreKeptAsPlacesOnly() throws {
    let path = try temporary()
    let id = AttemptID(task: ids.next())
    try Journal.open(path).journal.append([taken(id), ended(id), .acknowledged(id)])
    let again = try Journal.open(path)
    #expect(again.contents.unsettled.isEmpty)
    let place = try #require(again.contents.settled[id])
    #expect(try again.journal.record(at: place.count) == ended(id))
  }

  /// Written it could not be read back: at the next start all behind it would be damage.
  @Test func aRecordThatIsTooLongIsRefusedAndTheLongestThatIsTakenIsReadBack() throws {
    let path = try temporary()
    let journal = try Journal.open(path).journal
    let (long, short) = (AttemptID(task: ids.next()), AttemptID(task: ids.next()))
    func taken(_ size: Int) -> JournalRecord {
      .taken(long, entry: [UInt8](repeating: 7, count: size), number: .zero, wallMilliseconds: 0)
    }
    let size = journal.size
    #expect(throws: AgentWorkError.self) { try journal.append([self.taken(short), taken(JournalRecord.maximumPayload)]) }
    #expect(journal.size == size && journal.fault == nil)
    let placed = try journal.append([taken(JournalRecord.longestEntry), self.taken(short)])
    let again = try Journal.open(path, compactFrom: .max)
    #expect(again.damaged == nil && again.torn.bytes == 0)
    #expect(again.contents.unsettled.keys.sorted() == [long, short])
    #expect(try again.journal.record(at: placed[1].count) == self.taken(short))
  }

  @Test func somethingElseIsNoJournal() throws {
    let path = try temporary()
    try Files.writeAtomically(Array("#!/bin/sh\necho important\n".utf8), to: path)
    #expect(throws: AgentWorkError.self) { try Journal.open(path) }
    #expect(try Files.read(path) == Array("#!/bin/sh\necho important\n".utf8))
  }
}
