// Runners that are at work without a connection to their agent: which attempt they have, what they are held to, and that a kill reaches them.

import Glibc
import Redis
import RedisTestSupport
import Runner
import Shared
import Testing

@testable import Agent

@Suite struct AdoptionTests {
  private let scratch = ScratchFolder(inMemory: true)

  /// Goes on until the file is there.
  private func waits(for gate: String, then rest: String) -> String {
    "echo up; while [ ! -e \(gate) ]; do sleep 0.02; done; \(rest)"
  }

  // MARK: Whose runner it is

  private func refusals(_ disk: AgentOnDisk) -> Set<String> {
    var runs: Set<String> = []
    for path in LostHandOffs.files(disk.state + "/runners") {
      var reader = RecordsReader(path: path)
      for case .refused(let record) in reader.rest().records { runs.insert(record.run) }
    }
    return runs
  }

  @Test func aRunThatARunnerRefusedIsNotTakenForTheOneThatThisRunnerHasAfterARestart() async throws {
    var all = try await Surroundings(["task": ["concurrency": 1]])
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    let (disk, gate) = (all.disk, all.marker("gate"))
    let runner = try #require(runners(of: disk).first)
    // It can read its orders, and open nothing more: before it can say that it begins, it refuses.
    try await disk.limitDescriptors(of: runner, to: 6)
    let ids = [
      try await all.dashboard.send(waits(for: gate, then: "exit 7")),
      try await all.dashboard.send(waits(for: gate, then: "exit 7")),
    ]
    let runs = Set(ids.map { "web-1-\($0.task)" })
    try await eventually("both were refused") { self.refusals(disk) == runs }
    try await disk.limitDescriptors(of: runner, to: 256)
    try await all.dashboard.until("one of them runs") { dashboard in ids.contains { dashboard.text(of: $0) == "up\n" } }
    let firstRuns = await all.dashboard.text(of: ids[0]) == "up\n"
    let (busy, refused) = firstRuns ? (ids[0], ids[1]) : (ids[1], ids[0])
    #expect(runners(of: disk) == [runner])
    try await all.killAgent()
    try await all.startAgent()
    let status = try #require(try await disk.status())
    #expect(status["running"] == "1 of 1" && status["waiting"] == "1")
    try await all.dashboard.control(.cancel, [refused], cause: .cancelled, grace: 0)
    #expect(try await all.dashboard.untilEnded(refused).state == .cancelled)
    try Files.writeAtomically([], to: gate)
    #expect(try await all.dashboard.untilEnded(busy).exitCode == 7)
  }

  /// What a feed makes of records in which the attempt is to begin at `start`.
  private func feed(_ run: RunID, _ records: [RunnerRecord], start: UInt64) throws -> OutputFeed {
    let path = "\(scratch.path)/\(records.count)-\(start)"
    try Files.writeAtomically(RunnerRecord.magic + records.flatMap(\.framed), to: path)
    let attempt = Attempt(
      id: AttemptID(task: run.task), run: run, knowledge: AttemptKnowledge(record: .taken, handedOff: true), stage: .working,
      spec: nil, plain: nil, startBefore: nil)
    let feed = OutputFeed(attempt, records: Array(path.utf8), offset: start, path: path + ".log")
    feed.advanceToEnd()
    return feed
  }

