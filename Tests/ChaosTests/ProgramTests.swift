// The program itself. `aTwoMinutePlanBreaksNoPromise` is the chaos of `make test`; `make chaos` takes longer ones.
import Foundation
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
    try ChildProcess("chaos", ["\(Self.programs)/chaos"] + arguments, folder: folder, log: "\(folder)/out")
  }

  private func withFolder(_ body: (String) throws -> Void) throws {
    let folder = try Folder.makeTemporary()
    defer { Folder.remove(folder) }
    try body(folder)
  }

  private func text(_ folder: String) -> String { String(decoding: ProcessFile.read("\(folder)/out"), as: UTF8.self) }

  @Test func aTwoMinutePlanBreaksNoPromise() throws {
    try withFolder { folder in
      let seed = Int(Date().timeIntervalSince1970) % 1_000_000
      let chaos = try start(["--seed", "\(seed)", "--duration", "120", "--runs", "1500"], in: folder)
      let ended = Monotonic.wait(upTo: 560_000) { !chaos.isRunning }
      if !ended { chaos.signal(SIGINT) }
      #expect(ended && chaos.end == "exit code 0", "\(text(folder).suffix(6000))")
    }
  }

  @Test func anInterruptedChaosLeavesNothing() throws {
    try withFolder { folder in
      let chaos = try start(["--seed", "1", "--duration", "60", "--runs", "300"], in: folder)
      var ground = ""
      #expect(
        Monotonic.wait(upTo: 90_000) {
          guard let line = text(folder).split(separator: "\n").first(where: { $0.hasPrefix("chaos: seed") }) else { return false }
          ground = line.split(separator: " ").last.map(String.init) ?? ""
          return text(folder).contains(" s  SIG")
        }, "\(text(folder))")
      chaos.signal(SIGINT)
      #expect(Monotonic.wait(upTo: 120_000) { !chaos.isRunning })
      #expect(chaos.end == "exit code 3")
      #expect(ProcessTable.all(holding: ground) == [] && access(ground, F_OK) != 0)
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
