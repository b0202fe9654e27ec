// A disk that takes no sync, or does not say what is there. What the journal was given may become durable later on, so it counts from the moment
// of its writing (rule `first`); and what nobody can look at is not judged.

import Glibc
import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Agent

@Suite struct FailingDiskTests {
  /// Rule `first`: the cancel would else be answered by a tombstone behind the record of its taking, and the next process would find it taken
  /// and start it.
  @Test func aRunWhoseTakingCouldNotBeSyncedIsKnownAndOnceItIsCancelledNoLaterAgentStartsIt() async throws {
    let all = try await WorkInside(["task": ["concurrency": 1]])
    let (dashboard, marker, gate) = (all.dashboard, all.marker("ran"), all.marker("gate"))
    try await all.work { worker in
      let journal = await worker.journal
      let first = try await dashboard.send("while [ ! -e \(gate) ]; do sleep 0.02; done")
      try await dashboard.untilSaid(.running, first)
      let envelope = try await dashboard.envelope(TaskSpec(taskname: "echo x > \(marker)"))
      let count = journal.count
      try journal.failSyncs()
      try await dashboard.send([envelope])
      try await eventually("it is written down") { journal.count > count }
      // The dashboard asks before the agent has it a second time from the inbox.
      _ = try await dashboard.connection.send(RedisCommand("DEL", Keys.inbox(dashboard.agent)))
      try await eventually("it is cancelled") {
        try await dashboard.control(.cancel, [envelope.id], cause: .cancelled)
        try await Task.sleep(for: .milliseconds(100))
        try await dashboard.collect()
        return await dashboard.verdict(envelope.id) != nil
      }
      #expect(await dashboard.verdict(envelope.id)?.state == .cancelled)
      #expect(await dashboard.said(envelope.id).last?.tombstone != true, "it was taken")
      try Files.writeAtomically([], to: gate)
      try await dashboard.untilEnded(first)
    }
    try await all.work { _ in
      try await dashboard.untilEnded(try await dashboard.send("true"))
      #expect(!Files.exists(marker))
    }
  }

  /// Rule `first`, the other way round.
  @Test func aTombstoneThatCouldNotBeSyncedStillKeepsItsRunFromBeingStarted() async throws {
    let all = try await WorkInside()
    let (dashboard, marker, id) = (all.dashboard, all.marker("ran"), all.dashboard.ids.next())
    try await all.work { worker in
      let journal = await worker.journal
      let envelope = try await dashboard.envelope(TaskSpec(taskname: "echo x > \(marker)"), id: id)
      let count = journal.count
      try journal.failSyncs()
      try await dashboard.control(.cancel, [envelope.id], cause: .cancelled)
      try await eventually("it is written down") { journal.count > count }
      try await dashboard.send([envelope])
      #expect(try await dashboard.untilEnded(envelope.id).state == .cancelled)
      #expect(await dashboard.said(envelope.id).last?.tombstone == true)
      try await eventually("it is confirmed away") { try await dashboard.inbox().isEmpty }
    }
    try await all.work { _ in
      try await dashboard.send([try await dashboard.envelope(TaskSpec(taskname: "echo x > \(marker)"), id: id)])
      try await dashboard.untilEnded(try await dashboard.send("true"))
      #expect(!Files.exists(marker))
    }
  }

  /// Rule `endSync`: an end that was told and is forgotten with the power would be `lost` to the next process.
  @Test func anEndThatCannotBeSyncedIsNotToldBeforeItCan() async throws {
    let all = try await WorkInside()
    let (dashboard, gate, marker) = (all.dashboard, all.marker("gate"), all.marker("ended"))
    try await all.work { worker in
      let journal = await worker.journal
      let id = try await dashboard.send("while [ ! -e \(gate) ]; do sleep 0.02; done; echo x > \(marker); exit 3")
      try await dashboard.untilSaid(.running, id)
      // Neither does the file take a sync, nor can it be written anew.
      let inTheWay = JournalRewriting.temporary(all.journalFile)
      #expect(mkdir(inTheWay, 0o700) == 0)
      try journal.failSyncs()
      try Files.writeAtomically([], to: gate)
      try await eventually("it has ended") { Files.exists(marker) }
      // Told without its sync it would be told within milliseconds.
      try await Task.sleep(for: .seconds(3))
      try await dashboard.collect()
      #expect(await dashboard.verdict(id) == nil)
      #expect(rmdir(inTheWay) == 0)
      #expect(try await dashboard.untilEnded(id).exitCode == 3)
    }
  }

