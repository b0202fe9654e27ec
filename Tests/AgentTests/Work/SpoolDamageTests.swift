// A runner's records with each byte changed and each length cut, an output file that was cut, and files that cannot be opened just now:
// nothing is started again, no end is invented, and a run is not called lost because nobody could look.

import Glibc
import Redis
import RedisTestSupport
import Runner
import Shared
import Testing

@testable import Agent

@Suite struct SpoolDamageTests {
  private let scratch = ScratchFolder(inMemory: true)

  /// What the agent makes of records: their exit, and how it judges the attempt whose runner is gone.
  private func judged(_ path: String, _ bytes: [UInt8], run: RunID) throws -> (OutputFeed, Judgement) {
    try Files.writeAtomically(bytes, to: path)
    let id = AttemptID(task: run.task)
    let knowledge = AttemptKnowledge(record: .taken, confirmed: true, handedOff: true)
    let attempt = Attempt(id: id, run: run, knowledge: knowledge, stage: .working, spec: nil, plain: nil, startBefore: nil)
    let feed = OutputFeed(attempt, records: Array(path.utf8), offset: 0, path: path + ".log")
    feed.advanceToEnd()
    let traces = AttemptTraces(runnerLives: false, exitRecord: feed.state.exit != nil, outputFile: true)
    return (feed, AttemptFlow.judge(knowledge, traces))
  }

  /// The one runner's of that agent.
  private func records(of disk: AgentOnDisk) -> String? {
    let folder = "\(disk.state)/runners"
    guard let listing = opendir(folder) else { return nil }
    defer { closedir(listing) }
    while let entry = readdir(listing) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name.hasSuffix(".rec") { return "\(folder)/\(name)" }
    }
    return nil
  }

  @Test func recordsWithAnyByteChangedOrCutAtAnyLengthGiveTheTrueEndOrNone() async throws {
    let all = try await Surroundings()
    await all.dashboard.acknowledge(false)
    let id = try await all.dashboard.send("echo out; sleep 0.1; echo err >&2; seq 1 4000; exit 5")
    try await all.dashboard.untilEnded(id)
    let sound = try Files.read(try #require(records(of: all.disk)))
    let run = RunID(agent: all.dashboard.agent, task: id.task)
    let (whole, verdict) = try judged("\(scratch.path)/whole", sound, run: run)
    let exit = try #require(whole.state.exit)
    #expect(verdict == .ended && exit.how == .exited(5) && !whole.isDamaged)
    var ended = 0
    for position in sound.indices {
      await Task.yield()
      var bytes = sound
      bytes[position] ^= position % 2 == 0 ? 0x01 : 0xff
      let (feed, judgement) = try judged("\(scratch.path)/flipped", bytes, run: run)
      if let found = feed.state.exit { #expect(found == exit, "byte \(position)") }
      #expect(judgement == (feed.state.exit == nil ? .lost : .ended), "byte \(position)")
      if judgement == .ended { ended += 1 }
    }
    #expect(ended > sound.count / 2, "the rest is used")
    for length in 0..<sound.count {
      await Task.yield()
      let (feed, judgement) = try judged("\(scratch.path)/cut", Array(sound[..<length]), run: run)
      #expect(feed.state.exit == nil && judgement == .lost, "\(length) bytes")
    }
  }

  @Test func damagedRecordsAreSetAsideWithTheirNameInTheLogAndTheirRunIsNotStartedAgain() async throws {
    var all = try await Surroundings()
    let (gate, marker) = (all.marker("gate"), all.marker("starts"))
    let id = try await all.dashboard.send("echo x >> \(marker); while [ ! -e \(gate) ]; do sleep 0.02; done; exit 5")
    try await all.dashboard.untilSaid(.running, id)
    let path = try #require(records(of: all.disk))
    try await all.killAgent()
    try Files.writeAtomically([], to: gate)
    let disk = all.disk
    try await eventually("its runner has left") { runners(of: disk).isEmpty }
    // The end is there and cannot be read any more.
    var bytes = try Files.read(path)
    bytes[bytes.count - 3] ^= 0xff
    try Files.writeAtomically(bytes, to: path)
    try await all.startAgent()
    #expect(try await all.dashboard.untilEnded(id).state == .lost)
    let second = try await all.dashboard.send("exit 4")
    #expect(try await all.dashboard.untilEnded(second).exitCode == 4, "the rest is used")
    #expect(all.contents(marker) == "x\n")
    #expect(all.contents(all.disk.logFile).contains(path + Worker.damagedSuffix))
    #expect(try Files.read(path + Worker.damagedSuffix) == bytes)
  }

  @Test func anOutputFileThatWasCutCostsItsOutputAndNotItsVerdict() async throws {
    var all = try await Surroundings()
    await all.dashboard.acknowledge(false)
    let id = try await all.dashboard.send("head -c 300000 /dev/zero; exit 3")
    try await all.dashboard.untilEnded(id)
    try await all.killAgent()
    #expect(truncate(all.log(id), 100_000) == 0)
    try await all.startAgent()
    await all.dashboard.acknowledge(true)
    let second = try await all.dashboard.send("exit 4")
    #expect(try await all.dashboard.untilEnded(second).exitCode == 4)
    #expect(await all.dashboard.verdict(id)?.exitCode == 3)
    let disk = all.disk
    try await eventually("nothing waits any more") { try await disk.status()?["unacknowledged"] == "0" }
    let log = all.contents(all.disk.logFile)
    #expect(log.contains("shorter than it was") && log.contains(all.log(id)))
  }

  @Test func anAgentWithoutAFreeDescriptorCallsNothingLost() async throws {
    var all = try await Surroundings()
    let gate = all.marker("gate")
    let id = try await all.dashboard.send("while [ ! -e \(gate) ]; do sleep 0.02; done; seq 1 3000; exit 6")
    try await all.dashboard.untilSaid(.running, id)
    try await all.killAgent()
    try await all.startAgent()
    let pid = all.agent.pid
    // From here on it can open nothing.
    try await all.disk.limitDescriptors(of: pid, to: 3)
    try Files.writeAtomically([], to: gate)
    let disk = all.disk
    try await eventually("its runner has ended") { runners(of: disk).isEmpty }
    let run = all.agent
    try await eventually("the agent says that it cannot look") { run.errorText.contains("cannot be looked at now") }
    #expect(await all.dashboard.verdict(id) == nil)
    try await all.disk.limitDescriptors(of: pid, to: 1000)
    #expect(try await all.dashboard.untilEnded(id).exitCode == 6)
    try await all.dashboard.until("its output is whole") {
      $0.text(of: id) == (1...3000).map { "\($0)\n" }.joined()
    }
  }
}