  @Test func theRecordsTellWhetherARunnerHasLetGoOfAnAttempt() throws {
    let task = ULIDGenerator()
    let (run, other) = (RunID(agent: AgentID("web-1"), task: task.next()), RunID(agent: AgentID("web-1"), task: task.next()))
    let opened = RunnerRecord.opened(
      OpenedRecord(process: ProcessIdentity(pid: 1, startTime: 2, bootID: "b"), wallMilliseconds: 3))
    func begin(_ run: RunID) -> RunnerRecord {
      .begin(BeginRecord(run: "\(run)", attempt: 1, outputPath: [], cap: 100, wallMilliseconds: 4))
    }
    func refused(_ run: RunID) -> RunnerRecord {
      .refused(RefusedRecord(run: "\(run)", attempt: 1, reason: .noResources, error: EMFILE))
    }
    let exit = RunnerRecord.exit(ExitRecord(run: "\(run)", attempt: 1, how: .exited(3)))
    let start = UInt64((RunnerRecord.magic + opened.framed).count)
    #expect(try !feed(run, [opened], start: start).isLetGo, "the order may be on its way")
    #expect(try !feed(run, [opened, begin(run)], start: start).isLetGo)
    #expect(try feed(run, [opened, refused(run)], start: start).isLetGo, "refused before it was begun")
    #expect(try feed(run, [opened, begin(run), refused(run)], start: start).isLetGo)
    #expect(try feed(run, [opened, begin(other)], start: start).isLetGo, "its refusal could not be recorded")
    #expect(try feed(run, [opened, begin(run), begin(other)], start: start).isLetGo, "its exit is damaged")
    // Where nobody knows from where on it is, others come before it.
    #expect(try !feed(run, [opened, begin(other), begin(run)], start: 0).isLetGo)
    #expect(try !feed(run, [opened, refused(other), begin(run)], start: start).isLetGo)
    let ended = try feed(run, [opened, begin(run), exit, begin(other), refused(other)], start: start)
    #expect(ended.state.exit?.how == .exited(3) && !ended.isLetGo)
  }

  /// A runner that could not write its exit for long tells it, and leaves no record of it.
  @Test func outputWhoseEndIsNotRecordedIsShippedToItsEnd() throws {
    let run = RunID(agent: AgentID("web-1"), task: ULIDGenerator().next())
    let begin = RunnerRecord.begin(BeginRecord(run: "\(run)", attempt: 1, outputPath: [], cap: 100, wallMilliseconds: 4))
    let told = RunnerRecord.segments(SegmentList(offset: 0, [Runner.Segment(.stdout, 3)]))
    for (records, expected) in [([begin, told], ["abc", "de"]), ([begin], ["abcde"])] {
      let feed = try feed(run, records, start: 0)
      try Files.writeAtomically(Array("abcde".utf8), to: String(decoding: feed.path, as: UTF8.self))
      var shipped: [String] = []
      while true {
        if let slice = feed.take(limit: 100) {
          shipped.append(String(decoding: slice.bytes, as: UTF8.self))
        } else if !feed.goesOnAfterTheEnd() {
          break
        }
      }
      #expect(shipped.joined() == expected.joined() && feed.isShipped, "\(shipped)")
    }
    // Records that cannot be read just now are asked again, for a while.
    let feed = try feed(run, [begin, told], start: 0)
    try Files.writeAtomically(Array("abcde".utf8), to: String(decoding: feed.path, as: UTF8.self))
    #expect(feed.take(limit: 100) != nil)
    #expect(feed.goesOnAfterTheEnd() && feed.isClosed && feed.available == 2)
    #expect(!feed.goesOnAfterTheEnd(), "once")
  }

  // MARK: What it is held to

  @Test func anAdoptedRunKeepsTheTimeLimitThatItsRunnerWasTold() async throws {
    // Agents that end a runner one second after it should have ended its command.
    var all = try await Surroundings(
      ["task": ["timeout": 86421, "grace": 1]], environment: ["MUSTER_PRETEND_PATIENCE": "1"])
    let gate = all.marker("gate")
    let id = try await all.dashboard.send(waits(for: gate, then: "exit 7"))
    try await all.dashboard.until("it runs") { $0.text(of: id) == "up\n" }
    try await all.killAgent()
    let settings = all.contents(all.disk.settingsFile).replacing("86421", with: "1")
    try Files.writeAtomically(Array(settings.utf8), to: all.disk.settingsFile)
    try await all.startAgent()
    // Longer than the limit of today, its grace, and the patience with runners.
    #expect(try await all.dashboard.untilEnded(try await all.dashboard.send("sleep 5; exit 3", timeout: 600)).exitCode == 3)
    #expect(await all.dashboard.verdict(id) == nil)
    try Files.writeAtomically([], to: gate)
    #expect(try await all.dashboard.untilEnded(id).exitCode == 7)
  }