  /// Rule `position`, on a disk that does not take the new identity at first.
  @Test func aJournalThatWasPutBackStartsNothingAlsoWhereItsNewIdentityCannotBeSynced() async throws {
    let all = try await WorkInside()
    let (dashboard, marker) = (all.dashboard, all.marker("ran"))
    let former = try Journal.open(all.journalFile).journal
    let envelope = try await dashboard.envelope(TaskSpec(taskname: "echo x > \(marker)"), journal: former.identity)
    try former.append([
      .opened(.random(), bootID: try #require(ProcessBoot.current)),
      .taken(envelope.id, entry: try envelope.encoded(), number: envelope.number, wallMilliseconds: 1),
    ])
    try former.syncNow()
    let ahead = JournalPosition(journal: former.identity, count: 50, nonce: .random())
    _ = try await dashboard.connection.send(RedisCommand("SET", Keys.journal(dashboard.agent), "\(ahead)"))
    let worker = try await all.make()
    try await worker.journal.failSyncs()
    try await all.work(worker) { worker in
      #expect(try await dashboard.untilEnded(envelope.id).state == .lost)
      let identity = try await dashboard.address().journal
      #expect(identity != former.identity)
      #expect(await worker.journal.synced.journal == identity, "nobody hears of one that is not durable")
      try await dashboard.untilEnded(try await dashboard.send("true"))
      #expect(!Files.exists(marker))
    }
  }

  /// Taken on this boot, and no hand-off is known: only its output file tells whether a runner had it.
  private func takeOne(_ all: WorkInside, _ line: String) async throws -> AttemptID {
    let journal = try Journal.open(all.journalFile).journal
    let envelope = try await all.dashboard.envelope(TaskSpec(taskname: line), journal: journal.identity)
    try journal.append([
      .opened(.random(), bootID: try #require(ProcessBoot.current)),
      .taken(envelope.id, entry: try envelope.encoded(), number: envelope.number, wallMilliseconds: 1),
    ])
    try journal.syncNow()
    return envelope.id
  }

  /// Rule `file`.
  @Test func whileNobodyCanLookForItsOutputFileARunIsNeitherStartedNorEnded() async throws {
    let all = try await WorkInside()
    let (dashboard, marker, runs) = (all.dashboard, all.marker("ran"), all.settings.runsFolder)
    let id = try await takeOne(all, "echo x >> \(marker)")
    rmdir(runs)
    // No path may have such a part: whoever asks is told neither yes nor no.
    symlink("/tmp/" + String(repeating: "x", count: 300), runs)
    try await all.work { _ in
      _ = try await dashboard.lease()
      try await eventually("it may be at work") { all.board.status.isRegistered && all.board.status.running == 1 }
      #expect(await dashboard.said(id).allSatisfy { $0.kind == .taken })
      unlink(runs)
      try Files.makeFolder(runs)
      #expect(try await dashboard.untilEnded(id).state == .succeeded)
      #expect(all.contents(marker) == "x\n")
    }
  }

  /// Rule `file`.
  @Test func aRunWhoseOutputFileNobodyWillEverBeAbleToLookForIsLostAndNotStarted() async throws {
    let all = try await WorkInside()
    let (dashboard, marker, runs) = (all.dashboard, all.marker("ran"), all.settings.runsFolder)
    let id = try await takeOne(all, "echo x >> \(marker)")
    rmdir(runs)
    symlink(runs, runs)
    try await all.work { _ in
      let verdict = try await dashboard.untilEnded(id)
      #expect(verdict.state == .lost)
      #expect(!Files.exists(marker))
    }
  }
}
