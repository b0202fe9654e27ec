// Deadlines and kills: the whole tree is ended, and what is said about it is true.

import Glibc
import Testing

@testable import Runner

struct EndingTests {
  func number(in text: String) -> Int32 { Int32(text.split(separator: "\n").first.map(String.init) ?? "") ?? 0 }

  @Test func aDeadlineEndsWithTermFirst() async throws {
    try await withRunner { runner in
      var order = runner.order("hang", "600000")
      order.timeoutMilliseconds = 200
      let ended = try runner.run(order)
      #expect(ended.exit.how == .signalled(SIGTERM))
      #expect(ended.exit.cause == .deadline)
      #expect(ended.exit.signalled == 1 && ended.exit.left == 0)
      #expect(ended.exit.durationNanoseconds >= 200_000_000)
      try runner.waitForIdle()
    }
  }

  @Test func whoIgnoresTermIsKilledAfterTheGrace() async throws {
    try await withRunner { runner in
      var order = runner.order("ignore-term")
      // It has to be deaf by then, on a machine that gives it no time too.
      order.timeoutMilliseconds = 3000
      order.graceMilliseconds = 300
      let ended = try runner.run(order)
      #expect(ended.exit.how == .signalled(SIGKILL))
      #expect(ended.exit.cause == .deadline)
      #expect(ended.exit.signalled == 1 && ended.exit.left == 0)
      #expect(ended.exit.durationNanoseconds >= 3_300_000_000)
      try runner.waitForIdle()
    }
  }

  @Test func aKillTakesItsSignalAndAnImpatientSecondOneItsShorterGrace() async throws {
    try await withRunner { runner in
      let order = runner.order("hang", "600000")
      _ = try runner.begin(order)
      try runner.waitForOutput(6)
      try runner.send(.kill(run: order.run, signal: SIGINT, graceMilliseconds: 60_000))
      let ended = try runner.end()
      #expect(ended.exit.how == .signalled(SIGINT) && ended.exit.cause == .kill)
      try runner.waitForIdle()

      let stubborn = runner.order("ignore-term")
      _ = try runner.begin(stubborn)
      try runner.waitForOutput(6)
      try runner.send(.kill(run: "another-run", signal: SIGKILL, graceMilliseconds: 0))
      try runner.send(.kill(run: stubborn.run, signal: SIGTERM, graceMilliseconds: 60_000))
      try runner.send(.kill(run: stubborn.run, signal: SIGTERM, graceMilliseconds: 50))
      let killed = try runner.end()
      #expect(killed.exit.how == .signalled(SIGKILL) && killed.exit.cause == .kill)
      try runner.waitForIdle()
    }
  }

  @Test func whatIsTidyingUpGetsItsGraceThoughTheLeaderIsGone() async throws {
    try await withRunner { runner in
      let order = runner.order("tidy-on-term")
      _ = try runner.begin(order)
      try runner.waitForOutput(6)
      try runner.send(.kill(run: order.run, signal: SIGTERM, graceMilliseconds: 60_000))
      let ended = try runner.end()
      #expect(ended.exit.how == .signalled(SIGTERM))
      #expect(runner.text(order) == "ready\ntidied\n")
      #expect(ended.exit.signalled == 2 && ended.exit.left == 0)
      try runner.waitForIdle()
    }
  }

  @Test(arguments: [0, 1]) func whoEscapedIntoAnotherSessionIsFoundAndEnded(ignoringTerm: Int) async throws {
    try await withRunner { runner in
      var order = runner.order("escape", "\(ignoringTerm)")
      order.graceMilliseconds = 200
      _ = try runner.begin(order)
      try runner.waitForOutput(2)
      let escaped = number(in: runner.text(order))
      #expect(isAlive(escaped))
      try runner.send(.kill(run: order.run, signal: SIGTERM, graceMilliseconds: 200))
      let ended = try runner.end()
      #expect(ended.exit.how == .signalled(SIGTERM))
      #expect(ended.exit.signalled == 2 && ended.exit.left == 0)
      #expect(!isAlive(escaped))
      try runner.waitForIdle()
    }
  }

