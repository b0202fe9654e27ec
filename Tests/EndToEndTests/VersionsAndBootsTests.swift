// Upgrades in either order, and a host that starts anew in the middle: the real programs, some of which pretend (debug builds only) to be a
// later version, or to live on another boot.
import Foundation
import Glibc
import Testing

@Suite struct VersionsAndBootsTests {
  private func speaking(_ version: Int) -> [String: String] {
    version == 1 ? [:] : ["MUSTER_PRETEND_PROTOCOL": "\(version)", "MUSTER_PRETEND_RECORDS": "1"]
  }

  private func state(_ stand: Stand, _ auuid: String) async throws -> String? {
    try await stand.get("/v1/runs/\(auuid)")["state"] as? String
  }

  @Test func dashboardAndAgentAreUpgradedInEitherOrderAndWhatIsTwoApartIsRefusedInWordsAndLosesNothing() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("v1")
      let gate = stand.folder.appendingPathComponent("gate")
      let starts = stand.folder.appendingPathComponent("starts")
      let line = "echo $MUSTER_RUN >> \(starts.path); "
      let long = try await stand.task("v1", line + "while [ ! -e \(gate.path) ]; do sleep 0.02; done; echo end; exit 5")
      _ = try await eventually("it runs") { try await state(stand, long) == "running" ? true : nil }
      var all = [long]
      // The dashboard first, then the agent, whose run goes on under the earlier one's runner; then the dashboard back again.
      for (dashboard, agent) in [(2, 1), (2, 2), (1, 2)] {
        try await stand.killDashboard()
        try await stand.agent("v1").end(SIGKILL)
        try await stand.restartDashboard(environment: speaking(dashboard))
        try await stand.startAgent("v1", environment: speaking(agent))
        let auuid = try await stand.task("v1", line + "exit \(dashboard * 10 + agent)")
        #expect(try await stand.verdict(auuid)["exitCode"] as? Int == dashboard * 10 + agent)
        all.append(auuid)
      }
      // Two apart: neither understands the other, both say so, and the run stays what it is.
      try await stand.agent("v1").end(SIGKILL)
      let agent = try await stand.startAgent("v1", environment: speaking(3), wait: false)
      let refused = try await stand.task("v1", line + "exit 6")
      all.append(refused)
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      _ = try await eventually("both say why") {
        stand.dashboard.text.contains("agent v1 speaks protocol 3, this program 1")
          && agent.text.contains("the dashboard speaks protocol 1, this program 3") ? true : nil
      }
      #expect(["queued", "sent"].contains(try await state(stand, refused)))
      #expect(["running", "unknown"].contains(try await state(stand, long)))
      try await agent.end(SIGTERM)
      try await stand.startAgent("v1", environment: speaking(2))
      let last = try await stand.verdict(long)
      #expect(last["state"] as? String == "failed" && last["exitCode"] as? Int == 5)
      #expect(try await stand.verdict(refused)["exitCode"] as? Int == 6)
      let started = try String(contentsOf: starts, encoding: .utf8).split(separator: "\n").map(String.init)
      #expect(started.sorted() == all.sorted())
    }
  }

  @Test func aTaskThatRebootsItsHostIsLostAndTheHostDoesNotRebootAgain() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent(
        "b1", settings: ["task": ["concurrency": 1]], environment: ["MUSTER_PRETEND_BOOT": "first"])
      let starts = stand.folder.appendingPathComponent("starts")
      let gate = stand.folder.appendingPathComponent("gate")
      // What `reboot` does to all of them, in one go: the agent, the runner, the command.
      let reboot = try await stand.task(
        "b1",
        "echo $MUSTER_RUN >> \(starts.path); while [ ! -e \(gate.path) ]; do sleep 0.02; done; kill -9 \(agent.pid) $PPID $$")
      let waiting = try await stand.task("b1", "echo $MUSTER_RUN >> \(starts.path)")
      let settings = stand.folder.appendingPathComponent("b1.json").path
      _ = try await eventually("the second one is taken") {
        String(decoding: try await output(of: "agent", ["status", "-f", settings]), as: UTF8.self).contains("waiting: 1")
          ? true : nil
      }
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      _ = try await eventually("the host is down") { agent.status }
      for boot in ["second", "third"] {
        let again = try await stand.startAgent("b1", environment: ["MUSTER_PRETEND_BOOT": boot])
        let run = try await stand.verdict(reboot)
        #expect(run["state"] as? String == "lost")
        #expect(run["note"] as? String == "the host was started anew before the run had ended")
        #expect(try await stand.verdict(waiting)["state"] as? String == "lost")
        let next = try await stand.task("b1", "exit 7")
        #expect(try await stand.verdict(next)["exitCode"] as? Int == 7)
        #expect(try String(contentsOf: starts, encoding: .utf8) == "\(reboot)\n")
        try await again.end(SIGKILL)
      }
    }
  }
}
