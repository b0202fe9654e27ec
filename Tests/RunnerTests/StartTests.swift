// How a command is started: what it finds, what is told when it cannot be started, and that an output file is the proof of a start.

import Glibc
import Testing

@testable import Runner

struct StartTests {
  @Test func aShortRunComesBackWholeInOneMessage() async throws {
    try await withRunner { runner in
      let order = runner.shell("printf out; printf err >&2; exit 7")
      let ended = try runner.run(order)
      #expect(ended.exit.how == .exited(7))
      #expect(ended.exit.cause == .none)
      #expect(ended.message.output.map { Set($0) } == Set("outerr".utf8))
      #expect(ended.message.segments.offset == 0)
      #expect(ended.message.segments.segments.map(\.length) == [3, 3])
      #expect(Set(ended.message.segments.segments.map(\.stream)) == [.stdout, .stderr])
      #expect(ended.exit.total == 6 && ended.exit.dropped == 0 && ended.exit.left == 0 && ended.exit.notes == [])
      #expect(ended.exit.durationNanoseconds > 0)
      #expect(ended.exit.finishedWallMilliseconds >= ended.exit.startedWallMilliseconds)
      #expect(runner.file(order) == ended.message.output)
      try runner.waitForIdle()
      // The file tells the same as the messages.
      var recorded = RecordedAttempt()
      for record in runner.records() { recorded.apply(record) }
      #expect(recorded.exit == ended.exit)
      #expect(recorded.begin?.run == order.run && recorded.begin?.outputPath == order.outputPath)
      #expect(recorded.started?.pid == ended.pid)
    }
  }

  @Test func whatTheRunnerIsHeldToStandsInItsRecords() async throws {
    try await withRunner { runner in
      var order = runner.order("exit", "0")
      order.timeoutMilliseconds = 70_000
      order.graceMilliseconds = 2500
      let before = System.monotonic()
      _ = try runner.run(order)
      let begin = runner.records().compactMap { if case .begin(let begin) = $0 { begin } else { nil } }.first
      #expect(begin?.timeoutMilliseconds == 70_000 && begin?.graceMilliseconds == 2500)
      #expect((before...System.monotonic()).contains(begin?.monotonicNanoseconds ?? 0))
    }
  }

  @Test func anExitAtOnceIsAnExit() async throws {
    try await withRunner { runner in
      for code: Int32 in [0, 1, 42, 255] {
        let ended = try runner.run(runner.order("exit", "\(code)"))
        #expect(ended.exit.how == .exited(code))
        #expect(ended.message.output == [])
      }
    }
  }

  @Test func everySignalThatKillsIsNamed() async throws {
    try await withRunner { runner in
      let harmless: Set<Int32> = [SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, 32, 33]
      for signal in Int32(1)...64 where !harmless.contains(signal) {
        let ended = try runner.run(runner.order("die", "\(signal)"))
        #expect(ended.exit.how == .signalled(signal))
        #expect(ended.exit.cause == .none)
      }
    }
  }

  @Test func theCommandHasItsOwnSessionDefaultSignalsAndNothingOfTheRunners() async throws {
    try await withRunner { runner in
      var order = runner.order("myself")
      order.fileMask = 0o027
      order.limits = [AttemptOrder.Limit(resource: 7, soft: 64, hard: 64)]
      let ended = try runner.run(order)
      let text = String(decoding: ended.message.output ?? [], as: UTF8.self)
      #expect(text.contains("pid=\(ended.pid) group=\(ended.pid) session=\(ended.pid)\n"))
      #expect(text.contains("umask=\(0o027)\n"))
      #expect(text.contains("files=64\n"))
      #expect(text.contains("open=[0, 1, 2]\n"))
      #expect(text.contains("death=0\n"), "what ends it with its runner holds until exec alone")
      for line in ["SigIgn:\t0000000000000000", "SigBlk:\t0000000000000000"] {
        #expect(text.contains(line), "\(text)")
      }
    }
  }