  @Test func aShellFullOfChildrenIsEndedWhole() async throws {
    try await withRunner { runner in
      let order = runner.shell("for i in 1 2 3 4 5 6 7 8; do (trap '' TERM; while :; do sleep 5; done) & done; echo ready; wait")
      _ = try runner.begin(order)
      try runner.waitForOutput(6)
      try runner.send(.kill(run: "", signal: SIGTERM, graceMilliseconds: 100))
      let ended = try runner.end()
      #expect(ended.exit.cause == .kill && ended.exit.left == 0)
      #expect(ended.exit.signalled >= 9)
      try runner.waitForIdle()
    }
  }

  @Test func whatIsLeftOnPurposeLivesOnAndItsRunnerRetires() async throws {
    try await withRunner { runner in
      let order = runner.shell("setsid sleep 600 >/dev/null 2>&1 & echo $!")
      let ended = try runner.run(order)
      let left = number(in: runner.text(order))
      #expect(ended.exit.how == .exited(0) && ended.exit.left == 1 && ended.exit.signalled == 0)
      #expect(!ended.exit.notes.contains(.pipeHeld))
      #expect(try runner.next() == .retiring)
      #expect(try runner.waitForExit() == 0)
      #expect(isAlive(left))
      kill(left, SIGKILL)
    }
  }

  @Test func aGrandchildWithThePipeDoesNotHoldUpTheVerdict() async throws {
    try await withRunner { runner in
      let order = runner.order("hold-pipe", "600000")
      let start = System.monotonic()
      let ended = try runner.run(order)
      #expect(System.monotonic() - start < 10_000_000_000)
      #expect(ended.exit.how == .exited(0) && ended.exit.left == 1)
      #expect(ended.exit.notes.contains(.pipeHeld))
      #expect(ended.exit.durationNanoseconds < 5_000_000_000, "the drain is not part of the run")
      let left = number(in: runner.text(order))
      #expect(isAlive(left))
      #expect(try runner.next() == .retiring)
      // The runner stays until nobody can write into the pipe any more.
      #expect(isAlive(runner.process.pid))
      kill(left, SIGKILL)
      #expect(try runner.waitForExit() == 0)
    }
  }

  @Test func whatIsLeftMayGoOnWritingWithoutDyingOfIt() async throws {
    try await withRunner { runner in
      let order = runner.order("talk-on", "300")
      let ended = try runner.run(order)
      #expect(ended.exit.left == 1 && ended.exit.notes.contains(.pipeHeld))
      let left = number(in: runner.text(order))
      _ = try runner.wait { $0 == .retiring ? true : nil } as Bool
      let size = runner.file(order)?.count
      // It ends by itself after its last line; a broken pipe would have ended it at its first.
      #expect(try runner.waitForExit() == 0)
      #expect(!isAlive(left))
      #expect(runner.file(order)?.count == size, "what comes after the verdict is not stored")
    }
  }

  @Test func aCommandThatClosesItsOutputIsNotOverBeforeItExits() async throws {
    try await withRunner { runner in
      let order = runner.order("close-and-go-on", "300")
      let ended = try runner.run(order)
      #expect(ended.exit.how == .exited(3))
      #expect(ended.exit.durationNanoseconds >= 300_000_000)
      #expect(runner.text(order) == "before\n")
      try runner.waitForIdle()
    }
  }

  @Test func aKillAfterTheExitChangesNothing() async throws {
    try await withRunner { runner in
      // The leader has gone; for as long as the drain lasts the attempt is still there.
      let order = runner.order("hold-pipe", "600000")
      _ = try runner.begin(order)
      try runner.waitForOutput(2)
      let left = number(in: runner.text(order))
      _ = poll { ProcessEntry(pid: left)?.parent == runner.process.pid }
      try runner.send(.kill(run: order.run, signal: SIGKILL, graceMilliseconds: 0))
      let ended = try runner.end()
      #expect(ended.exit.how == .exited(0) && ended.exit.cause == .none && ended.exit.left == 1)
      #expect(isAlive(left))
      kill(left, SIGKILL)
    }
  }

