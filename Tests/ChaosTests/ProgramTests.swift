// The program itself. `aTwoMinutePlanBreaksNoPromise` is the chaos of `make test`; `make chaos` takes longer ones.
import Foundation
import Shared
import Testing

@testable import Chaos

@Suite struct ProgramTests {
  private static var programs: String {
    get throws {
      var folder = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
      for _ in 0..<5 {
        let candidate = folder.appendingPathComponent("chaos")
        if FileManager.default.isExecutableFile(atPath: candidate.path) { return folder.path }
        folder.deleteLastPathComponent()
      }
      throw HarnessFault("no program chaos: build all products first")
    }
  }

  private func start(_ arguments: [String], in folder: String) throws -> ChildProcess {
    // By it `scripts/test` finds what a module has left.
    let mark = ProcessInfo.processInfo.environment.filter { $0.key == "TEST_MODULE_RUN" }
    return try ChildProcess(
      "chaos", ["\(Self.programs)/chaos"] + arguments, environment: mark, folder: folder, log: "\(folder)/out")
  }

  private func withFolder(_ body: (String) throws -> Void) throws {
    let folder = try Folder.makeTemporary()
    defer { Folder.remove(folder) }
    try body(folder)
  }

  private func text(_ folder: String) -> String { String(decoding: ProcessFile.read("\(folder)/out"), as: UTF8.self) }

  /// The folder of its stand, once it has said so.
  private func ground(_ folder: String) -> String? {
    let line = text(folder).split(separator: "\n").first { $0.hasPrefix("chaos: seed") }
    return line?.split(separator: " ").last.map(String.init)
  }

  @Test func aTwoMinutePlanBreaksNoPromise() throws {
    try withFolder { folder in
      let seed = Int(Date().timeIntervalSince1970) % 1_000_000
      // The traces are removed here, and only where nothing is to be seen in them: also a plan that comes to no end leaves its own.
      let chaos = try start(["--seed", "\(seed)", "--duration", "120", "--runs", "1500", "--keep"], in: folder)
      // Less than scripts/test gives this module.
      let ended = Monotonic.wait(upTo: 900_000) { !chaos.isRunning }
      let end = chaos.end
      if !ended {
        chaos.signal(SIGINT)
        #expect(Monotonic.wait(upTo: 120_000) { !chaos.isRunning })
      }
      let traces = ground(folder)
      #expect(
        end == "exit code 0",
        "chaos --seed \(seed) --duration 120 --runs 1500: \(end); traces in \(traces ?? "no folder")\n\(text(folder).suffix(6000))"
      )
      if end == "exit code 0", let traces { Folder.remove(traces) }
    }
  }

  @Test func anInterruptedChaosLeavesNothing() throws {
    try withFolder { folder in
      let chaos = try start(["--seed", "1", "--duration", "60", "--runs", "300"], in: folder)
      #expect(Monotonic.wait(upTo: 90_000) { text(folder).contains(" s  SIG") }, "\(text(folder))")
      let ground = try #require(self.ground(folder))
      chaos.signal(SIGINT)
      #expect(Monotonic.wait(upTo: 120_000) { !chaos.isRunning })
      #expect(chaos.end == "exit code 3")
      #expect(ProcessTable.all(holding: ground) == [] && access(ground, F_OK) != 0)
    }
  }

  @Test func theSeedsOfACampaignAreAddedUp() throws {
    try withFolder { folder in
      let scripts = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../scripts")
        .standardized
      // Of three seeds the second breaks a promise, and the third comes to no result.
      let chaos = """
        #!/bin/sh
        [ "$4" = 9 ] && exit 3
        echo "sum: $4 runs accepted, 1$4 processes killed"
        [ "$4" = 7 ]

        """
      try Files.writeAtomically(Array(chaos.utf8), to: "\(folder)/chaos")
      #expect(chmod("\(folder)/chaos", 0o755) == 0)
      let campaign = try ChildProcess(
        "campaign", ["\(scripts.path)/chaos", folder, "7", "3"], folder: folder, log: "\(folder)/out")
      #expect(Monotonic.wait(upTo: 30_000) { !campaign.isRunning })
      #expect(campaign.end == "exit code 3")
      #expect(text(folder).hasSuffix("2 of 3 seeds to their end: 15 runs accepted, 35 processes killed\n"), "\(text(folder))")
      #expect(text(folder).contains("seed 8: BROKEN") && text(folder).contains("seed 9: no result"))
    }
  }

  @Test func wrongUsageIsSaid() throws {
    for arguments in [["--seed", "x"], ["--agents", "0"], ["--plan", "no"], ["--nothing"]] {
      try withFolder { folder in
        let chaos = try start(arguments, in: folder)
        #expect(Monotonic.wait(upTo: 30_000) { !chaos.isRunning })
        #expect(chaos.end == "exit code 2" && !text(folder).isEmpty)
      }
    }
  }
}
