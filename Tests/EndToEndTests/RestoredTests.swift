// A dashboard that went on with yesterday's copy of its database: it asks before it sends, keeps what agents tell of runs that it never made,
// and nothing is started twice.
import Foundation
import Glibc
import Testing

@Suite struct RestoredTests {
  /// Rules `number`, `raises`, `kept`, `tomb`.
  @Test func aRestoredDashboardAsksBeforeItSendsAndKeepsWhatItNeverMade() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let (starts, gate) = (stand.folder.appendingPathComponent("starts"), stand.folder.appendingPathComponent("gate"))
      let line = "echo $MUSTER_RUN >> \(starts.path)"
      try await stand.startAgent("r-1")
      // Known, and away: what is posted now is queued in the copy.
      try await stand.agent("r-1").end(SIGTERM)
      _ = try await eventually("it is offline") { try await stand.get("/v1/agents/r-1")["online"] as? Bool == false ? true : nil }
      let ran = try await stand.task("r-1", line)
      let posted = ContinuousClock.now
      let late = try await stand.task("r-1", line, ["expires": 20])
      let wanted = try await stand.task("r-1", line)
      let both = try await stand.task("r-1", line, ["expires": 20])
      try await stand.killDashboard(SIGTERM)
      try stand.copyDatabase()

      try await stand.restartDashboard()
      for auuid in [wanted, both] {
        #expect(try await stand.kill(auuid).status == 202)
        #expect(try await stand.verdict(auuid)["state"] as? String == "cancelled")
      }
      try await stand.startAgent("r-1")
      for auuid in [ran, late] { #expect(try await stand.verdict(auuid)["state"] as? String == "succeeded") }
      let foreign = try await stand.task("r-1", "\(line); while [ ! -e \(gate.path) ]; do sleep 0.05; done; echo told; exit 5")
      try await stand.run(foreign, is: "running")
      let fence = try #require(Int(try await stand.redisCLI("get", "muster:fence")))
      // Until the copy must take the one for expired.
      try await Task.sleep(for: .seconds(21) - posted.duration(to: .now))
      try await stand.killDashboard()
      try stand.restoreDatabase()

      try await stand.restartDashboard()
      // Rules `kept` and `raises`: the copy knows a smaller fence; Redis does not, and its agent's scripts refuse it from the comparison on.
      _ = try await eventually("the agent's fence is above every one before") {
        Int(try await stand.redisCLI("get", "muster:{r-1}:fence")).map { $0 > fence } == true ? true : nil
      }
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      // Neither sent again nor expired: the journal knows how they ended. The cancelled ones are kept back by their tombstones.
      for auuid in [ran, late] { #expect(try await stand.verdict(auuid)["state"] as? String == "succeeded") }
      for auuid in [wanted, both] { #expect(try await stand.verdict(auuid)["state"] as? String == "cancelled") }
      let run = try await stand.verdict(foreign)
      #expect(run["state"] as? String == "failed" && run["exitCode"] as? Int == 5 && run["uuid"] as? String == "r-1")
      #expect(
        (run["note"] as? String)?.contains("no record of accepting it") == true && run["taskname"] as? String == "(unknown)")
      let task = try await stand.get("/v1/tasks/\(run["task"] as? String ?? "")")
      #expect(task["origin"] as? String == "report")
      let reports = try await stand.get("/v1/health")["reports"] as? [String: Int]
      #expect(reports?["found"] == 1, "\(String(describing: reports))")
      let lines = try String(contentsOf: starts, encoding: .utf8).split(separator: "\n").map(String.init)
      #expect(lines.sorted() == [ran, late, foreign].sorted(), "each was started once")
    }
  }
}

extension Stand {
  /// While no dashboard has it open.
  func copyDatabase() throws { try moveDatabase(from: "data", to: "copy") }
  /// Puts the copy back.
  func restoreDatabase() throws { try moveDatabase(from: "copy", to: "data") }

  private func moveDatabase(from: String, to: String) throws {
    let (from, to) = (folder.appendingPathComponent(from), folder.appendingPathComponent(to))
    try FileManager.default.createDirectory(at: to, withIntermediateDirectories: true)
    for name in ["muster.sqlite", "muster.sqlite-wal", "muster.sqlite-shm"] {
      let (source, target) = (from.appendingPathComponent(name), to.appendingPathComponent(name))
      if FileManager.default.fileExists(atPath: target.path) { try FileManager.default.removeItem(at: target) }
      if FileManager.default.fileExists(atPath: source.path) { try FileManager.default.copyItem(at: source, to: target) }
    }
  }
}