  @Test func dispositionsThatTheRunnerItselfInheritedDoNotReachTheCommand() async throws {
    // What a shell ignores survives its exec, unless somebody resets it.
    try await withRunner(prelude: "trap '' INT QUIT PIPE HUP USR1 TERM CHLD") { runner in
      let text = String(decoding: try runner.run(runner.order("myself")).message.output ?? [], as: UTF8.self)
      #expect(text.contains("SigIgn:\t0000000000000000"), "\(text)")
      #expect(text.contains("SigBlk:\t0000000000000000"))
      // The runner itself is not hindered by it either: it still hears its children and TERM.
      kill(runner.process.pid, SIGTERM)
      #expect(try runner.waitForExit() == 0)
    }
  }

  @Test func argumentsEnvironmentDirectoryAndInputArriveByteForByte() async throws {
    try await withRunner { runner in
      var order = runner.shell("printf '%s|' \"$@\"; echo; env; pwd; cat")
      order.arguments += [Array("zero".utf8), [0xFF, 0xC3, 0x0A, 0x20], []]
      order.environment = [Array("A=1 2".utf8), Array("EMPTY=".utf8), Array("B=".utf8) + [0xFE]]
      order.directory = Array(runner.folder.path.utf8)
      order.standardInput = [0, 1, 2, 0xFF, 0x0A]
      let ended = try runner.run(order)
      let output = ended.message.output ?? []
      let start: [UInt8] = [0xFF, 0xC3, 0x0A, 0x20] + Array("||".utf8)
      #expect(output.starts(with: start))
      #expect(output.suffix(5) == [0, 1, 2, 0xFF, 0x0A])
      let lines = output.split(separator: 0x0A)
      #expect(lines.contains(Array("A=1 2".utf8)[...]) && lines.contains(Array("EMPTY=".utf8)[...]))
      #expect(lines.contains((Array("B=".utf8) + [0xFE])[...]))
      #expect(lines.contains(Array(runner.folder.path.utf8)[...]))
    }
  }

  @Test func aMegabyteOfInputIsReadAtTheCommandsPaceAndNoInputIsEmpty() async throws {
    try await withRunner { runner in
      var order = runner.shell("sleep 0.1; wc -c; cat")
      order.standardInput = [UInt8](repeating: 0x61, count: 1 << 20)
      try #require(try runner.run(order).message.output == Array("1048576\n".utf8))
      try #require(try runner.run(runner.shell("wc -c; readlink /proc/self/fd/0")).message.output == Array("0\n/dev/null\n".utf8))
    }
  }

  @Test func whatCannotBeStartedSaysWhyAndTheRunnerGoesOn() async throws {
    try await withRunner { runner in
      let plain = "\(runner.folder.path)/plain"
      try RecordsFileTests.write(Array("no program".utf8), to: plain)
      var directory = runner.shell("true")
      directory.directory = Array("\(runner.folder.path)/none".utf8)
      var tooLong = runner.shell("true")
      tooLong.arguments += (0..<40).map { _ in [UInt8](repeating: 0x61, count: 120_000) }
      chmod(plain, 0o644)
      let cases: [(AttemptOrder, Int32, Int32)] = [
        (runner.order(program: "/none/of/this", ["x"]), ENOENT, 8), (runner.order(program: plain, ["x"]), EACCES, 8),
        (runner.order(program: "/tmp", ["x"]), EACCES, 8), (directory, ENOENT, 6), (tooLong, E2BIG, 8),
      ]
      for (order, error, step) in cases {
        try runner.send(.attempt(order))
        let pid = try runner.wait { if case .began(_, _, let pid, _) = $0 { pid } else { nil } }
        #expect(pid == 0)
        let ended = try runner.end()
        #expect(ended.exit.how == .couldNotStart(error, step: step))
        #expect(ended.message.output == [])
        #expect(runner.file(order) == [], "the output file says that starting was tried")
        try runner.waitForIdle()
      }
      chmod(plain, 0o755)
      #expect(try runner.run(runner.order(program: plain, ["x"])).exit.how == .couldNotStart(ENOEXEC, step: 8))
      #expect(try runner.run(runner.shell("echo fine")).exit.how == .exited(0))
    }
  }

