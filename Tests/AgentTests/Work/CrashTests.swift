// What a crash of the agent, of a runner, of both and of Redis leaves behind, and what the next agent makes of it.

import Glibc
import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Agent

@Suite struct CrashTests {
  /// Rule `gone`.
  @Test func commandsThatRunWhileTheAgentIsKilledEndWithTheirTrueExitCodesAndCompleteOutput() async throws {
    var all = try await Surroundings()
    let gate = all.marker("gate")
    var ids: [AttemptID] = []
    for code in 1...3 {
      ids.append(
        try await all.dashboard.send("echo start; while [ ! -e \(gate) ]; do sleep 0.02; done; seq 1 5000; exit \(code)"))
    }
    for id in ids { try await all.dashboard.untilSaid(.running, id) }
    try await all.killAgent()
    #expect(runners(of: all.disk).count == 3)
    try await all.startAgent()
    #expect(try await all.disk.status()?["running"] == "3 of 4")
    try Files.writeAtomically([], to: gate)
    let sequence = "start\n" + (1...5000).map { "\($0)\n" }.joined()
    for (index, id) in ids.enumerated() {
      let verdict = try await all.dashboard.untilEnded(id)
      #expect(verdict.state == .failed)
      #expect(verdict.exitCode == index + 1)
      try await all.dashboard.until("its output is complete") { $0.text(of: id) == sequence }
    }
  }