  @Test func anAdoptedRunnerThatDoesNotKeepItsTimeLimitIsEnded() async throws {
    var all = try await Surroundings(
      ["task": ["timeout": 86421, "grace": 1]], environment: ["MUSTER_PRETEND_PATIENCE": "1"])
    let file = all.marker("pids")
    // Whatever wakes the runner, it is stopped again at once.
    let id = try await all.dashboard.send(
      "trap '' TERM; echo $$ > \(file); while kill -STOP $PPID; do :; done & wait; sleep 600", timeout: 4)
    let (scene, path) = (all, file)
    try await eventually("it runs") { !scene.pids(path).isEmpty }
    try await all.killAgent()
    try await all.startAgent()
    #expect(try await all.dashboard.untilEnded(id, within: .seconds(40)).state == .lost)
  }

  // MARK: That a kill reaches it

  /// A command that ends in its own way when it is told to.
  private let tidy = "trap 'exit 9' TERM; echo up; while :; do sleep 0.02; done"

  @Test func aRunnerWhoseConnectionIsLostGoesOnWithItsAttemptAndIsStillReached() async throws {
    let all = try await WorkInside(["task": ["concurrency": 1]])
    let (dashboard, gate) = (all.dashboard, all.marker("gate"))
    try await all.work { worker in
      let first = try await dashboard.send(waits(for: gate, then: "seq 1 3000; exit 6"))
      try await dashboard.until("it runs") { $0.text(of: first) == "up\n" }
      try await worker.loseConnection()
      try Files.writeAtomically([], to: gate)
      #expect(try await dashboard.untilEnded(first).exitCode == 6)
      let whole = "up\n" + (1...3000).map { "\($0)\n" }.joined()
      try await dashboard.until("its output is whole") { $0.text(of: first) == whole }
      let second = try await dashboard.send(tidy)
      try await dashboard.until("it runs") { $0.text(of: second) == "up\n" }
      try await worker.loseConnection()
      // Whether it is taken care of by then or not.
      try await dashboard.control(.cancel, [second], cause: .cancelled, grace: 60)
      let verdict = try await dashboard.untilEnded(second)
      #expect(verdict.state == .killed && verdict.exitCode == 9)
      #expect(try await dashboard.untilEnded(try await dashboard.send("exit 4")).exitCode == 4)
    }
  }

  @Test func aKillThatComesBeforeTheAgentHasHeardOfTheStartIsPassedOnOnce() async throws {
    let all = try await WorkInside(["task": ["concurrency": 2]])
    let (dashboard, disk, started, signals) = (all.dashboard, all.disk, all.marker("started"), all.marker("signals"))
    try await all.work { worker in
      try await dashboard.untilEnded(try await dashboard.send("true"))
      let runner = try #require(runners(of: disk).first)
      _ = killProcess(runner, SIGSTOP)
      let id = try await dashboard.send(
        "trap 'echo term >> \(signals)' TERM; echo > \(started); while :; do sleep 0.02; done")
      try await eventually("it was killed between its start and the agent's hearing of that") {
        try await worker.kill(id, of: runner, onceThereIs: started, butNotBeyond: signals)
      }
      try await eventually("it has heard of it") { Files.exists(signals) }
      // By the end of another one, a second signal would have been heard, too.
      try await dashboard.untilSaid(.running, id)
      try await dashboard.untilEnded(try await dashboard.send("sleep 0.5"))
      try await dashboard.control(.cancel, [id], cause: .cancelled, signal: "USR1", grace: 600)
      #expect(try await dashboard.untilEnded(id).signal == "USR1")
      #expect(all.contents(signals) == "term\n")
    }
  }