  @Test func termToTheRunnerEndsItsAttemptProperly() async throws {
    try await withRunner { runner in
      var order = runner.order("ignore-term")
      order.graceMilliseconds = 100
      let pid = try runner.begin(order)
      try runner.waitForOutput(6)
      kill(runner.process.pid, SIGTERM)
      let ended = try runner.end()
      #expect(ended.exit.how == .signalled(SIGKILL) && ended.exit.cause == .kill)
      #expect(try runner.next() == .retiring)
      #expect(try runner.waitForExit() == 0)
      #expect(!isAlive(pid))
    }
  }

  @Test func aStoppedCommandIsWokenToHearTheSignalThatEndsIt() async throws {
    try await withRunner { runner in
      let order = runner.shell("trap 'echo tidied; exit 7' TERM; echo ready; kill -STOP $$; while :; do sleep 0.01; done")
      let pid = try runner.begin(order)
      try runner.waitForOutput(6)
      #expect(poll { ProcessEntry(pid: pid)?.isStopped ?? false })
      try runner.send(.kill(run: order.run, signal: SIGTERM, graceMilliseconds: 60_000))
      let ended = try runner.end()
      #expect(ended.exit.how == .exited(7) && ended.exit.cause == .kill && ended.exit.left == 0)
      #expect(runner.text(order) == "ready\ntidied\n")
    }
  }

  @Test func aGrandchildThatKeepsTalkingDoesNotHoldTheVerdictForTwoSeconds() async throws {
    try await withRunner { runner in
      // It says a line every hundredth of a second: what was stored until the verdict tells how long that took, at most.
      let order = runner.order("talk-on", "1000")
      let ended = try runner.run(order)
      #expect(ended.exit.notes.contains(.pipeHeld) && ended.exit.left == 1)
      let lines = runner.text(order).split(separator: "\n")
      #expect(lines.count < 180, "\(lines.count) lines")
      kill(number(in: runner.text(order)), SIGKILL)
    }
  }

  /// The exit record of the last attempt, once it is there: what an agent that did not start this runner goes by.
  func recordedExit(_ runner: RunnerUnderTest) throws -> ExitRecord {
    var found: ExitRecord?
    guard
      poll({
        for case .exit(let exit) in runner.records() { found = exit }
        return found != nil
      }), let found
    else { throw TestFault("no exit record") }
    return found
  }

  @Test func aTimeLimitIsKeptThoughTheAgentIsGone() async throws {
    try await withRunner { runner in
      var order = runner.order("ignore-term")
      order.timeoutMilliseconds = 3000
      order.graceMilliseconds = 200
      let pid = try runner.begin(order)
      runner.disconnect()
      let exit = try recordedExit(runner)
      #expect(exit.cause == .deadline && exit.how == .signalled(SIGKILL) && exit.left == 0)
      #expect(try runner.waitForExit() == 0)
      #expect(!isAlive(pid))
    }
  }

  @Test func aRunnerThatIsNobodysChildReadsSignalAndGraceBesideItsRecords() async throws {
    try await withRunner { runner in
      let order = runner.order("hang", "600000")
      _ = try runner.begin(order)
      try runner.waitForOutput(6)
      runner.disconnect()
      let path = Array(runner.recordsPath.utf8)
      // Of another run: left alone, as is what cannot be read.
      #expect(KillRequest.write(run: "another", signal: SIGKILL, graceMilliseconds: 0, records: path) == 0)
      #expect(KillRequest.read(run: order.run, records: path) == .another)
      #expect(KillRequest.write(run: order.run, signal: SIGUSR1, graceMilliseconds: 60_000, records: path) == 0)
      kill(runner.process.pid, SIGTERM)
      let exit = try recordedExit(runner)
      #expect(exit.how == .signalled(SIGUSR1) && exit.cause == .kill && exit.signalled == 1 && exit.left == 0)
      KillRequest.remove(path)
      #expect(contents(of: runner.recordsPath + ".kill") == nil)
    }
  }

