// Rules of docs/rules.md whose interleaving needs the real programs: each test names the rules that it forces.
import Foundation
import Glibc
import Redis
import RedisTestSupport
import Shared
import Testing

@Suite struct ForcedRuleTests {
  /// Rules `mark`, `word`: the dashboard dies once Redis has the envelope and before it hears so. The next one knows nothing but its store: were
  /// the run unmarked there, it would be ended in the store alone, and started by the agent all the same.
  @Test func aRunWhoseSendingKilledTheDashboardIsEndedByItsAgentsWordAlone() async throws {
    let server = try await RedisServerProcess.start()
    let proxy = try RedisProxy(to: server.port, scripts: [Scripts.send])
    try await withStand(redis: "127.0.0.1:\(proxy.port)") { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("mark-1", settings: ["redis": ["addr": "127.0.0.1", "port": server.port]])
      try await stand.expectEnded(try await stand.task("mark-1", "true"), "succeeded")
      // It hears nothing for now: what is sent stays in its inbox.
      kill(agent.pid, SIGSTOP)
      defer { kill(agent.pid, SIGCONT) }
      let dashboard = stand.dashboard.pid
      proxy.cut(at: RedisProxy.Place(command: "send", occurrence: 1), losing: .reply) { kill(dashboard, SIGKILL) }
      // Whether its answer gets out before the dashboard dies is chance; accepted it is.
      _ = try? await stand.task("mark-1", "echo $MUSTER_RUN >> \(stand.starts.path); sleep 600")
      _ = try await eventually("the dashboard is killed at its sending") {
        proxy.hasCut && !stand.dashboard.isRunning ? true : nil
      }
      #expect(try await server.ask("HLEN", Keys.inbox(AgentID("mark-1"))).integer == 1)

      try await stand.restartDashboard()
      let newest = try await stand.get("/v1/runs?uuid=mark-1&limit=1")["items"] as? [[String: Any]]
      let auuid = try #require(newest?.first?["auuid"] as? String)
      let answer = try await stand.kill(auuid)
      #expect(answer.status == 202 && answer["stopRequestedAt"] is String, "\(answer.text)")
      // The reconciler has looked several times, and nobody has answered.
      try await Task.sleep(for: .seconds(4))
      let open = try await stand.get("/v1/runs/\(auuid)")["state"] as? String ?? ""
      #expect(["sent", "unknown"].contains(open), "\(open)")
      kill(agent.pid, SIGCONT)
      let run = try await stand.verdict(auuid, within: 60)
      let starts = (try? String(contentsOf: stand.starts, encoding: .utf8)) ?? ""
      #expect(run["state"] as? String == (starts.isEmpty ? "cancelled" : "killed"), "\(run)")
      #expect(starts.isEmpty || starts == "\(auuid)\n")
    }
    try await server.stop()
  }

  /// Rules `hears`, `close`: the store is a copy in which the run was never sent, the journal that ran it is gone with its disk, and the new
  /// journal's hello is the first that the dashboard reads. Heard before the send numbers are compared, that hello would concern nobody; then the
  /// new journal would be asked, would not know the run, and would start it a second time.
  @Test func aRestoredStoreHearsOfANewJournalOnlyOnceItKnowsWhatItMayHaveSent() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("hears-1")
      try await stand.agent("hears-1").end(SIGTERM)
      _ = try await eventually("it is offline") {
        try await stand.get("/v1/agents/hears-1")["online"] as? Bool == false ? true : nil
      }
      let auuid = try await stand.task("hears-1", "echo $MUSTER_RUN >> \(stand.starts.path)")
      try await stand.killDashboard(SIGTERM)
      try stand.copyDatabase()
      try await stand.restartDashboard()
      try await stand.startAgent("hears-1")
      #expect(try await stand.verdict(auuid)["state"] as? String == "succeeded")
      try await stand.agent("hears-1").end(SIGTERM)
      try await stand.killDashboard()
      try stand.restoreDatabase()
      // A new disk: nothing on it tells of the start.
      try FileManager.default.removeItem(at: stand.stateFolder("hears-1"))
      let agent = try await stand.startAgent("hears-1", wait: false)
      _ = try await eventually("its hello waits for the dashboard") {
        guard agent.isRunning else { throw StandFault("the agent ended: \(agent.text.suffix(2000))") }
        for shard in 0..<4 where try await stand.redisCLI("xlen", "muster:verdicts:\(shard)") != "0" { return true }
        return nil
      }
      try await stand.restartDashboard()
      let run = try await stand.verdict(auuid, within: 60)
      #expect(run["state"] as? String == "lost", "\(run)")
      #expect(try String(contentsOf: stand.starts, encoding: .utf8) == "\(auuid)\n", "started once")
    }
  }
}
