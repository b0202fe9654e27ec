// What protects a host, and an agent, from each other: full disks, the quota of spools, many ends without a dashboard, damaged files, and
// descriptors that are missing. With real agents.

import Glibc
import Redis
import RedisTestSupport
import Runner
import Shared
import Testing

@testable import Agent

@Suite(.serialized) struct LimitTests {
  private func health(_ all: Surroundings) async throws -> String { try await all.disk.status()?["health"] ?? "" }

  @Test(.enabled(if: SmallDisk.isPossible, SmallDisk.why))
  func onAFullDiskNothingIsTakenWhatRunsEndsTrulyAndAllGoesOnByItselfWhenThereIsRoom() async throws {
    let disk = try SmallDisk(kibibytes: 8192)
    let all = try await Surroundings(["state": ["path": .string("\(disk.path)/state")]])
    let gate = all.marker("gate")
    let marker = all.marker("starts")
    let running = try await all.dashboard.send(
      "echo a; while [ ! -e \(gate) ]; do sleep 0.02; done; seq 1 100000; echo z; exit 7")
    try await all.dashboard.untilSaid(.running, running)
    try disk.fill()
    // Long ones, so that the room that the journal has is soon used up but for what it keeps for ends.
    let padding = Base64Bytes([UInt8](repeating: 35, count: 120_000))
    var sent: [AttemptID] = []
    for _ in 0..<20 {
      let envelope = try await all.dashboard.envelope(TaskSpec(taskname: "echo x >> \(marker)", stdin: padding))
      try await all.dashboard.send([envelope])
      sent.append(envelope.id)
    }
    let dashboard = all.dashboard
    try await eventually("it says that its disk is full") {
      let lease = try await dashboard.lease()
      return lease.beat.health.contains("No space left")
    }
    try await eventually("it does not take all of them") {
      try await self.health(all).hasPrefix("death (the journal cannot be used")
    }
    #expect(try await !all.dashboard.inbox().isEmpty)
    // What runs ends, and its end is told: its journal had kept room for it.
    try Files.writeAtomically([], to: gate)
    let verdict = try await all.dashboard.untilEnded(running)
    #expect(verdict.exitCode == 7)
    #expect(verdict.outputBytes == 588_895 + 4)
    #expect(verdict.droppedBytes > 0 && verdict.note?.contains("could not be stored") == true)
    #expect(all.contents(marker).isEmpty)
    #expect(all.agent.errorText.components(of: "nothing is taken") <= 2, "said once, not once a second")
    disk.makeRoom()
    for id in sent { #expect(try await all.dashboard.untilEnded(id).state == .succeeded) }
    #expect(all.contents(marker) == String(repeating: "x\n", count: 20))
    try await eventually("it is healthy again") { try await self.health(all) == "healthy" }
  }

  @Test(.enabled(if: SmallDisk.isPossible, SmallDisk.why))
  func aRunThatCannotBeStartedForWantOfRoomWaitsAndTheReasonIsNamed() async throws {
    // Only the output has its own full disk: the journal can say everything.
    let disk = try SmallDisk(kibibytes: 4096, inodes: 60)
    let all = try await Surroundings(["log": ["path": .string("\(disk.path)/log")]])
    let marker = all.marker("starts")
    // An empty file needs no room, but it needs an inode.
    for number in 0..<100 {
      let file = open("\(disk.path)/i\(number)", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
      guard file >= 0 else { break }
      close(file)
    }
    let envelope = try await all.dashboard.envelope(TaskSpec(taskname: "cat >> \(marker)", stdin: Base64Bytes(Array("x\n".utf8))))
    try await all.dashboard.send([envelope])
    let id = envelope.id
    let dashboard = all.dashboard
    try await eventually("its health names the reason") { try await dashboard.lease().beat.health.contains("ENOSPC") }
    #expect(await all.dashboard.verdict(id) == nil)
    #expect(all.contents(marker).isEmpty)
    var number = 0
    while unlink("\(disk.path)/i\(number)") == 0 { number += 1 }
    #expect(try await all.dashboard.untilEnded(id).state == .succeeded)
    #expect(all.contents(marker) == "x\n")
    try await eventually("it is healthy again") { try await self.health(all) == "healthy" }
  }

  @Test func pastTheQuotaTheOldestAcknowledgedOutputGoesAndNoOther() async throws {
    let all = try await Surroundings(["output": ["quota": 1_048_576]])
    // Older than all others, and it goes on: it stays.
    let open = try await all.dashboard.send("head -c 300000 /dev/zero; exec sleep 600")
    try await all.dashboard.until("it runs") { $0.output(of: open).count == 300_000 }
    var ids: [AttemptID] = []
    for _ in 0..<6 {
      let id = try await all.dashboard.send("head -c 200000 /dev/zero")
      try await all.dashboard.untilEnded(id)
      try await all.dashboard.until("its output is there") { $0.output(of: id).count == 200_000 }
      ids.append(id)
    }
    let first = ids[0]
    let (logs, last) = (ids.map { all.log($0) }, ids[5])
    try await all.dashboard.until("the oldest is removed") { _ in !Files.exists(logs[0]) }
    // All of them were written within one second: it is the order within it that counts.
    try await all.dashboard.until("the oldest went, and none in their midst") { _ in
      let left = logs.filter { Files.exists($0) }
      return left.count < 5 && left == Array(logs.suffix(left.count))
    }
    #expect(Files.exists(all.log(open)))
    #expect(Files.exists(all.log(last)))
    // A restored dashboard asks: the verdict is there, and it is not started again.
    try await all.dashboard.control(.reconcile, [first])
    try await all.dashboard.until("it is told once more") { $0.said(first).filter { $0.kind == .ended }.count > 1 }
    #expect(await all.dashboard.verdict(first)?.outputBytes == 200_000)
    try await all.dashboard.control(.cancel, [open], cause: .cancelled, grace: 0)
    try await all.dashboard.untilEnded(open)
  }

  @Test func withoutADashboardOutputIsKeptUpToTwiceTheQuotaAndEveryVerdictIsToldAfterwards() async throws {
    let all = try await Surroundings(["output": ["quota": 1_048_576]])
    await all.dashboard.acknowledge(false)
    var ids: [AttemptID] = []
    for _ in 0..<14 { ids.append(try await all.dashboard.send("head -c 200000 /dev/zero")) }
    let logs = ids.map { all.log($0) }
    let log = all.disk.logFile
    try await eventually("some of it was given up", within: .seconds(60)) {
      (try? Files.read(log)).map { String(decoding: $0, as: UTF8.self).contains("no dashboard has taken") } == true
    }
    let left = logs.filter { Files.exists($0) }
    #expect(left.count >= 4 && left.count < 14, "\(left.count) of 14 are left")
    await all.dashboard.acknowledge(true)
    for id in ids {
      let verdict = try await all.dashboard.untilEnded(id)
      #expect(verdict.state == .succeeded && verdict.outputBytes == 200_000)
    }
    let disk = all.disk
    try await eventually("nothing waits any more") { try await disk.status()?["unacknowledged"] == "0" }
  }

  /// Both streams are full, nobody reads: the ends wait in the journal, also for the next agent, and all of them are told at last.
  @Test func thousandsOfEndsWithoutADashboardWaitInTheJournalAndAreAllTold() async throws {
    var all = try await Surroundings(["task": ["concurrency": 8]])
    let connection = all.dashboard.connection
    let (key, shard) = (Keys.verdicts(Keys.shard(all.dashboard.agent)), all.dashboard.agent)
    // Full from the start: nothing that the agent says has room.
    for begin in stride(from: 0, to: BusLimits.verdictStreamLength, by: 2000) {
      let commands = (begin..<min(begin + 2000, BusLimits.verdictStreamLength)).map { _ in
        RedisCommand("XADD", key, "*", "m", "x")
      }
      _ = try await connection.pipeline(commands)
    }
    let total = 1500
    for begin in stride(from: 0, to: total, by: 500) {
      var words: [any RedisArgument] = [shard.text]
      for number in begin..<begin + 500 { words += ["t\(number)", "true"] as [any RedisArgument] }
      _ = try await connection.send(RedisCommand("HSET", arguments: words))
      let disk = all.disk
      try await eventually("they have ended", within: .seconds(120)) {
        try await disk.status().flatMap { Int($0["unacknowledged"] ?? "") } == begin + 500
      }
    }
    // A tombstone waits among them.
    let unknown = AttemptID(task: all.dashboard.ids.next())
    try await all.dashboard.control(.cancel, [unknown], cause: .cancelled)
    let disk = all.disk
    try await eventually("it has its tombstone") { try await disk.status()?["unacknowledged"] == "\(total + 1)" }
    let parked = try Journal.open(copy(of: all.disk.state + "/journal", in: all)).contents.parked.count
    #expect(parked > 400, "\(parked) ends stand in the journal alone")
    try await all.killAgent()
    try await all.startAgent()
    #expect(try await all.disk.status()?["unacknowledged"] == "\(total + 1)")
    _ = try await connection.send(RedisCommand("DEL", key))
    try await all.dashboard.until("all are told", within: .seconds(120)) { dashboard in
      Set(dashboard.events.filter { $0.kind == .ended }.compactMap(\.attempt)).count == total + 1
    }
    try await eventually("nothing waits any more") { try await disk.status()?["unacknowledged"] == "0" }
    #expect(await all.dashboard.said(unknown).last?.tombstone == true)
    #expect(
      await all.dashboard.events.filter { $0.kind == .ended && $0.tombstone != true }.allSatisfy {
        $0.plain != nil && $0.verdict?.state == .succeeded
      })
  }

  /// Nobody acknowledges: of each run the beginning is told only while there is room for it, so that the window has a bound.
  @Test func withoutADashboardTheWindowIsBoundedAndWhatGoesOnIsToldOnceThereIsRoom() async throws {
    let all = try await Surroundings(["task": ["concurrency": 32]])
    let (connection, disk) = (all.dashboard.connection, all.disk)
    await all.dashboard.acknowledge(false)
    let total = 700
    var words: [any RedisArgument] = [all.dashboard.agent.text]
    // Long enough for a message of its own when it begins.
    for number in 0..<total { words += ["t\(number)", "sleep 0.1"] as [any RedisArgument] }
    _ = try await connection.send(RedisCommand("HSET", arguments: words))
    try await eventually("they have ended", within: .seconds(120)) {
      try await disk.status()?["unacknowledged"] == "\(total)"
    }
    let gate = all.marker("gate")
    _ = try await connection.send(
      RedisCommand("HSET", all.dashboard.agent.text, "long", "echo a; while [ ! -e \(gate) ]; do sleep 0.02; done"))
    try await eventually("it runs") { try await disk.status()?["running"] == "1 of 32" }
    for _ in 0..<3 { _ = try await connection.send(RedisCommand("CLIENT", "KILL", "TYPE", "normal")) }
    try await eventually("it has registered again") { try await disk.status()?["lease"] == "held" }
    try await all.dashboard.until("the window is full") { $0.events.count >= Worker.windowEvents }
    try await all.dashboard.collect()
    #expect(await all.dashboard.events.count <= Worker.windowEvents + 64)
    await all.dashboard.acknowledge(true)
    try await all.dashboard.until("what goes on is told", within: .seconds(60)) { dashboard in
      let long = dashboard.events.first { $0.plain?.name.bytes == Array("long".utf8) }
      return dashboard.events.contains { $0.kind == .running && $0.attempt == long?.attempt && long != nil }
    }
    try Files.writeAtomically([], to: gate)
    try await all.dashboard.until("all are told", within: .seconds(120)) { dashboard in
      Set(dashboard.events.filter { $0.kind == .ended }.compactMap(\.attempt)).count == total + 1
    }
    #expect(await all.dashboard.events.filter { $0.kind == .ended }.allSatisfy { $0.plain != nil }, "each introduces itself")
  }

  private func copy(of path: String, in all: Surroundings) throws -> String {
    let copy = all.marker("journal-copy")
    try Files.writeAtomically(try Files.read(path, limit: 1 << 28), to: copy)
    return copy
  }

  @Test func aJournalThatWasDamagedIsSetAsideAndWhatItHeldIsNotStartedAgain() async throws {
    var all = try await Surroundings()
    let marker = all.marker("starts")
    let first = try await all.dashboard.envelope(TaskSpec(taskname: "echo first >> \(marker)"))
    try await all.dashboard.send([first])
    try await all.dashboard.untilEnded(first.id)
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    try await all.killAgent()
    let path = all.disk.state + "/journal"
    var bytes = try Files.read(path)
    let taken = try #require(try Journal.open(copy(of: path, in: all)).contents.settled[first.id] != nil ? bytes.count / 4 : nil)
    bytes[taken] ^= 0x55
    try Files.writeAtomically(bytes, to: path)
    try await all.startAgent()
    let log = all.contents(all.disk.logFile)
    #expect(log.contains("\(path).damaged-"), "the log names the file")
    try await all.dashboard.send([first])
    #expect(try await all.dashboard.untilEnded(try await all.dashboard.send("exit 3")).exitCode == 3)
    #expect(all.contents(marker) == "first\n")
    // And it stays with that identity.
    let identity = try await all.dashboard.address().journal
    try await all.killAgent()
    try await all.startAgent()
    #expect(try await all.dashboard.address().journal == identity)
  }

  @Test func theLogNamesWhatWasCutOffAJournalAndSaysThatAnEmptiedOneIsNotNew() async throws {
    var all = try await Surroundings()
    let path = all.disk.state + "/journal"
    try await all.dashboard.untilEnded(try await all.dashboard.send("exit 3"))
    #expect(!all.contents(all.disk.logFile).contains("the journal"))
    let identity = try await all.dashboard.address().journal
    try await all.killAgent()
    try Files.writeAtomically(try Files.read(path, limit: 1 << 24) + Array("torn".utf8), to: path)
    try await all.startAgent()
    #expect(try await all.dashboard.address().journal == identity)
    let line = try #require(
      all.contents(all.disk.logFile).split(separator: "\n").first { $0.contains("the journal's last record was torn") })
    #expect(line.contains("file=\(path) ") && line.contains("bytes=4 "))
    let kept = try #require(line.split(separator: " ").first { $0.hasPrefix("kept=") }?.dropFirst(5))
    #expect(kept.hasPrefix("\(path).torn-") && all.contents(String(kept)) == "torn")
    // Cut off within its first bytes: all of it is gone.
    try await all.killAgent()
    try Files.writeAtomically(Array("MUS".utf8), to: path)
    _ = try await all.dashboard.connection.send(RedisCommand("DEL", Keys.lease(all.dashboard.agent)))
    try await all.startAgent()
    #expect(try await all.dashboard.address().journal != identity)
    #expect(all.contents(all.disk.logFile).contains("the journal was gone or empty though this agent has run before"))
  }