  @Test func anOutputFileThatIsThereIsProofAndRefusesTheStart() async throws {
    try await withRunner { runner in
      let order = runner.shell("echo twice > \(runner.folder.path)/ran")
      try RecordsFileTests.write(Array("first start".utf8), to: String(decoding: order.outputPath, as: UTF8.self))
      try runner.send(.attempt(order))
      let refused = try runner.wait { if case .refused(let record) = $0 { record } else { nil } }
      #expect(refused == RefusedRecord(run: order.run, attempt: 1, reason: .outputExists, error: EEXIST))
      try runner.waitForIdle()
      #expect(contents(of: "\(runner.folder.path)/ran") == nil)
      #expect(runner.text(order) == "first start")
      var nowhere = runner.shell("true")
      nowhere.outputPath = Array("\(runner.folder.path)/none/x.log".utf8)
      try runner.send(.attempt(nowhere))
      let second = try runner.wait { if case .refused(let record) = $0 { record } else { nil } }
      #expect(second.reason == .outputFailed && second.error == ENOENT)
      #expect(try runner.run(runner.shell("true")).exit.how == .exited(0))
    }
  }

  @Test func anOrderThatCannotBeReadOrHoldsANulIsRefused() async throws {
    try await withRunner { runner in
      var order = runner.shell("true")
      order.arguments[2] += [0, 1]
      try runner.send(.attempt(order))
      let refused = try runner.wait { if case .refused(let record) = $0 { record } else { nil } }
      #expect(refused.reason == .malformed && refused.run == order.run)
      #expect(runner.file(order) == nil)
      try runner.waitForIdle()
      try runner.send(bytes: FrameBuffer.framed(1, TLVWriter()) + FrameBuffer.framed(200, TLVWriter()))
      let unreadable = try runner.wait { if case .refused(let record) = $0 { record } else { nil } }
      #expect(unreadable.reason == .malformed && unreadable.run == "")
      try runner.waitForIdle()
      try #require(try runner.run(runner.shell("exit 3")).exit.how == .exited(3))
    }
  }

  @Test(.enabled(if: getuid() == 0, "only root may become somebody else"))
  func aCommandMayRunAsAnotherUser() async throws {
    try await withRunner { runner in
      var order = runner.order(program: "/bin/sh", ["sh", "-c", "id -u; id -g; id -G"])
      order.ids = AttemptOrder.Ids(user: 65534, group: 65533, groups: [65533, 12345])
      try #require(try runner.run(order).message.output == Array("65534\n65533\n65533 12345\n".utf8))
    }
  }

  @Test func aThousandRunsOfOneRunnerLeaveNothingOpen() async throws {
    try await withRunner { runner in
      func descriptors() -> Int {
        guard let folder = opendir("/proc/\(runner.process.pid)/fd") else { return -1 }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        return count
      }
      _ = try runner.run(runner.order(program: "/bin/true", ["true"]))
      try runner.waitForIdle()
      let before = (descriptors(), anonymousKiB(of: runner.process.pid))
      for number in 0..<1000 {
        var order = number % 3 == 0 ? runner.shell("echo \(number)") : runner.order(program: "/bin/true", ["true"])
        if number % 5 == 0 { order.standardInput = [1, 2, 3] }
        let ended = try runner.run(order)
        #expect(ended.exit.how == .exited(0))
        if number % 3 == 0 { #expect(ended.message.output == Array("\(number)\n".utf8)) }
        unlink(String(decoding: order.outputPath, as: UTF8.self))
      }
      try runner.waitForIdle()
      #expect(descriptors() == before.0)
      #expect(anonymousKiB(of: runner.process.pid) < before.1 + 256)
    }
  }
}

/// Anonymous resident memory.
func anonymousKiB(of pid: Int32) -> Int {
  let text = String(decoding: contents(of: "/proc/\(pid)/smaps_rollup") ?? [], as: UTF8.self)
  let line = text.split(separator: "\n").first { $0.hasPrefix("Anonymous:") }
  return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
}