  @Test(arguments: [ENOSYS, EPERM])
  func onAHostWithoutPidfdsCommandsAreAdoptedWatchedAndEndedAllTheSame(_ error: Int32) async throws {
    var all = try await Surroundings(["task": ["grace": 1]])
    let (gate, file) = (all.marker("gate"), all.marker("pids"))
    let waiting = try await all.dashboard.send(waits(for: gate, then: "exit 7"))
    let tidying = try await all.dashboard.send(tidy)
    let abandoned = try await all.dashboard.send("echo $PPID > \(file); echo up; exec sleep 600")
    for id in [waiting, tidying, abandoned] { try await all.dashboard.until("it runs") { $0.text(of: id) == "up\n" } }
    try await all.killAgent()
    let child = Files.parent(of: AgentOnDisk.executable) + "/RunnerTestChild"
    let script = "#!/bin/sh\nexec \(child) without-pidfds \(error) \(AgentOnDisk.executable) \"$@\"\n"
    all.executable = all.marker("agent-without-pidfds")
    try Files.writeAtomically(Array(script.utf8), to: all.executable, mode: 0o755)
    try await all.startAgent()
    #expect(try await all.disk.status()?["running"] == "3 of 4")
    try await all.dashboard.control(.cancel, [tidying], cause: .cancelled, grace: 60)
    let killed = try await all.dashboard.untilEnded(tidying)
    #expect(killed.state == .killed && killed.exitCode == 9)
    _ = killProcess(try #require(all.pids(file).first))
    #expect(try await all.dashboard.untilEnded(abandoned).state == .lost)
    try Files.writeAtomically([], to: gate)
    #expect(try await all.dashboard.untilEnded(waiting).exitCode == 7)
    // Its own runners do without, too: also whoever left the session is found and ended.
    let own = try await all.dashboard.send("setsid sleep 600 & echo up; exec sleep 601")
    try await all.dashboard.until("it runs") { $0.text(of: own) == "up\n" }
    try await all.dashboard.control(.cancel, [own], cause: .cancelled, grace: 60)
    let ended = try await all.dashboard.untilEnded(own)
    #expect(ended.state == .killed && ended.signalled == 2 && ended.left == 0)
  }

  // MARK: What was never started

  @Test func aRunThatCannotBeStartedIsSettledOnceItsEndIsAcknowledged() async throws {
    let all = try await Surroundings()
    removeTree(all.disk.state + "/log/runs")
    let id = try await all.dashboard.send("true")
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.state == .failed && verdict.reason == "ENOENT")
    let disk = all.disk
    try await all.dashboard.until("nothing waits any more") { _ in try await disk.status()?["unacknowledged"] == "0" }
  }

  @Test func aRunThatIsRefusedAfterTheJournalTookANewIdentityIsLost() async throws {
    let all = try await WorkInside(["task": ["concurrency": 1]])
    let (dashboard, disk, marker) = (all.dashboard, all.disk, all.marker("ran"))
    try await all.work { worker in
      try await dashboard.untilEnded(try await dashboard.send("true"))
      let runner = try #require(runners(of: disk).first)
      try await disk.limitDescriptors(of: runner, to: 6)
      _ = killProcess(runner, SIGSTOP)
      let id = try await dashboard.send("echo x > \(marker)")
      try await eventually("it is on its way") { await worker.isWorking(id) }
      // As it does with a new identity.
      await worker.disownUnstarted()
      _ = killProcess(runner, SIGCONT)
      #expect(try await dashboard.untilEnded(id).state == .lost)
      try await disk.limitDescriptors(of: runner, to: 256)
      #expect(try await dashboard.untilEnded(try await dashboard.send("exit 3")).exitCode == 3)
      #expect(!Files.exists(marker))
    }
  }

  @Test func aHandOffOfWhichNobodyCanTellWhetherItWasStartedIsNotHandedOverAgainBeforeSomebodyCan() async throws {
    let all = try await WorkInside()
    let (dashboard, marker, runs) = (all.dashboard, all.marker("ran"), all.settings.runsFolder)
    let journal = try Journal.open(all.journalFile).journal
    let boot = try #require(ProcessBoot.current)
    let envelope = try await dashboard.envelope(TaskSpec(taskname: "echo x > \(marker)"), journal: journal.identity)
    try journal.append([
      .opened(.random(), bootID: boot),
      .taken(envelope.id, entry: try envelope.encoded(), number: envelope.number, wallMilliseconds: 1),
      .handedOff(
        envelope.id, records: Array("\(all.settings.runnersFolder)/none.rec".utf8),
        runner: .init(pid: 1, startTime: 1, bootID: boot)),
    ])
    try journal.syncNow()
    // Its runner had made the file; it stands where nobody can look just now.
    let elsewhere = all.marker("elsewhere")
    #expect(rename(runs, elsewhere) == 0)
    try Files.writeAtomically([], to: "\(elsewhere)/\(all.disk.uuid)-\(envelope.id.task).log")
    symlink("/tmp/" + String(repeating: "x", count: 300), runs)
    try await all.work { worker in
      _ = try await dashboard.lease()
      try await eventually("it was looked for") { await worker.looks(at: envelope.id) > 1 }
      #expect(await dashboard.verdict(envelope.id) == nil)
      unlink(runs)
      #expect(rename(elsewhere, runs) == 0)
      #expect(try await dashboard.untilEnded(envelope.id).state == .lost)
      #expect(!Files.exists(marker))
    }
  }

