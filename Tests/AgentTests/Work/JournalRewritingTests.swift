// A journal that is written anew: because it has grown, or because a sync has failed; and what a full disk does to it.

import Glibc
import Runner
import Shared
import Synchronization
import Testing

@testable import Agent

@Suite(.serialized) struct JournalRewritingTests {
  private let scratch = ScratchFolder(inMemory: true)
  private let ids = ULIDGenerator()

  /// All of one settled run.
  private func life(_ id: AttemptID) -> [JournalRecord] {
    [
      .taken(id, entry: [UInt8](repeating: 7, count: 2000), number: SendNumber(raw: 40), wallMilliseconds: 1),
      .handedOff(id, records: Array("/r".utf8), runner: ProcessIdentity(pid: 1, startTime: 2, bootID: "b"), start: 9),
      ended(id), .acknowledged(id),
    ]
  }
  /// Other tests have deadlines: every hundred of them they get a turn.
  private func append(_ lives: [AttemptID], to journal: Journal) async throws {
    for (number, id) in lives.enumerated() {
      try journal.append(life(id))
      if number % 100 == 0 { await Task.yield() }
    }
  }
  private func ended(_ id: AttemptID) -> JournalRecord {
    .ended(id, .init(verdict: Verdict(state: .failed, exitCode: 4), plain: nil))
  }
  private func taken(_ id: AttemptID) -> JournalRecord { .taken(id, entry: [1], number: .zero, wallMilliseconds: 1) }
  private func fresh() -> AttemptID { AttemptID(task: ids.next()) }

  @Test func aGrowingJournalIsWrittenAnewBesideItsUseAndForgetsNothingOfConcern() async throws {
    let path = scratch.path + "/journal"
    let journal = try Journal.open(path, compactFrom: 1 << 20).journal
    var settled: [AttemptID] = []
    var open: [AttemptID] = []
    for round in 0..<4000 {
      let id = fresh()
      try journal.append(life(id))
      settled.append(id)
      if round % 100 == 0 { await Task.yield() }
      if round % 500 == 0 {
        open.append(fresh())
        try journal.append([taken(open[open.count - 1])])
        _ = try await journal.sync()
        // Here faster than any agent: it may catch up.
        journal.rewriting.sync {}
      }
    }
    let position = try await journal.sync()
    let written = UInt64(4000 * 2500)
    journal.rewriting.sync {}
    // It was written anew meanwhile; how often depends on how the appends and the rewriting meet.
    #expect(journal.size < written / 4 * 3, "\(journal.size)")
    try journal.compact()
    #expect(journal.size < written / 3, "\(journal.size)")
    #expect(try !journal.lacks(position))
    let again = try Journal.open(path, compactFrom: .max)
    #expect(again.damaged == nil && again.torn.bytes == 0)
    #expect(again.contents.settled.count == settled.count)
    #expect(again.contents.unsettled.keys.sorted() == open)
    #expect(again.journal.identity == journal.identity)
    for id in [settled[0], settled[2000], settled[3999]] {
      let place = try #require(again.contents.settled[id])
      #expect(try again.journal.record(at: place.count) == ended(id))
      #expect(try journal.record(at: place.count) == ended(id), "counts stay")
    }
    #expect(try !again.journal.lacks(position))
    // One that Redis fell back to, long dropped: it is its own all the same; one from a journal that was put back is not.
    #expect(try !journal.lacks(JournalPosition(journal: journal.identity, count: 3, nonce: Nonce(1))))
    #expect(try journal.lacks(JournalPosition(journal: journal.identity, count: position.count + 1, nonce: Nonce(1))))
    #expect(try journal.lacks(JournalPosition(journal: journal.identity, count: position.count - 5, nonce: Nonce(1))))
  }

  @Test func whereverARewriteIsKilledTheJournalIsThereWhole() async throws {
    let folder = scratch.path + "/live"
    try Files.makeFolder(folder)
    let path = folder + "/journal"
    let journal = try Journal.open(path).journal
    let settled = (0..<1500).map { _ in fresh() }
    try await append(settled, to: journal)
    let open = fresh()
    try journal.append([taken(open)])
    let position = try journal.syncNow()
    let unsynced = fresh()
    try journal.append([taken(unsynced)])
    var shots: [(step: JournalRewritingStep, folder: String)] = []
    func shoot(_ step: JournalRewritingStep) throws {
      let copy = scratch.path + "/\(step)"
      try Files.makeFolder(copy)
      for name in ["journal", "journal.new"] where Files.exists("\(folder)/\(name)") {
        try Files.writeAtomically(try Files.read("\(folder)/\(name)", limit: 1 << 26), to: "\(copy)/\(name)")
      }
      shots.append((step, copy))
    }
    var fault: (any Error)?
    let isCompacted = try journal.compact { step in do { try shoot(step) } catch { fault = error } }
    #expect(isCompacted && fault == nil)
    #expect(shots.map(\.step) == JournalRewritingStep.allCases)
    for shot in shots {
      let path = shot.folder + "/journal"
      // Killed while the new file was written: at any length of it.
      var lengths = [UInt64.max]
      if Files.exists(path + ".new") { lengths = [0, 5, 100, 40_000, .max] }
      let new = try? Files.read(path + ".new", limit: 1 << 26)
      for length in lengths {
        if let new { try Files.writeAtomically(Array(new.prefix(Int(clamping: length))), to: path + ".new") }
        let opened = try Journal.open(path, compactFrom: .max)
        #expect(opened.damaged == nil && opened.torn.bytes == 0, "\(shot.step)")
        #expect(opened.journal.identity == journal.identity)
        #expect(opened.contents.settled.count == settled.count)
        #expect(opened.contents.unsettled.keys.sorted() == [open, unsynced])
        #expect(try !opened.journal.lacks(position))
        #expect(!Files.exists(path + ".new"))
        let place = try #require(opened.contents.settled[settled[0]])
        #expect(try opened.journal.record(at: place.count) == ended(settled[0]))
      }
    }
    // It goes on.
    try journal.append([taken(fresh())])
    let later = try journal.syncNow()
    #expect(later.count == position.count + 2)
    #expect(try Journal.open(path).contents.unsettled.count == 3)
  }

