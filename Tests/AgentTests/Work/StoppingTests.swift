// Agents that come and go, with running commands and a full inbox: however one ends, and whatever version the next one is of, the runners go
// on, are adopted, end with their true exit and complete output, and nothing is started twice.

import Glibc
import Redis
import RedisTestSupport
import Runner
import Shared
import Testing

@testable import Agent

enum WayToEnd: String, CaseIterable, CustomTestStringConvertible {
  case killed, terminated, stopped, drained, stoppedWithKill, upgraded, downgraded
  var testDescription: String { rawValue }

  /// What a build that is one version ahead pretends.
  static let next = ["MUSTER_PRETEND_PROTOCOL": "2", "MUSTER_PRETEND_RECORDS": "1"]
}

@Suite struct StoppingTests {
  @Test(arguments: WayToEnd.allCases)
  func howeverAnAgentEndsItsRunsGoOnAndItsInboxIsServedOnce(_ way: WayToEnd) async throws {
    var all = try await Surroundings(environment: way == .downgraded ? WayToEnd.next : [:])
    let gate = all.marker("gate")
    let starts = all.marker("starts")
    var batch: [Envelope] = []
    for code in 1...4 {
      let line = "echo $MUSTER_TASK >> \(starts); echo a; while [ ! -e \(gate) ]; do sleep 0.02; done; seq 1 3000; exit \(code)"
      batch.append(try await all.dashboard.envelope(TaskSpec(taskname: line)))
    }
    let long = batch.map(\.id)
    for _ in 0..<30 {
      batch.append(try await all.dashboard.envelope(TaskSpec(taskname: "echo $MUSTER_TASK >> \(starts); echo b")))
    }
    try await all.dashboard.send(batch)
    for id in long { try await all.dashboard.until("it runs") { $0.text(of: id) == "a\n" } }
    // The others wait, or are still to be taken; more comes while nobody is there.
    let journal = try await all.dashboard.address().journal
    try await end(all, way, gate)
    if way != .drained, way != .stoppedWithKill { #expect(runners(of: all.disk).count == 4) }
    #expect(Set(all.contents(starts).split(separator: "\n")).count == 4, "nothing but the four was started")
    var late: [Envelope] = []
    for _ in 0..<20 {
      late.append(
        try await all.dashboard.envelope(TaskSpec(taskname: "echo $MUSTER_TASK >> \(starts); echo b"), journal: journal))
    }
    try await all.dashboard.send(late)

    switch way {
    case .upgraded:
      all.environment = WayToEnd.next
      all.executable = all.disk.folder + "/agent-next"
      try Files.writeAtomically(try Files.read(AgentOnDisk.executable, limit: 1 << 30), to: all.executable, mode: 0o755)
    case .downgraded: all.environment = [:]
    default: break
    }
    try await all.startAgent()
    try Files.writeAtomically([], to: gate)
    let everything = (batch + late).map(\.id)
    try await all.dashboard.until("all have ended", within: .seconds(40)) { dashboard in
      Set(dashboard.events.filter { $0.kind == .ended }.compactMap(\.attempt)).count == everything.count
    }
    let sequence = "a\n" + (1...3000).map { "\($0)\n" }.joined()
    for (index, id) in long.enumerated() {
      let verdict = try #require(await all.dashboard.verdict(id))
      if way == .stoppedWithKill {
        #expect(verdict.state == .killed && verdict.left == 0)
      } else {
        #expect(verdict.state == .failed && verdict.exitCode == index + 1)
        try await all.dashboard.until("its output is complete") { $0.text(of: id) == sequence }
      }
    }
    for id in everything.dropFirst(4) {
      #expect(await all.dashboard.verdict(id)?.state == .succeeded)
      try await all.dashboard.until("its output is there") { $0.text(of: id) == "b\n" }
    }
    #expect(all.contents(starts).split(separator: "\n").map(String.init).sorted() == everything.map { "\($0.task)" }.sorted())
    #expect(try await all.dashboard.inbox().isEmpty)
    #expect(await all.dashboard.gaps == 0)
  }

  private func end(_ all: Surroundings, _ way: WayToEnd, _ gate: String) async throws {
    switch way {
    case .killed, .upgraded, .downgraded: try await all.killAgent()
    case .terminated:
      _ = killProcess(all.agent.pid, SIGTERM)
      #expect(try await all.disk.end(of: all.agent).code == 0)
    case .stopped:
      #expect(try await all.disk.command("stop").code == 0)
      #expect(try await all.disk.end(of: all.agent).code == 0)
    case .drained:
      let stop = try all.disk.spawn(["stop", "--drain", "-f", all.disk.settingsFile])
      let disk = all.disk
      try await eventually("it drains") { try await disk.status()?["stopping"] == "drain" }
      try Files.writeAtomically([], to: gate)
      #expect(try await all.disk.end(of: stop).code == 0)
      _ = try await all.disk.end(of: all.agent)
    case .stoppedWithKill:
      #expect(try await all.disk.command("stop", "--kill").code == 0)
      #expect(try await all.disk.end(of: all.agent).code == 0)
      // Idle ones leave when they see that it has gone.
      let disk = all.disk
      try await eventually("no runner is left") { runners(of: disk).isEmpty }
    }
  }

  @Test func aHostThatIsStartedAnewLosesWhatRanAndWhatWaitedAndNeverStartsThemAgain() async throws {
    var all = try await Surroundings(["task": ["concurrency": 1]], environment: ["MUSTER_PRETEND_BOOT": "first"])
    let starts = all.marker("starts")
    let file = all.marker("pids")
    // A `reboot` that takes its time; then the power is gone, and with it everything that ran.
    let reboot = try await all.dashboard.send("echo reboot >> \(starts); echo $$ $PPID > \(file); exec sleep 600")
    try await all.dashboard.untilSaid(.running, reboot)
    let waiting = try await all.dashboard.send("echo waited >> \(starts)")
    try await all.dashboard.untilSaid(.taken, waiting)
    let journal = try await all.dashboard.address().journal
    let scene = all
    try await eventually("it has told its pids") { scene.pids(file).count == 2 }
    let pids = all.pids(file)
    try await all.killAgent()
    for pid in pids.reversed() { _ = killProcess(pid) }
    let fresh = try await all.dashboard.envelope(TaskSpec(taskname: "echo fresh >> \(starts)"), journal: journal)
    try await all.dashboard.send([fresh])
    for boot in ["second", "third"] {
      all.environment = ["MUSTER_PRETEND_BOOT": boot]
      try await all.startAgent()
      let first = try await all.dashboard.untilEnded(reboot)
      #expect(first.state == .lost)
      #expect(first.note == "the host was started anew before the run had ended")
      let second = try await all.dashboard.untilEnded(waiting)
      #expect(second.state == .lost)
      #expect(second.note == "the host was started anew before it was started")
      // What nobody had taken is started: on this boot it is as new as anything.
      #expect(try await all.dashboard.untilEnded(fresh.id).state == .succeeded)
      // Sent again, as by a dashboard that forgot: still not started again.
      try await all.dashboard.control(.reconcile, [reboot])
      try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
      #expect(all.contents(starts) == "reboot\nfresh\n")
      try await all.killAgent()
    }
  }

  /// Rule `versions`.
  @Test func aDashboardThatIsTwoVersionsAheadIsNotServedUntilTheAgentIsUpgraded() async throws {
    var all = try await Surroundings()
    let marker = all.marker("ran")
    var envelope = try await all.dashboard.envelope(TaskSpec(taskname: "echo x >> \(marker)"))
    envelope.protocol = 3
    try await all.dashboard.send([envelope])
    let disk = all.disk
    try await eventually("the agent says why") {
      try await disk.status()?["health"]?.contains("the dashboard speaks protocol 3, this program 1") == true
    }
    #expect(try await all.dashboard.inbox() == ["\(envelope.id)"])
    #expect(!Files.exists(marker))
    try await all.killAgent()
    all.environment = ["MUSTER_PRETEND_PROTOCOL": "2"]
    try await all.startAgent()
    #expect(try await all.dashboard.untilEnded(envelope.id).state == .succeeded)
    #expect(all.contents(marker) == "x\n")
    #expect(await all.dashboard.batches.last?.protocol == 2)
  }

  @Test func whatALaterVersionWroteIntoTheJournalIsPassedOver() async throws {
    var all = try await Surroundings()
    let id = try await all.dashboard.send("exit 3")
    try await all.dashboard.untilEnded(id)
    let before = try await all.dashboard.address().journal
    try await all.killAgent()
    let path = all.disk.state + "/journal"
    let count = try #require(try placedRecords(path).last).count
    var record = TLVWriter()
    record.put(1, [1, 2, 3])
    var payload: [UInt8] = []
    for number in [count + 1, 0x55] { withUnsafeBytes(of: UInt64(number).littleEndian) { payload.append(contentsOf: $0) } }
    var bytes = try Files.read(path, limit: 1 << 24)
    JournalScanner.frame(payload + [200] + record.bytes, into: &bytes)
    try Files.writeAtomically(bytes, to: path)
    try await all.startAgent()
    #expect(try await all.dashboard.address().journal == before)
    #expect(try await all.dashboard.untilEnded(try await all.dashboard.send("exit 4")).exitCode == 4)
  }

  private func placedRecords(_ path: String) throws -> [PlacedRecord] {
    let bytes = try Files.read(path, limit: 1 << 24)
    var found: [PlacedRecord] = []
    // Behind the file's magic.
    var at = (0..<64).first { if case .record = JournalScanner.step(bytes, at: $0, offset: 0).step { true } else { false } } ?? 0
    while case (.record(let record), let length) = JournalScanner.step(bytes, at: at, offset: UInt64(at)) {
      found.append(record)
      at += length
    }
    return found
  }

  @Test func aRemovedAgentSaysSoStartsNothingMoreAndLeavesWhatRunsToItsEnd() async throws {
    let all = try await Surroundings(["task": ["concurrency": 1]])
    let gate = all.marker("gate")
    let marker = all.marker("ran")
    let running = try await all.dashboard.send("while [ ! -e \(gate) ]; do sleep 0.02; done; echo end >> \(marker)")
    try await all.dashboard.untilSaid(.running, running)
    let waiting = try await all.dashboard.send("echo x >> \(marker)")
    try await all.dashboard.untilSaid(.taken, waiting)
    let journal = try await all.dashboard.address().journal
    // As the dashboard does when an operator removes it.
    let connection = all.dashboard.connection
    _ = try await connection.send(RedisCommand("SADD", Keys.fenced(all.dashboard.agent), "\(journal)"))
    _ = try await connection.send(RedisCommand("DEL", Keys.lease(all.dashboard.agent)))
    let ended = try await all.disk.end(of: all.agent)
    #expect(ended.code == 1)
    #expect(ended.errors.contains("was removed by an operator"), "\(ended.errors)")
    #expect(ended.errors.contains("1 running command goes on to the end"))
    #expect(ended.errors.contains("1 waiting will not be started"))
    #expect(runners(of: all.disk).count == 1)
    try Files.writeAtomically([], to: gate)
    let disk = all.disk
    try await eventually("its runner has ended") { runners(of: disk).isEmpty }
    #expect(all.contents(marker) == "end\n")
    for command in ["run", "start"] {
      let again = try await all.disk.command(command)
      #expect(again.code == 1)
      #expect(again.errors.contains("was removed by an operator"), "\(again.errors)")
    }
    #expect(all.contents(marker) == "end\n")
  }

  /// The only slot is held until the file `gate` is there; what waits behind it writes to `marker`.
  private func oneRunsAndOneWaits() async throws -> (Surroundings, gate: String, marker: String, waiting: AttemptID) {
    let all = try await Surroundings(["task": ["concurrency": 1]])
    let gate = all.marker("gate")
    let marker = all.marker("ran")
    let first = try await all.dashboard.send("while [ ! -e \(gate) ]; do sleep 0.02; done")
    try await all.dashboard.untilSaid(.running, first)
    let second = try await all.dashboard.send("echo x >> \(marker)")
    try await all.dashboard.untilSaid(.taken, second)
    return (all, gate, marker, second)
  }

  @Test func anAgentThatIsMerelyCutOffStartsWhatWasConfirmed() async throws {
    let (all, gate, marker, second) = try await oneRunsAndOneWaits()
    try await all.redis.kill()
    try Files.writeAtomically([], to: gate)
    try await eventually("it has run") { Files.exists(marker) }
    try await all.redis.restart()
    #expect(try await all.dashboard.untilEnded(second).state == .succeeded)
    #expect(all.contents(marker) == "x\n")
  }

  @Test func anAgentThatWasStoppedForLongerThanItsLeaseLooksAtItBeforeItStartsAnything() async throws {
    let (all, gate, marker, _) = try await oneRunsAndOneWaits()
    _ = killProcess(all.agent.pid, SIGSTOP)
    let (connection, agent) = (all.dashboard.connection, all.dashboard.agent)
    try await eventually("its lease has run out") {
      try await connection.send(RedisCommand("EXISTS", Keys.lease(agent))).integer == 0
    }
    // A host that replaced it.
    let stranger = "\(AgentAddress(journal: .random(), incarnation: .random())) {}"
    _ = try await connection.send(RedisCommand("SET", Keys.lease(agent), stranger))
    try Files.writeAtomically([], to: gate)
    let disk = all.disk
    try await eventually("the first run has ended") {
      runners(of: disk).first.map { pid in (try? Files.read("/proc/\(pid)/task/\(pid)/children"))?.isEmpty ?? false } ?? true
    }
    _ = killProcess(all.agent.pid, SIGCONT)
    try await eventually("it has found its lease taken") {
      try await disk.status()?["lease"]?.hasPrefix("held by another") == true
    }
    try await eventually("it has heard of the end") { try await disk.status()?["running"] == "0 of 1" }
    #expect(try await disk.status()?["waiting"] == "1")
    #expect(!Files.exists(marker))
  }
}
