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
      guard ![.limited, .long, .missing].contains(task.kind), seen.insert(task.kind).inserted else { continue }
      let grounds = Grounds(folder: "\(folder)/\(number)", marker: "none")
      try Files.makeFolder(grounds.folder)
      let run = "host-0-\(number)"
      let body = try JSONReader.parse(task.body(grounds))
      let command = try #require(body["taskname"]?.asString)
      #expect(PostedTask.number(ofTaskname: command) == number)
      let child = try ChildProcess(
        "command", ["/bin/sh", "-c", command], environment: ["MUSTER_RUN": run], folder: grounds.folder,
        log: "\(grounds.folder)/out")
      #expect(Monotonic.wait(upTo: 30_000) { !child.isRunning })
      #expect(ProcessFile.read("\(grounds.folder)/out") == task.output(of: run), "\(task.kind)")
      var evidence = Evidence(seed: 1, agents: 2, redisForgets: false, databaseGoesBack: false)
      evidence.readDisk(grounds)
      #expect(evidence.starts[run]?.map(\.number) == [number] && evidence.oddLines.isEmpty, "\(task.kind)")
      #expect(evidence.ends[run] == 1, "\(task.kind)")
    }
    #expect(seen.count == PostedTask.Kind.allCases.count - 3)
  }

  @Test func aTasksFateIsWhatItsKindAllows() {
    let tasks = (0..<500).map { PostedTask(seed: 3, number: $0, agents: 2) }
    for task in tasks {
      #expect(
        task.allows(.succeeded, exitCode: 0, signal: nil) == ![.failing, .suicidal, .limited, .missing].contains(task.kind))
      #expect(task.allows(.expired, exitCode: nil, signal: nil) == (task.kind == .expiring))
      #expect(!task.allows(.lost, exitCode: nil, signal: nil) && !task.allows(.killed, exitCode: nil, signal: "TERM"))
    }
  }
}