  @Test func afterAFailedSyncNothingIsTakenUntilTheFileIsWrittenAnewAndItsEndIsFromMemory() async throws {
    let path = scratch.path + "/journal"
    let journal = try Journal.open(path).journal
    let durable = fresh()
    try journal.append(life(durable))
    let position = try journal.syncNow()
    let size = journal.size
    let late = fresh()
    try journal.append([taken(late)])
    // From here on every sync of this descriptor fails, and what the kernel had of the end is gone.
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    let descriptor = journal.state.withLock { $0.file.descriptor }
    let kept = dup(descriptor)
    #expect(dup2(ends[1], descriptor) == descriptor)
    #expect(pwrite(kept, [UInt8](repeating: 0, count: 200), 200, off_t(size)) == 200)
    close(ends[0])
    close(ends[1])
    close(kept)
    await #expect(throws: AgentWorkError.self) { try await journal.sync() }
    #expect(throws: AgentWorkError.self) { try journal.append([taken(fresh())]) }
    #expect(journal.fault != nil)
    #expect(journal.synced == position)
    try await journal.recovered()
    #expect(journal.fault == nil)
    #expect(journal.synced.count > position.count)
    let next = fresh()
    try journal.append([taken(next)])
    let last = try await journal.sync()
    let again = try Journal.open(path)
    #expect(again.damaged == nil && again.torn.bytes == 0)
    #expect(again.contents.unsettled.keys.sorted() == [late, next])
    #expect(again.contents.settled[durable] != nil)
    #expect(try !again.journal.lacks(position) && !again.journal.lacks(last))
  }

  @Test func aRecordThatIsWrittenTwiceAfterAFailureIsOne() throws {
    let path = scratch.path + "/journal"
    let id = fresh()
    let tomb = fresh()
    let journal = try Journal.open(path).journal
    let tombstone = JournalRecord.tombstone(tomb, .cancelled, number: .zero, wallMilliseconds: 1)
    try journal.append([taken(id), tombstone, ended(id)])
    let second = try journal.append([taken(id), tombstone, ended(id)])
    try journal.append([.acknowledged(id), .acknowledged(tomb)])
    let contents = try Journal.open(path).contents
    #expect(contents.settled[tomb]?.count == second[1].count)
    #expect(contents.settled[id]?.count == second[2].count)
    #expect(contents.unsettled.isEmpty)
  }

  /// Rule `endSync`.
  @Test(.enabled(if: SmallDisk.isPossible, SmallDisk.why))
  func onAFullDiskNothingIsTakenButEndsAreJournaled() async throws {
    let disk = try SmallDisk(kibibytes: 4096)
    let path = disk.path + "/journal"
    let journal = try Journal.open(path).journal
    let running = (0..<200).map { _ in fresh() }
    for id in running { try journal.append(Array(life(id).prefix(2))) }
    try journal.syncNow()
    try disk.fill()
    var taken = 0
    while taken < 100_000, (try? journal.append([self.taken(fresh())])) != nil { taken += 1 }
    #expect(taken < 100_000, "the disk is not full")
    #expect(journal.fault == nil)
    for id in running { try journal.append([ended(id)]) }
    let position = try await journal.sync()
    await #expect(throws: AgentWorkError.self) { try await journal.recovered() }
    disk.makeRoom()
    try await journal.recovered()
    try journal.append([self.taken(fresh())])
    try await _ = journal.sync()
    let again = try Journal.open(path)
    #expect(again.damaged == nil && again.torn.bytes == 0)
    #expect(running.allSatisfy { again.contents.unsettled[$0]?.ending != nil })
    #expect(try !again.journal.lacks(position))
  }

