// How programs end: a program of ours is a shell here that does what a bad one would do.
import Foundation
import Shared
import Testing

@testable import Chaos

@Suite struct StandTests {
  /// - Returns: what surprised the stand.
  private func surprises(_ agent: String, heeds: Bool = true, _ body: (Stand) -> Void) throws -> [String] {
    let folder = try Folder.makeTemporary()
    defer { Folder.remove(folder) }
    try Files.makeFolder("\(folder)/programs")
    try Files.writeAtomically(Array("#!/bin/sh\n\(agent)\nwhile :; do sleep 0.05; done\n".utf8), to: "\(folder)/programs/agent")
    #expect(chmod("\(folder)/programs/agent", 0o755) == 0)
    let stand = try Stand(
      StandSettings(folder: folder, programs: "\(folder)/programs", agents: 1, redisForgets: false, faultSeed: 1))
    defer { _ = stand.end(patience: 5000) }
    stand.start(.agent(0))
    let process = try #require(stand.process(.agent(0)))
    #expect(!heeds || Monotonic.wait(upTo: 60_000) { process.heeds(SIGTERM) })
    body(stand)
    return stand.surprises
  }

  @Test func aProgramThatHeedsSIGTERMHasToEndWithExitCode0() throws {
    #expect(try surprises("trap 'exit 0' TERM") { $0.terminate(.agent(0)) } == [])
    #expect(try surprises("trap 'exit 3' TERM") { $0.terminate(.agent(0)) }.contains { $0.contains("signal 15: exit code 3") })
    #expect(
      try surprises("trap 'kill -ABRT $$' TERM") { $0.terminate(.agent(0)) }.contains { $0.contains("signal 15: signal 6") })
    // At the end as well.
    #expect(try surprises("trap 'exit 3' TERM") { _ = $0.end(patience: 1000) }.contains { $0.contains("exit code 3") })
    // One that has only just been started knows nothing of signals. No shell: that blocks all of them while it starts something.
    #expect(try surprises("exec sleep 600", heeds: false) { $0.terminate(.agent(0)) } == [])
  }

  @Test func whatEndedByItselfIsToldWhateverIsDoneToItNext() throws {
    let next: [(Stand) -> Void] = [
      { $0.lookForSurprises() }, { $0.start(.agent(0)) }, { $0.end(.agent(0)) }, { $0.terminate(.agent(0)) },
      { _ = $0.end(patience: 1000) },
    ]
    for act in next {
      let surprises = try surprises("[ -e ended ] || { touch ended; exit 5; }", heeds: false) { stand in
        let process = stand.process(.agent(0))
        #expect(Monotonic.wait(upTo: 60_000) { process?.isRunning == false })
        act(stand)
      }
      #expect(surprises.count == 1 && surprises[0].contains("ended by itself: exit code 5"))
    }
  }

  @Test func whatIsKilledIsNoSurprise() throws {
    #expect(try surprises("", heeds: false) { $0.end(.agent(0)) } == [])
  }

  @Test func anEndIsRightForOneSignalOnly() {
    for heeded in [true, false] {
      #expect(ProcessEnd.signal(SIGKILL).isRight(after: SIGKILL, wasHeeded: heeded))
      #expect(ProcessEnd.exitCode(0).isRight(after: SIGTERM, wasHeeded: heeded))
      #expect(ProcessEnd.signal(SIGTERM).isRight(after: SIGTERM, wasHeeded: heeded) == !heeded)
      // It was gone before.
      #expect(!ProcessEnd.exitCode(0).isRight(after: SIGKILL, wasHeeded: heeded))
      for signal in [SIGTERM, SIGKILL] {
        #expect(!ProcessEnd.exitCode(1).isRight(after: signal, wasHeeded: heeded))
        #expect(!ProcessEnd.signal(SIGSEGV).isRight(after: signal, wasHeeded: heeded))
      }
    }
  }

  @Test func whatARunnerIsAboutToStartIsNoRunner() throws {
    let folder = try Folder.makeTemporary()
    defer { Folder.remove(folder) }
    // The part in brackets is a process of its own with the same command line.
    let runner = try ChildProcess(
      "runner", ["/bin/sh", "-c", "(touch began; sleep 600; :) & wait", "runner", "\(folder)/runners/1.rec"], folder: folder,
      log: "\(folder)/out")
    defer { for entry in ProcessTable.all(holding: folder) { kill(entry.pid, SIGKILL) } }
    #expect(Monotonic.wait(upTo: 60_000) { access("\(folder)/began", F_OK) == 0 })
    #expect(
      Monotonic.wait(upTo: 60_000) {
        ProcessTable.all(holding: folder).count { $0.commandLine.contains("wait runner \(folder)/") } == 2
      })
    #expect(ProcessTable.runners(under: folder) == [runner.pid])
  }
}
