// The commands are what the check believes in: each is run here by a shell, as an agent would run it.
import CSpawn
import Foundation
import Shared
import Testing

@testable import Chaos

@Suite struct PostedTaskTests {
  @Test func everyCommandPrintsWhatIsExpectedOfItAndWritesItsLines() throws {
    let folder = try Folder.makeTemporary()
    defer { Folder.remove(folder) }
    var seen: Set<PostedTask.Kind> = []
    for number in 0..<2000 where seen.count < PostedTask.Kind.allCases.count {
      let task = PostedTask(seed: 1, number: number, agents: 2)
      guard ![.limited, .scattered, .endless, .long, .missing].contains(task.kind), seen.insert(task.kind).inserted else {
        continue
      }
      let grounds = Grounds(folder: "\(folder)/\(number)", marker: "none")
      try Files.makeFolder(grounds.folder)
      let run = "host-0-\(number)"
      let body = try JSONReader.parse(task.body(grounds))
      let command = try #require(body["taskname"]?.asString)
      #expect(PostedTask.number(ofTaskname: command) == number)
      let before = Monotonic.milliseconds
      let child = try ChildProcess(
        "command", ["/bin/sh", "-c", command], environment: ["MUSTER_RUN": run], folder: grounds.folder,
        log: "\(grounds.folder)/out")
      #expect(Monotonic.wait(upTo: 30_000) { !child.isRunning })
      #expect(ProcessFile.read("\(grounds.folder)/out") == task.output(of: run), "\(task.kind)")
      var evidence = Evidence(seed: 1, agents: 2, redisForgets: false, databaseGoesBack: false)
      evidence.readDisk(grounds)
      #expect(evidence.starts[run]?.map(\.number) == [number] && evidence.oddLines.isEmpty, "\(task.kind)")
      #expect(evidence.ends[run] == 1, "\(task.kind)")
      // To ten milliseconds, and the harness reads two clocks one after the other.
      let at = try #require(evidence.starts[run]?.first?.at)
      #expect((before - 50...Monotonic.milliseconds + 50).contains(at), "\(task.kind)")
    }
    #expect(seen.count == PostedTask.Kind.allCases.count - 5)
  }

  @Test func aTasksFateIsWhatItsKindAllows() {
    let tasks = (0..<500).map { PostedTask(seed: 3, number: $0, agents: 2) }
    for task in tasks {
      #expect(
        task.allows(.succeeded, exitCode: 0, signal: nil) == ![.failing, .suicidal, .limited, .scattered, .endless, .missing]
          .contains(task.kind))
      #expect(task.allows(.expired, exitCode: nil, signal: nil) == (task.kind == .expiring))
      #expect(!task.allows(.lost, exitCode: nil, signal: nil) && !task.allows(.killed, exitCode: nil, signal: "TERM"))
    }
  }

  @Test func aLineOfTheFileOfStartsIsWholeOrNone() {
    for line in ["host-0-1 70 5", "host-0-1 70 5 12.34", "host-0-1 70 plain 5", "host-0-1 70 plain 5 12.34"] {
      let start = StartLine(line, uptimeAhead: 2000)
      #expect(start?.run == "host-0-1" && start?.runner == 70, "\(line)")
      #expect(
        start?.number == (line.contains("plain") ? nil : 5) && start?.plain == (line.contains("plain") ? 5 : nil), "\(line)")
      #expect(start?.at == (line.contains(".") ? 10_340 : nil), "\(line)")
    }
    for line in ["", "host-0-1", "host-0-1 70", "host-0-1 x 5", "host-0-1 70 plain", "host-0-1 70 5 x", "host-0-1 70 5 1.0 2"] {
      #expect(StartLine(line) == nil, "\(line)")
    }
  }

  @Test func whatDoesNotEndByItselfIsAskedToBeKilledUntilSomebodyHasTakenThat() throws {
    let tasks = (0..<500).map { PostedTask(seed: 3, number: $0, agents: 2) }
    let endless = try #require(tasks.first { $0.kind == .endless })
    let short = try #require(tasks.first { $0.kind == .short })
    #expect(tasks.allSatisfy { $0.kind != .endless || $0.killAfter != nil })
    let restore = Deeds.Restore(copiedAt: 1000, restoredAt: 2000)
    func needsKill(_ task: PostedTask?, _ taskname: String = RunRow.unknownTaskname, toldAt: Int? = nil) -> Bool {
      let row = RunRow(run: "host-0-1", agent: "host-0", taskname: taskname, state: .running)
      return Load.needsKill(row, task, toldAt: toldAt, restores: [restore])
    }
    #expect(needsKill(endless) && !needsKill(short))
    // Nobody knows what it is; and a plain one, whose name says it.
    #expect(needsKill(nil) && !needsKill(nil, Load.plainName(4)))
    // It was taken: before the copy, in what was forgotten, after it.
    #expect(!needsKill(endless, toldAt: 900) && needsKill(endless, toldAt: 1500) && !needsKill(endless, toldAt: 2100))
  }
}