  @Test(.enabled(if: SmallDisk.isPossible, SmallDisk.why))
  func aDiskThatFillsUpInTheMiddleOfARewriteLeavesTheOldJournalInUse() async throws {
    let disk = try SmallDisk(kibibytes: 8192)
    let path = disk.path + "/journal"
    let journal = try Journal.open(path).journal
    let all = (0..<1500).map { _ in fresh() }
    try await append(all, to: journal)
    let position = try journal.syncNow()
    for room in [0, 64, 512, 1024] {
      try disk.fill(leaving: room)
      #expect(throws: AgentWorkError.self) { try journal.compact() }
      #expect(journal.fault == nil)
      #expect(!Files.exists(path + ".new"))
      disk.makeRoom()
      try journal.append([ended(fresh())])
    }
    let size = journal.size
    #expect(try journal.compact())
    #expect(journal.size < size / 4 * 3)
    let again = try Journal.open(path)
    #expect(again.damaged == nil && again.contents.settled.count == 1500 && again.contents.unsettled.count == 4)
    #expect(try !again.journal.lacks(position))
  }

  /// Rule `horizon`.
  @Test func whatIsSettledIsForgottenAfterThirtyDaysOfUseWhateverTheClockOfAnIdSays() async throws {
    let path = scratch.path + "/journal"
    let journal = try Journal.open(path).journal
    // A dashboard whose clock was set to the year 2200 for a while, and a plain task of a host that lives in 2300.
    let future = AttemptID(task: try #require(ULID("078GZVRA00KACTAV9WEVGEMMVR")))
    let plain = AttemptID(task: try #require(ULID("09GT6FP400KACTAV9WEVGEMMVR")))
    let ancient = AttemptID(task: try #require(ULID("00000000000000000000000001")))
    let ending = JournalRecord.Ending(verdict: Verdict(state: .succeeded), plain: PlainTask(name: [65], command: [], takenAt: 0))
    try journal.append(life(ancient) + [.ended(plain, ending), .acknowledged(plain), .hour(5)])
    try journal.append(life(future) + [.hour(719)])
    let young = Attempts(try Journal.open(path).contents)
    #expect(young.nextToForget(hour: 719).newest == nil)
    #expect(young.settled.count == 3)
    #expect(young.aliases == [[65]: plain.task])
    let due = young.nextToForget(hour: 720)
    #expect(due.newest == ancient.task && due.plain == [plain], "a plain task's id raises nothing")
    #expect(young.settled[plain] == nil)
    #expect(young.aliases.isEmpty, "a name goes with its newest run")
    young.forget(ancient.task)
    #expect(young.knowledge(of: future).record == .ended)
    #expect(young.nextToForget(hour: 724).newest == nil)
    #expect(young.nextToForget(hour: 725).newest == future.task)
    // And after a compaction: hours stay with what they date.
    try await append((0..<1500).map { _ in fresh() }, to: journal)
    #expect(try journal.compact())
    let contents = try Journal.open(path).contents
    #expect(contents.hour == 719)
    #expect(contents.settled[future]?.hour == 5 && contents.settled[ancient]?.hour == 0)
    #expect(contents.settled[plain]?.isPlain == true)
  }

  /// After each failure one record of hour 0 is written, to try whether any is taken.
  @Test func whatIsSettledAfterAFailureIsStillOfItsHourOnceTheJournalIsWrittenAnew() async throws {
    let path = scratch.path + "/journal"
    let journal = try Journal.open(path).journal
    let (before, after) = (fresh(), fresh())
    try journal.append([.hour(700)] + life(before) + [.hour(710)])
    try journal.recover()
    try journal.append(life(after))
    try await append((0..<1500).map { _ in fresh() }, to: journal)
    #expect(try journal.compact())
    let contents = try Journal.open(path).contents
    #expect(contents.settled[before]?.hour == 700 && contents.settled[after]?.hour == 710)
    #expect(contents.hour == 710)
  }

  @Test func tooManySettledRunsAreForgottenOldestFirst() async throws {
    let journal = try Journal.open(scratch.path + "/journal").journal
    let all = (0..<1000).map { _ in fresh() }
    try await append(all, to: journal)
    let attempts = Attempts(try Journal.open(scratch.path + "/journal").contents)
    #expect(attempts.nextToForget(hour: 0, limit: 1000).newest == nil)
    let newest = try #require(attempts.nextToForget(hour: 0, limit: 800).newest)
    #expect(newest == all[300].task)
    attempts.forget(newest)
    #expect(attempts.settled.count == 699)
  }

  @Test func aParkedEndIsFoundAgainAlsoAfterACompaction() async throws {
    let path = scratch.path + "/journal"
    let journal = try Journal.open(path).journal
    let parked = fresh()
    try journal.append(Array(life(parked).prefix(3)) + [.parked(parked, records: Array("/r".utf8), start: 77)])
    try await append((0..<1500).map { _ in fresh() }, to: journal)
    #expect(try journal.compact())
    let opened = try Journal.open(path)
    let place = try #require(opened.contents.parked[parked])
    #expect(place.records == Array("/r".utf8) && place.start == 77)
    #expect(opened.contents.unsettled.isEmpty)
    #expect(try opened.journal.record(at: place.count) == ended(parked))
    try opened.journal.append([.acknowledged(parked)])
    #expect(try Journal.open(path).contents.settled[parked]?.count == place.count)
  }
}