  @Test func aLimitOfOpenFilesThatIsTooLowIsSaidWithNumbersAndCommandsKeepTheirOwn() async throws {
    let redis = try await RedisServerProcess.start()
    let disk = try AgentOnDisk(redisPort: redis.port, ["task": ["concurrency": 64]])
    let dashboard = StandInDashboard(redis)
    _ = try await dashboard.connection.connected(within: .seconds(10))
    _ = try await dashboard.connection.send(RedisCommand("SET", Keys.dashboard, "stand-in"))
    _ = try disk.spawn(
      ["-c", "ulimit -Sn 100; ulimit -Hn 200; exec \"$0\" run -f \"$1\"", AgentOnDisk.executable, disk.settingsFile],
      program: "/bin/sh")
    let id = try await dashboard.send("ulimit -Sn; ulimit -Hn")
    try await dashboard.untilEnded(id)
    #expect(await dashboard.text(of: id) == "100\n200\n")
    let log = String(decoding: try Files.read(disk.logFile), as: UTF8.self)
    #expect(log.contains("64 runs at once may need 288 open files, and this process may have 200"))
  }
}

extension String {
  fileprivate func components(of part: String) -> Int {
    var (count, rest) = (0, self[...])
    while let range = rest.firstRange(of: part) {
      count += 1
      rest = rest[range.upperBound...]
    }
    return count
  }
}