  /// Rule `order`.
  @Test func aCommandThatEndsWhileNoAgentIsThereIsReportedByTheNextOne() async throws {
    var all = try await Surroundings()
    let gate = all.marker("gate")
    let id = try await all.dashboard.send("echo a; while [ ! -e \(gate) ]; do sleep 0.02; done; echo b; exit 9")
    try await all.dashboard.until("it has begun") { $0.text(of: id) == "a\n" }
    try await all.killAgent()
    try Files.writeAtomically([], to: gate)
    let disk = all.disk
    try await eventually("its runner has ended") { runners(of: disk).isEmpty }
    try await all.startAgent()
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.exitCode == 9)
    try await all.dashboard.until("its output is complete") { $0.text(of: id) == "a\nb\n" }
  }

  @Test func anOrderlyStopLeavesTheRunnersAtWork() async throws {
    var all = try await Surroundings()
    let gate = all.marker("gate")
    let id = try await all.dashboard.send("while [ ! -e \(gate) ]; do sleep 0.02; done; exit 5")
    try await all.dashboard.untilSaid(.running, id)
    #expect(try await all.disk.command("stop").code == 0)
    _ = try await all.disk.end(of: all.agent)
    #expect(runners(of: all.disk).count == 1)
    try await all.dashboard.until("the agent says goodbye") { $0.events.last?.kind == .bye }
    #expect(try await all.dashboard.connection.send(RedisCommand("GET", Keys.lease(all.dashboard.agent))).isNull)
    try await all.startAgent()
    try Files.writeAtomically([], to: gate)
    #expect(try await all.dashboard.untilEnded(id).exitCode == 5)
  }

  /// Rule `file`.
  @Test func aRunWhoseAgentAndRunnerWereKilledIsLostAndNeverStartedAgain() async throws {
    var all = try await Surroundings()
    let marker = all.marker("starts")
    let pidFile = all.marker("pid")
    let id = try await all.dashboard.send("echo x >> \(marker); echo $$ > \(pidFile); echo said; exec sleep 600")
    try await all.dashboard.until("it runs") { $0.text(of: id) == "said\n" }
    try await all.killAgent()
    for pid in runners(of: all.disk) { _ = killProcess(pid) }
    defer { if let pid = pid_t(all.contents(pidFile).dropLast()) { _ = killProcess(pid) } }
    let disk = all.disk
    try await eventually("its runner is gone") { runners(of: disk).isEmpty }
    try await all.startAgent()
    #expect(try await all.dashboard.untilEnded(id).state == .lost)
    // Also after one more start, and when it is sent again.
    try await all.killAgent()
    try await all.startAgent()
    let last = try await all.dashboard.send("true")
    try await all.dashboard.untilEnded(last)
    #expect(all.contents(marker) == "x\n")
    #expect(await all.dashboard.text(of: id) == "said\n")
  }

  @Test func aRunnerThatIsKilledAloneLosesItsRunAndNoOther() async throws {
    let all = try await Surroundings()
    let pidFile = all.marker("pid")
    let id = try await all.dashboard.send("echo $$ > \(pidFile); exec sleep 600")
    try await all.dashboard.untilSaid(.running, id)
    for pid in runners(of: all.disk) { _ = killProcess(pid) }
    defer { if let pid = pid_t(all.contents(pidFile).dropLast()) { _ = killProcess(pid) } }
    #expect(try await all.dashboard.untilEnded(id).state == .lost)
    #expect(try await all.dashboard.untilEnded(try await all.dashboard.send("exit 4")).exitCode == 4)
  }

  /// Rules `plainFile`, `handFirst`.
  @Test func aHandOffThatNoRunnerEverGotIsStartedOnce() async throws {
    var all = try await Surroundings()
    let marker = all.marker("starts")
    let envelope = try await all.dashboard.envelope(TaskSpec(taskname: "echo x >> \(marker)"))
    try await all.killAgent()
    // As if the agent had been killed between its hand-off record and the message to the runner.
    let opened = try Journal.open(all.disk.state + "/journal")
    let boot = try #require(ProcessBoot.current)
    try opened.journal.append([
      .opened(.random(), bootID: boot),
      .taken(envelope.id, entry: try envelope.encoded(), number: envelope.number, wallMilliseconds: 1),
      .handedOff(
        envelope.id, records: Array("\(all.disk.state)/runners/none.rec".utf8),
        runner: .init(pid: 1, startTime: 1, bootID: boot)),
    ])
    try opened.journal.syncNow()
    try await all.startAgent()
    #expect(try await all.dashboard.untilEnded(envelope.id).state == .succeeded)
    try await all.killAgent()
    try await all.startAgent()
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    #expect(all.contents(marker) == "x\n")
  }

  /// Rules `boot`, `taking`.
  @Test func whatWasTakenOnAnotherBootIsLost() async throws {
    var all = try await Surroundings()
    let marker = all.marker("starts")
    let taken = try await all.dashboard.envelope(TaskSpec(taskname: "echo x >> \(marker)"))
    let handed = try await all.dashboard.envelope(TaskSpec(taskname: "echo x >> \(marker)"))
    try await all.killAgent()
    let opened = try Journal.open(all.disk.state + "/journal")
    try opened.journal.append([
      .opened(.random(), bootID: "another boot"),
      .taken(taken.id, entry: try taken.encoded(), number: taken.number, wallMilliseconds: 1),
      .taken(handed.id, entry: try handed.encoded(), number: handed.number, wallMilliseconds: 1),
      .handedOff(
        handed.id, records: Array("\(all.disk.state)/runners/none.rec".utf8),
        runner: .init(pid: 1, startTime: 1, bootID: "another boot")),
    ])
    try opened.journal.syncNow()
    try await all.startAgent()
    #expect(try await all.dashboard.untilEnded(taken.id).state == .lost)
    #expect(try await all.dashboard.untilEnded(handed.id).state == .lost)
    #expect(all.contents(marker).isEmpty)
  }

  /// Rule `records`.
  @Test func anExitWhoseHandOffWasLostWithThePowerIsFoundInTheRecords() async throws {
    var all = try await Surroundings(environment: ["MUSTER_PRETEND_BOOT": "first"])
    let (gate, marker, path) = (all.marker("gate"), all.marker("starts"), all.disk.state + "/journal")
    let id = try await all.dashboard.send(
      "echo x >> \(marker); echo a; while [ ! -e \(gate) ]; do sleep 0.02; done; echo b; exit 9")
    try await all.dashboard.until("it has begun") { $0.text(of: id) == "a\n" }
    let journal = try await all.dashboard.address().journal
    try await all.killAgent()
    try Files.writeAtomically([], to: gate)
    let disk = all.disk
    try await eventually("its runner has ended") { runners(of: disk).isEmpty }
    // The power goes, and takes of all of it the one record that was not synced.
    let bytes = try Files.read(path)
    var at = JournalRecord.magic.count
    var handOff: Int?
    while handOff == nil, case (.record(let placed), let length) = JournalScanner.step(bytes, at: at, offset: UInt64(at)) {
      if case .handedOff(id, _, _, _)? = placed.record { handOff = at }
      at += length
    }
    try Files.writeAtomically(Array(bytes[..<(try #require(handOff))]), to: path)
    for boot in ["second", "third"] {
      all.environment = ["MUSTER_PRETEND_BOOT": boot]
      try await all.startAgent()
      let verdict = try await all.dashboard.untilEnded(id)
      #expect(verdict.state == .failed && verdict.exitCode == 9)
      try await all.dashboard.until("its output is complete") { $0.text(of: id) == "a\nb\n" }
      #expect(try await all.dashboard.address().journal == journal)
      try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
      #expect(all.contents(marker) == "x\n")
      try await all.killAgent()
    }
  }

  /// Rule `confirm`.
  @Test func whatWasTakenAndNotConfirmedIsConfirmedAndStartedByTheNextAgent() async throws {
    var all = try await Surroundings()
    let marker = all.marker("starts")
    let envelope = try await all.dashboard.envelope(TaskSpec(taskname: "echo x >> \(marker)"))
    try await all.killAgent()
    let opened = try Journal.open(all.disk.state + "/journal")
    try opened.journal.append([
      .opened(.random(), bootID: try #require(ProcessBoot.current)),
      .taken(envelope.id, entry: try envelope.encoded(), number: envelope.number, wallMilliseconds: 1),
    ])
    try opened.journal.syncNow()
    // It still stands in the inbox, as before the confirm.
    try await all.dashboard.send([envelope])
    try await all.startAgent()
    #expect(try await all.dashboard.untilEnded(envelope.id).state == .succeeded)
    #expect(try await all.dashboard.inbox().isEmpty)
    #expect(all.contents(marker) == "x\n")
  }

  /// Rule `position`.
  @Test func aJournalThatWasPutBackTakesANewIdentityAndStartsNothingTwice() async throws {
    var all = try await Surroundings()
    let marker = all.marker("starts")
    try await all.dashboard.untilEnded(try await all.dashboard.send("echo first >> \(marker)"))
    let before = try await all.dashboard.address().journal
    #expect(try await all.disk.command("stop").code == 0)
    _ = try await all.disk.end(of: all.agent)
    let copy = try Files.read(all.disk.state + "/journal")
    try await all.startAgent()
    let second = try await all.dashboard.envelope(TaskSpec(taskname: "echo second >> \(marker)"))
    try await all.dashboard.send([second])
    try await all.dashboard.untilEnded(second.id)
    #expect(try await all.dashboard.address().journal == before)
    #expect(try await all.disk.command("stop").code == 0)
    _ = try await all.disk.end(of: all.agent)
    try Files.writeAtomically(copy, to: all.disk.state + "/journal")
    try await all.startAgent()
    let after = try await all.dashboard.address().journal
    #expect(after != before)
    // What was meant for the former journal is left alone; asked for, the new one makes a tombstone of it.
    try await all.dashboard.send([second])
    try await all.dashboard.control(.close, [second.id])
    try await all.dashboard.until("it is a tombstone") { $0.said(second.id).last?.tombstone == true }
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    #expect(all.contents(marker) == "first\nsecond\n")
  }

  @Test func aRollbackFindsTheLeaseOfItsFormerLifeAndWaitsForItsEnd() async throws {
    var all = try await Surroundings()
    let before = try await all.dashboard.address().journal
    let copy = try Files.read(all.disk.state + "/journal")
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    try await all.killAgent()
    try Files.writeAtomically(copy, to: all.disk.state + "/journal")
    // The lease of a killed agent runs out by itself; here sooner.
    _ = try await all.dashboard.connection.send(RedisCommand("PEXPIRE", Keys.lease(all.dashboard.agent), 1500))
    try await all.startAgent()
    #expect(try await all.dashboard.address().journal != before)
  }

  /// Rule `cameBackEmpty`.
  @Test func redisThatIsKilledAndComesBackEmptyLosesNothing() async throws {
    let all = try await Surroundings(["tags": "web"])
    let gate = all.marker("gate")
    let marker = all.marker("starts")
    let id = try await all.dashboard.send(
      "echo x >> \(marker); echo a; while [ ! -e \(gate) ]; do sleep 0.02; done; echo b; exit 6")
    try await all.dashboard.untilSaid(.running, id)
    try await all.redis.kill()
    try Files.writeAtomically([], to: gate)
    let disk = all.disk
    try await eventually("the agent says that Redis is away") {
      try await disk.status()?["redis"]?.hasSuffix("connected") == false
    }
    try await all.redis.restart()
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.exitCode == 6)
    try await all.dashboard.until("its output is complete") { $0.text(of: id) == "a\nb\n" }
    #expect(all.contents(marker) == "x\n")
    let connection = all.dashboard.connection
    #expect(try await connection.send(RedisCommand("SISMEMBER", "web", "web-1")).integer == 1)
    #expect(try await connection.send(RedisCommand("EXISTS", Keys.info(all.dashboard.agent))).integer == 1)
    #expect(try await connection.send(RedisCommand("ZSCORE", Keys.agents, "web-1")).isNull == false)
    #expect(try await all.dashboard.untilEnded(try await all.dashboard.send("exit 2")).exitCode == 2)
  }

  @Test func redisThatIsRestartedInTheMiddleOfManyRunsLosesNoneAndStartsNoneTwice() async throws {
    let all = try await Surroundings(redis: ["--appendonly", "yes", "--appendfsync", "always"])
    let marker = all.marker("all")
    var ids: [AttemptID] = []
    for _ in 0..<100 {
      let envelope = try await all.dashboard.envelope(TaskSpec(taskname: "sleep 0.02; echo $MUSTER_TASK >> \(marker)"))
      try await all.dashboard.send([envelope])
      ids.append(envelope.id)
    }
    try await all.dashboard.until("some have ended") { $0.events.filter { $0.kind == .ended }.count > 20 }
    try await all.redis.kill()
    try await all.redis.restart()
    let wanted = ids
    try await all.dashboard.until("all have ended", within: .seconds(40)) { dashboard in
      Set(dashboard.events.filter { $0.kind == .ended }.compactMap(\.attempt)).count == wanted.count
    }
    #expect(all.contents(marker).split(separator: "\n").map(String.init).sorted() == ids.map { "\($0.task)" }.sorted())
  }

  /// Rule `handFirst`.
  @Test func theAgentThatIsKilledAgainAndAgainStartsEachRunOnce() async throws {
    var all = try await Surroundings()
    let marker = all.marker("all")
    var ids: [AttemptID] = []
    var batch: [Envelope] = []
    for _ in 0..<120 {
      batch.append(try await all.dashboard.envelope(TaskSpec(taskname: "sleep 0.03; echo $MUSTER_TASK >> \(marker)")))
    }
    ids = batch.map(\.id)
    try await all.dashboard.send(batch)
    for round in 1...4 {
      let enough = round * 15
      try await all.dashboard.until("some more have ended") {
        Set($0.events.filter { $0.kind == .ended }.compactMap(\.attempt)).count >= enough
      }
      try await all.killAgent()
      try await all.startAgent()
    }
    let wanted = ids
    try await all.dashboard.until("all have ended", within: .seconds(40)) { dashboard in
      Set(dashboard.events.filter { $0.kind == .ended }.compactMap(\.attempt)).count == wanted.count
    }
    for id in ids { #expect(await all.dashboard.verdict(id)?.state == .succeeded) }
    #expect(all.contents(marker).split(separator: "\n").map(String.init).sorted() == ids.map { "\($0.task)" }.sorted())
  }
}
