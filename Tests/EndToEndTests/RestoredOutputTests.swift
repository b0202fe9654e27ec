// Output that was acknowledged after a copy of the database was made, and that the copy lacks when it is put back.
import Foundation
import Testing

@Suite struct RestoredOutputTests {
  /// Found by chaos: only what was printed after the restore stood in the log, as if it were everything.
  @Test func aRestoredDashboardGetsTheOutputThatItHadAcknowledgedBefore() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("ro")
      let gate = stand.folder.appendingPathComponent("gate").path
      let wait = { (number: Int) in "while [ ! -e \(gate)\(number) ]; do sleep 0.05; done" }
      let going = try await stand.task("ro", "\(wait(1)); echo first; \(wait(2)); echo last")
      let ended = try await stand.task("ro", "\(wait(1)); seq 1 5000; \(wait(3))")
      for run in [going, ended] { try await stand.run(run, is: "running") }
      let data = stand.folder.appendingPathComponent("data")
      let copy = stand.folder.appendingPathComponent("copy")
      try await stand.killDashboard()
      try FileManager.default.createDirectory(at: copy, withIntermediateDirectories: true)
      for name in ["muster.sqlite", "muster.sqlite-wal"] {
        try FileManager.default.copyItem(at: data.appendingPathComponent(name), to: copy.appendingPathComponent(name))
      }
      try await stand.restartDashboard()
      for number in [1, 3] { _ = FileManager.default.createFile(atPath: "\(gate)\(number)", contents: nil) }
      _ = try await stand.verdict(ended)
      let whole = Data((1...5000).flatMap { "\($0)\n".utf8 })
      _ = try await eventually("the output is there") {
        let (one, other) = (try await stand.log(going), try await stand.log(ended))
        return one == Data("first\n".utf8) && other == whole ? true : nil
      }
      try await stand.killDashboard()
      for name in ["muster.sqlite", "muster.sqlite-wal", "muster.sqlite-shm"] {
        let file = data.appendingPathComponent(name)
        if FileManager.default.fileExists(atPath: file.path) { try FileManager.default.removeItem(at: file) }
      }
      for name in ["muster.sqlite", "muster.sqlite-wal"] {
        try FileManager.default.copyItem(at: copy.appendingPathComponent(name), to: data.appendingPathComponent(name))
      }
      try await stand.restartDashboard()
      #expect(FileManager.default.createFile(atPath: "\(gate)2", contents: nil))
      for run in [going, ended] { #expect(try await stand.verdict(run, within: 60)["state"] as? String == "succeeded") }
      _ = try await eventually("all of the output is there again", within: 60) {
        let (one, other) = (try await stand.log(going), try await stand.log(ended))
        return one == Data("first\nlast\n".utf8) && other == whole ? true : nil
      }
    }
  }
}