  @Test func aRequestThatNamesAnotherRunEndsNothing() async throws {
    try await withRunner { runner in
      let order = runner.order("hang", "600000")
      _ = try runner.begin(order)
      try runner.waitForOutput(6)
      runner.disconnect()
      let held = try #require(try runner.holdUp())
      try held.release(.kill(run: "web-another", signal: SIGKILL, graceMilliseconds: 0))
      // The next one is for it.
      let path = Array(runner.recordsPath.utf8)
      #expect(KillRequest.write(run: order.run, signal: SIGUSR1, graceMilliseconds: 60_000, records: path) == 0)
      kill(runner.process.pid, SIGTERM)
      let exit = try recordedExit(runner)
      #expect(exit.how == .signalled(SIGUSR1) && exit.cause == .kill && exit.signalled == 1)
    }
  }

  /// Has exited, and nobody has looked yet.
  func isZombie(_ pid: Int32) -> Bool { ProcessEntry(pid: pid)?.isDead ?? false }

  @Test func whoExitedBeforeAKillReachedItsHeldUpRunnerWasNotKilled() async throws {
    try await withRunner { runner in
      let gate = "\(runner.folder.path)/gate"
      mkfifo(gate, 0o600)
      let order = runner.shell("read x <\(gate); exit 5")
      let leader = try runner.begin(order)
      let held = try #require(try runner.holdUp())
      try RecordsFileTests.write([10], to: gate)
      #expect(poll { isZombie(leader) })
      try held.release(.kill(run: order.run, signal: SIGTERM, graceMilliseconds: 60_000))
      let exit = try runner.end().exit
      #expect(exit.how == .exited(5) && exit.cause == .none && exit.signalled == 0)
    }
  }

  @Test func whoExitedWhileItsRunnerWasHeldUpPastTheTimeLimitHasNotTimedOut() async throws {
    try await withRunner { runner in
      let gate = "\(runner.folder.path)/gate"
      mkfifo(gate, 0o600)
      var order = runner.shell("read x <\(gate); exit 6")
      order.timeoutMilliseconds = 6000
      let leader = try runner.begin(order)
      let begun = System.monotonic()
      let held = try #require(try runner.holdUp())
      try RecordsFileTests.write([10], to: gate)
      #expect(poll { isZombie(leader) && System.monotonic() > begun + 6_500_000_000 })
      try held.release(.kill(run: "web-another", signal: SIGTERM, graceMilliseconds: 0))
      let exit = try runner.end().exit
      #expect(exit.how == .exited(6) && exit.cause == .none && exit.signalled == 0)
      try runner.waitForIdle()
    }
  }

  @Test func whatCameWhileTheRunnerWasHeldUpInTheDrainIsOutputToo() async throws {
    // The drain lasts for a second and a half, in which it has to be met: on a machine that gives the test no time it is tried again.
    var isMet = false
    for _ in 0..<20 where !isMet {
      isMet = try await onThread {
        let runner = try RunnerUnderTest(folder: try TestFolder())
        let path = runner.folder.path
        mkfifo("\(path)/gate", 0o600)
        let talker = "echo $$ >\(path)/pid; while [ ! -e \(path)/late ]; do echo .; sleep 0.05; done; echo late"
        let order = runner.shell("sh -c '\(talker)' & read x <\(path)/gate; exit 4")
        let leader = try runner.begin(order)
        try runner.waitForOutput(2)
        try RecordsFileTests.write([10], to: "\(path)/gate")
        #expect(poll { ProcessEntry(pid: leader) == nil })
        guard let held = try runner.holdUp() else { return false }
        try RecordsFileTests.write([], to: "\(path)/late")
        let left = number(in: String(decoding: contents(of: "\(path)/pid") ?? [], as: UTF8.self))
        #expect(left > 0 && poll { isZombie(left) })
        // Longer than the silence that ends a drain.
        usleep(300_000)
        try held.release()
        let exit = try runner.end().exit
        #expect(exit.how == .exited(4) && exit.notes == [] && exit.left == 0)
        #expect(runner.text(order).hasSuffix(".\nlate\n"))
        return true
      }
    }
    #expect(isMet)
  }

