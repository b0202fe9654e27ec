// One attempt's way through a real agent: taken, journaled, confirmed, started, reported, acknowledged.

import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Agent

@Suite struct FlowTests {
  @Test func aSentCommandIsRunAndItsEndIsToldInOneMessageWithItsOutput() async throws {
    let all = try await Surroundings()
    let id = try await all.dashboard.send("echo out; echo err >&2; exit 3")
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.state == .failed)
    #expect(verdict.exitCode == 3)
    #expect(verdict.outputBytes == 8)
    #expect(verdict.startedAt != nil && verdict.finishedAt != nil)
    #expect(verdict.stdoutSha256 == "54034ac5c6e9ea95734ec2b729fd6d62abf64af34a9f9ce5d466cb788191a73d")
    #expect(verdict.stderrSha256 == "2ccde4875ec595757efdf23d7b1336fcd69cf0fb869310b12a0d219c52817b20")
    #expect(await all.dashboard.text(of: id).split(separator: "\n").sorted() == ["err", "out"])
    #expect(await all.dashboard.kinds(id).last == .ended)
    #expect(try await all.dashboard.inbox().isEmpty)
    #expect(all.contents(all.log(id)).count == 8)
  }

  /// Rule `confirm`.
  @Test func anAttemptIsInTheJournalBeforeItLeavesTheInboxAndLeavesItBeforeItStarts() async throws {
    let all = try await Surroundings()
    // While Redis is stopped right behind the read of the inbox nothing can be confirmed; the journal says when it was taken.
    let marker = all.marker("started")
    let id = try await all.dashboard.send(
      "redis-cli -p \(all.redis.port) hexists '\(Keys.inbox(AgentID("web-1")))' $MUSTER_TASK > \(marker)")
    try await all.dashboard.untilEnded(id)
    #expect(all.contents(marker) == "0\n", "it was still in the inbox when it started")
    let records = try journalRecords(all.disk)
    let taken = try #require(records.firstIndex { if case .taken(id, _, _, _) = $0 { true } else { false } })
    let handedOff = try #require(records.firstIndex { if case .handedOff(id, _, _, _) = $0 { true } else { false } })
    let ended = try #require(records.firstIndex { if case .ended(id, _) = $0 { true } else { false } })
    #expect(taken < handedOff && handedOff < ended)
  }

  /// Rule `bind`.
  @Test func anEnvelopeForAnotherJournalIsLeftAlone() async throws {
    let all = try await Surroundings()
    let stranger = try await all.dashboard.envelope(TaskSpec(taskname: "echo stranger"), journal: .random())
    try await all.dashboard.send([stranger])
    let own = try await all.dashboard.send("echo own")
    try await all.dashboard.untilEnded(own)
    #expect(try await all.dashboard.inbox() == [stranger.id.description])
    #expect(await all.dashboard.said(stranger.id).isEmpty)
    #expect(!Files.exists(all.log(stranger.id)))
  }

  /// Rule `first`.
  @Test func aKnownIdThatIsSentAgainIsNotStartedAgain() async throws {
    let all = try await Surroundings()
    let marker = all.marker("count")
    let envelope = try await all.dashboard.envelope(TaskSpec(taskname: "echo x >> \(marker)"))
    try await all.dashboard.send([envelope])
    try await all.dashboard.untilEnded(envelope.id)
    for _ in 0..<3 {
      #expect(try await all.dashboard.send([envelope]) == [1])
      let dashboard = all.dashboard
      try await eventually("it is confirmed away") { try await dashboard.inbox().isEmpty }
    }
    let last = try await all.dashboard.send("true")
    try await all.dashboard.untilEnded(last)
    #expect(all.contents(marker) == "x\n")
  }

  @Test func twoHundredShortRunsAreStartedExactlyOnceEach() async throws {
    let all = try await Surroundings()
    let marker = all.marker("all")
    var ids: [AttemptID] = []
    for _ in 0..<4 {
      var batch: [Envelope] = []
      for _ in 0..<50 {
        batch.append(try await all.dashboard.envelope(TaskSpec(taskname: "echo $MUSTER_TASK >> \(marker); echo $MUSTER_TASK")))
      }
      try await all.dashboard.send(batch)
      ids += batch.map(\.id)
    }
    let wanted = ids
    try await all.dashboard.until("all have ended", within: .seconds(40)) { dashboard in
      Set(dashboard.events.filter { $0.kind == .ended }.compactMap(\.attempt)).count == wanted.count
    }
    let started = all.contents(marker).split(separator: "\n").map(String.init)
    #expect(started.sorted() == ids.map { "\($0.task)" }.sorted())
    for id in ids { #expect(await all.dashboard.text(of: id) == "\(id.task)\n") }
    #expect(await all.dashboard.events.filter { $0.kind == .ended }.count == 200)
    #expect(await all.dashboard.gaps == 0)
    let (dashboard, disk) = (all.dashboard, all.disk)
    try await eventually("everything is acknowledged, and so nothing is unacknowledged") {
      try await dashboard.collect()
      return try await disk.status()?["unacknowledged"] == "0"
    }
    #expect(runners(of: all.disk).count <= 4)
  }

  @Test func atMostSoManyRunAtOnceAsThereAreSlots() async throws {
    let all = try await Surroundings(["task": ["concurrency": 2]])
    let marker = all.marker("open")
    let gate = all.marker("gate")
    var ids: [AttemptID] = []
    for _ in 0..<6 {
      ids.append(
        try await all.dashboard.send("echo in >> \(marker); while [ ! -e \(gate) ]; do sleep 0.02; done; echo out >> \(marker)"))
    }
    for id in ids.prefix(2) { try await all.dashboard.untilSaid(.running, id) }
    for id in ids.dropFirst(2) { try await all.dashboard.untilSaid(.taken, id) }
    try await eventually("both have begun, and no third one") { all.contents(marker) == "in\nin\n" }
    try Files.writeAtomically([], to: gate)
    for id in ids { try await all.dashboard.untilEnded(id) }
    var open = 0
    var most = 0
    for line in all.contents(marker).split(separator: "\n") {
      open += line == "in" ? 1 : -1
      most = max(most, open)
    }
    #expect(most == 2)
    #expect(open == 0)
  }

  @Test func aLongOutputArrivesWholeAndInOrderWithItsStreams() async throws {
    let all = try await Surroundings()
    let id = try await all.dashboard.send("seq 1 200000; seq 1 1000 >&2")
    let verdict = try await all.dashboard.untilEnded(id)
    let expected = Int(verdict.outputBytes)
    try await all.dashboard.until("all of it arrives") { $0.output(of: id).count >= expected }
    #expect(expected == 1_288_895 + 3893)
    #expect(await all.dashboard.output(of: id) == (try Files.read(all.log(id), limit: 1 << 24)))
    #expect(await all.dashboard.gaps == 0)
    let streams = await all.dashboard.streams[id] ?? []
    #expect(streams.filter { $0[0] == 2 }.reduce(0) { $0 + $1[1] } == 3893)
    #expect(verdict.droppedBytes == 0)
  }

  @Test func pastTheCapHeadAndTailArriveAndTheRestIsStated() async throws {
    let all = try await Surroundings(["output": ["cap": 65536]])
    let id = try await all.dashboard.send("head -c 3000000 /dev/zero | tr '\\0' x; echo the end")
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.outputBytes == 3_000_008)
    #expect(verdict.droppedBytes == 3_000_008 - 65536)
    #expect(verdict.droppedFrom == 32768)
    #expect(verdict.reason == "output_cap")
    let kept = try Files.read(all.log(id), limit: 1 << 24)
    #expect(kept.count == 65536)
    #expect(String(decoding: kept.suffix(8), as: UTF8.self) == "the end\n")
    try await all.dashboard.until("its end arrives") {
      String(decoding: $0.output(of: id).suffix(8), as: UTF8.self) == "the end\n"
    }
  }

  /// So that a dashboard need not keep, hour after hour, what its host has given up long ago.
  @Test func aRunThatGoesOnPastItsCapSaysWhatItsRingHasOverwritten() async throws {
    let (cap, block) = (1 << 20, 1 << 18)
    let all = try await Surroundings(["output": ["cap": .integer(Int64(cap))]])
    let gate = all.marker("gate")
    let id = try await all.dashboard.send(
      """
      i=0; while [ $i -lt 12 ]; do i=$((i+1))
      head -c \(block) /dev/zero | tr '\\0' x; while [ ! -e \(gate)$i ]; do sleep 0.02; done; done
      """)
    for number in 1...12 {
      let written = number * block
      try await all.dashboard.until("block \(number) arrives") { $0.output(of: id).count == written }
      let dropped = written > cap ? DroppedMiddle(from: Int64(cap / 2), count: Int64(written - cap)) : nil
      #expect(await all.dashboard.dropped[id] == dropped)
      try Files.writeAtomically([], to: "\(gate)\(number)")
    }
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.droppedFrom == Int64(cap / 2) && verdict.droppedBytes == Int64(12 * block - cap))
    #expect(await all.dashboard.gaps == 0)
  }

  @Test func outputFlowsWhileTheCommandRuns() async throws {
    let all = try await Surroundings()
    let gate = all.marker("gate")
    let id = try await all.dashboard.send("echo first; while [ ! -e \(gate) ]; do sleep 0.02; done; echo second")
    try await all.dashboard.until("the first line arrives") { $0.text(of: id) == "first\n" }
    try await all.dashboard.untilSaid(.running, id)
    #expect(await all.dashboard.verdict(id) == nil)
    try Files.writeAtomically([], to: gate)
    try await all.dashboard.untilEnded(id)
    try await all.dashboard.until("the second too") { $0.text(of: id) == "first\nsecond\n" }
  }

  @Test func aProgramThatIsNotThereFailsWithTheReason() async throws {
    let all = try await Surroundings()
    let missing = try await all.dashboard.envelope(TaskSpec(taskname: "no-such-program", args: ["x"]))
    let denied = try await all.dashboard.envelope(TaskSpec(taskname: "/etc/passwd", args: []))
    let folder = try await all.dashboard.envelope(TaskSpec(taskname: "true", cwd: "/no/such/folder"))
    try await all.dashboard.send([missing, denied, folder])
    #expect(try await all.dashboard.untilEnded(missing.id).reason == "ENOENT")
    #expect(try await all.dashboard.untilEnded(denied.id).reason == "EACCES")
    let verdict = try await all.dashboard.untilEnded(folder.id)
    #expect(verdict.state == .failed)
    #expect(verdict.reason == "ENOENT")
    #expect(verdict.note?.contains("working folder") == true)
    #expect(verdict.startedAt == nil)
  }

  @Test func theEnvironmentIsSmallAndTheSpecIsKept() async throws {
    let all = try await Surroundings()
    let spec = TaskSpec(
      taskname: "sh", args: ["-c", "pwd; cat; env; echo \"$1\"", "sh", "a  b"], env: ["GREETING": "hello there"], cwd: "/tmp",
      stdin: Base64Bytes(Array("from stdin\n".utf8)))
    let envelope = try await all.dashboard.envelope(spec)
    try await all.dashboard.send([envelope])
    #expect(try await all.dashboard.untilEnded(envelope.id).state == .succeeded)
    let lines = await all.dashboard.text(of: envelope.id).split(separator: "\n").map(String.init)
    #expect(lines.first == "/tmp")
    #expect(lines.dropFirst().first == "from stdin")
    #expect(lines.last == "a  b")
    #expect(lines.contains("GREETING=hello there"))
    #expect(lines.contains("MUSTER_RUN=web-1-\(envelope.task)"))
    let names = Set(lines.dropFirst(2).dropLast().map { String($0.prefix { $0 != "=" }) })
    #expect(
      names.isSubset(of: [
        "PATH", "HOME", "USER", "LANG", "MUSTER_RUN", "MUSTER_TASK", "MUSTER_UUID", "GREETING", "PWD", "OLDPWD", "SHLVL", "_",
      ]))
  }

  @Test func aScriptOfThatNameIsRunInsteadOfAShellLine() async throws {
    let all = try await Surroundings()
    try Files.writeAtomically(Array("#!/bin/sh\necho script $0\n".utf8), to: "\(all.disk.state)/plugin/check", mode: 0o755)
    let id = try await all.dashboard.send("check")
    try await all.dashboard.untilEnded(id)
    #expect(await all.dashboard.text(of: id) == "script \(all.disk.state)/plugin/check\n")
  }

  @Test func aDeadlineEndsTheTreeAndIsSaid() async throws {
    let all = try await Surroundings()
    let id = try await all.dashboard.send("sleep 60 & sleep 60", timeout: 0.2)
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.state == .timedOut)
    #expect(verdict.signal == "TERM")
    #expect(verdict.signalled >= 2)
    #expect(verdict.left == 0)
  }

  @Test func whatIsNotStartedInTimeByRedissClockExpires() async throws {
    let all = try await Surroundings()
    let reply = try await all.dashboard.connection.send(RedisCommand("TIME"))
    let now = (Int64(reply.array?.first?.string ?? "") ?? 0) * 1000
    let late = try await all.dashboard.envelope(TaskSpec(taskname: "echo late"), startBefore: now - 1000)
    let early = try await all.dashboard.envelope(TaskSpec(taskname: "echo early"), startBefore: now + 60_000)
    try await all.dashboard.send([late, early])
    #expect(try await all.dashboard.untilEnded(late.id).state == .expired)
    #expect(try await all.dashboard.untilEnded(early.id).state == .succeeded)
    #expect(!Files.exists(all.log(late.id)))
  }
}

/// Every record in the journal of an agent, in order.
func journalRecords(_ disk: AgentOnDisk) throws -> [JournalRecord] {
  let bytes = try Files.read(disk.state + "/journal", limit: 1 << 28)
  var records: [JournalRecord] = []
  var at = JournalRecord.magic.count
  while case (.record(let placed), let length) = JournalScanner.step(bytes, at: at, offset: UInt64(at)) {
    if let record = placed.record { records.append(record) }
    at += length
  }
  return records
}
