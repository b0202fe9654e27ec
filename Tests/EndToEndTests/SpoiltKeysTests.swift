// One agent's keys hold what no program of ours wrote: every agent may write its own, and so may whoever has a redis-cli. With the real programs.
import Foundation
import RedisTestSupport
import Shared
import Testing

@Suite struct SpoiltKeysTests {
  @Test func whatStandsInOneAgentsKeysStopsNobodyElse() async throws {
    let server = try await RedisServerProcess.start()
    // Their reports stand in one stream.
    let good = try #require((0..<100).map { "good-\($0)" }.first { Keys.shard(AgentID($0)) == Keys.shard(AgentID("bad-1")) })
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      for name in ["bad-1", "gone-1", good] { try await stand.startAgent(name) }
      try await stand.expectEnded(try await stand.task("bad-1", "true"), "succeeded")
      #expect(try await stand.delete("/v1/agents/gone-1").status == 200)
      // The next process compares everybody's numbers and writes the fences of removed agents before it hears anybody.
      try await stand.killDashboard()
      for key in ["muster:{bad-1}:sends", "muster:{gone-1}:fenced"] {
        _ = try await stand.redisCLI("del", key)
        _ = try await stand.redisCLI("hset", key, "spoilt", "1")
      }
      try await stand.restartDashboard()
      let waiting = try await stand.task("bad-1", "true")
      for _ in 0..<3 {
        try await stand.expectEnded(try await stand.task(good, "echo $MUSTER_RUN >> \(stand.starts.path)"), "succeeded")
      }
      _ = try await eventually("health names both") { () async throws -> Bool? in
        let warnings = try await stand.get("/v1/health")["warnings"] as? [String] ?? []
        return warnings.contains { $0.hasPrefix("2 agents left to wait") } ? true : nil
      }
      #expect(try await stand.get("/v1/agents/\(good)")["online"] as? Bool == true)
      #expect(try await stand.get("/v1/runs/\(waiting)")["state"] as? String == "queued")
      let refused = try await stand.delete("/v1/agents/bad-1")
      #expect(refused.status == 503 && refused.text.contains("WRONGTYPE"), "\(refused.text)")
      // A fence that nobody wrote who could: the dashboard goes on writing, and takes it back.
      _ = try await stand.redisCLI("del", "muster:{bad-1}:sends", "muster:{gone-1}:fenced")
      try await stand.expectEnded(waiting, "succeeded")
      _ = try await stand.redisCLI("set", "muster:{bad-1}:fence", "2000000")
      let held = try await stand.task("bad-1", "true")
      for _ in 0..<3 { try await stand.expectEnded(try await stand.task(good, "true"), "succeeded") }
      try await stand.expectEnded(held, "succeeded", within: 90)
      #expect(!stand.dashboard.text.contains("standing by"), "\(stand.dashboard.text.suffix(2000))")
    }
    try await server.stop()
  }
}