  @Test func anExitThatCannotBeRecordedIsTriedForAsLongAsNobodyElseKnowsOfIt() async throws {
    try await withRunner { runner in
      let gate = "\(runner.folder.path)/gate"
      mkfifo(gate, 0o600)
      let order = runner.shell("read x <\(gate); exit 9")
      let leader = try runner.begin(order)
      try runner.limitFiles(to: 1)
      try RecordsFileTests.write([10], to: gate)
      #expect(poll { ProcessEntry(pid: leader) == nil })
      // It tries, and would give up after ten seconds, for there is an agent that can be told.
      #expect(throws: TestFault.self) { try runner.next(within: 1) }
      runner.disconnect()
      #expect(!poll(within: 12) { !isAlive(runner.process.pid) })
      try runner.limitFiles(to: nil)
      #expect(try recordedExit(runner).how == .exited(9))
      #expect(try runner.waitForExit() == 0)
    }
  }

  static let hasOwnNumbers =
    getuid() == 0 && access("/proc/sys/kernel/ns_last_pid", W_OK) == 0 && access("/usr/bin/unshare", X_OK) == 0

  @Test(.enabled(if: hasOwnNumbers, "NOT TESTED: process numbers cannot be chosen here (run the tests as root)"))
  func aDescendantThatGetsTheLeadersNumberIsNotTakenForIt() async throws {
    try await withRunner(inside: "/usr/bin/unshare --pid --fork --kill-child --mount-proc") { runner in
      let path = runner.folder.path
      // It leaves the leader's session, or the number would not be free; waits until it is; and lets an orphan have it.
      let script = """
        while [ -e /proc/$1 ]; do :; done
        (echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid; sh -c 'echo $$ >\(path)/second; exit 7' &)
        while [ ! -s \(path)/second ] || [ -e /proc/$1 ]; do echo .; sleep 0.05; done
        """
      try RecordsFileTests.write(Array(script.utf8), to: "\(path)/script")
      let order = runner.shell("echo $$ >\(path)/first; setsid sh \(path)/script $$ & exit 3")
      let exit = try runner.run(order).exit
      #expect(exit.how == .exited(3))
      #expect(contents(of: "\(path)/first") == contents(of: "\(path)/second"))
    }
  }

  @Test func aHarderRequestBesideTheRecordsReplacesTheFirst() async throws {
    try await withRunner { runner in
      let order = runner.order("ignore-term")
      _ = try runner.begin(order)
      try runner.waitForOutput(6)
      runner.disconnect()
      let path = Array(runner.recordsPath.utf8)
      #expect(KillRequest.write(run: order.run, signal: SIGTERM, graceMilliseconds: 600_000, records: path) == 0)
      kill(runner.process.pid, SIGTERM)
      #expect(KillRequest.write(run: order.run, signal: SIGKILL, graceMilliseconds: 0, records: path) == 0)
      kill(runner.process.pid, SIGTERM)
      let exit = try recordedExit(runner)
      #expect(exit.how == .signalled(SIGKILL) && exit.cause == .kill)
    }
  }

  @Test func anIdleRunnerLeavesOnTermOnRetireAndWhenItsAgentGoes() async throws {
    try await withRunner { runner in
      kill(runner.process.pid, SIGTERM)
      try #require(try runner.waitForExit() == 0)
    }
    try await withRunner { runner in
      try runner.send(.retire)
      #expect(try runner.next() == .retiring)
      #expect(try runner.waitForExit() == 0)
    }
    try await withRunner { runner in
      runner.disconnect()
      try #require(try runner.waitForExit() == 0)
    }
  }

  @Test func otherSignalsDoNotDisturbARunner() async throws {
    try await withRunner { runner in
      for signal in [SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM] { kill(runner.process.pid, signal) }
      try #require(try runner.run(runner.shell("exit 4")).exit.how == .exited(4))
    }
  }
}