  // MARK: Process 1

  static let hasOwnNumbers = getuid() == 0 && access("/usr/bin/unshare", X_OK) == 0

  @Test(.enabled(if: hasOwnNumbers, "NOT TESTED: no namespace of processes can be made here (run the tests as root)"))
  func asProcessOneTheAgentWaitsForWhatItsRunsLeftBehind() async throws {
    let redis = try await RedisServerProcess.start()
    let disk = try AgentOnDisk(redisPort: redis.port)
    let dashboard = StandInDashboard(redis)
    _ = try await dashboard.connection.connected(within: .seconds(10))
    _ = try await dashboard.connection.send(RedisCommand("SET", Keys.dashboard, "stand-in"))
    _ = try disk.spawn(
      ["--pid", "--fork", "--kill-child", "--mount-proc", AgentOnDisk.executable, "run", "-f", disk.settingsFile],
      program: "/usr/bin/unshare")
    #expect(try await dashboard.lease().beat.pid == 1)
    let (gate, file) = ("\(disk.folder)/gate", "\(disk.folder)/pid")
    let id = try await dashboard.send(
      "setsid sh -c 'echo $$ > \(file); while [ ! -e \(gate) ]; do sleep 0.02; done' > /dev/null 2>&1 & while [ ! -s \(file) ]; do sleep 0.02; done"
    )
    // The shell, and the sleep it may be in.
    #expect(try await dashboard.untilEnded(id).left >= 1)
    // Its parent is the agent, once the runner has left.
    try await eventually("nobody is left to wait for it but the agent") {
      let look = try await dashboard.send("cut -d' ' -f4 /proc/$(cat \(file))/stat")
      try await dashboard.untilEnded(look)
      return await dashboard.text(of: look) == "1\n"
    }
    try Files.writeAtomically([], to: gate)
    try await eventually("it has been waited for") {
      let look = try await dashboard.send("test -e /proc/$(cat \(file))")
      return try await dashboard.untilEnded(look).exitCode == 1
    }
  }
}

extension Worker {
  /// As if the socket to the runner at work had failed.
  fileprivate func loseConnection() throws {
    let link = links.values.first { $0.attempt != nil }
    guard let link, shutdown(link.process.socket, Int32(SHUT_RDWR)) == 0 else { throw TestFailure("no runner is at work") }
  }

  fileprivate func isWorking(_ id: AttemptID) -> Bool { attempts[id]?.stage == .working }

  /// How often it could not be judged.
  fileprivate func looks(at id: AttemptID) -> Int { attempts[id]?.failedLooks ?? 0 }

  /// Asks for a kill at a moment at which the command is at work and the agent has not heard of that, for nothing else happens on this thread
  /// meanwhile; and for a second nothing happens behind it, unless the command hears of the kill sooner.
  /// - Parameter runner: stopped, for as long as it is not to begin.
  /// - Returns: false where it is not handed over yet.
  fileprivate func kill(_ id: AttemptID, of runner: pid_t, onceThereIs started: String, butNotBeyond heard: String) throws -> Bool
  {
    guard let attempt = attempts[id], attempt.stage == .working else { return false }
    guard attempt.startedAt == nil else { throw TestFailure("the agent has heard of it already") }
    _ = killProcess(runner, SIGCONT)
    let deadline = MonotonicTime.now + .seconds(20)
    while !Files.exists(started), MonotonicTime.now < deadline { usleep(1000) }
    kill(attempt, signal: SIGTERM, graceMilliseconds: 600_000)
    let end = MonotonicTime.now + .seconds(1)
    while !Files.exists(heard), MonotonicTime.now < end { usleep(1000) }
    return true
  }
}
