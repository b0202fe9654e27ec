// A Cluster without replicas loses the node that holds an agent's keys, for longer than silence may last, and gets it back empty.
import Foundation
import RedisTestSupport
import Testing

@Suite struct PartOfAClusterTests {
  @Test func anAgentWhoseNodeIsAwayIsNotAbsentAndRegistersWhenItComesBackEmpty() async throws {
    let group = try await ClusterGroup.start()
    // The other nodes go on serving what is theirs.
    for master in group.masters { try await master.ask("CONFIG", "SET", "cluster-require-full-coverage", "no") }
    let holder = try await group.owner(of: "muster:agents").server
    var uuid = ""
    for number in 0..<50 where uuid.isEmpty {
      if try await group.owner(of: "{p\(number)}").server !== holder { uuid = "p\(number)" }
    }
    let own = try await group.owner(of: "{\(uuid)}").server
    try await withStand(redisSettings: ["cluster": group.masters.map { "127.0.0.1:\($0.port)" }]) {
      (stand: Stand) async throws -> Void in
      try await stand.startAgent(uuid)
      let gate = stand.folder.appendingPathComponent("gate")
      let auuid = try await stand.task(uuid, "while [ ! -e \(gate.path) ]; do sleep 0.05; done; echo done")
      _ = try await eventually("it runs") { () async throws -> Bool? in
        try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "running" ? true : nil
      }
      try await own.kill()
      let lost = ContinuousClock.now
      _ = try await eventually("the dashboard says which node is away") { () async throws -> Bool? in
        let health = try await stand.get("/v1/health")["redis"] as? String ?? ""
        return health.contains("127.0.0.1:\(own.port)") ? true : nil
      }
      // Absence is judged after 15 s of silence, looked at each second: none of these looks may find it absent.
      var wrong: [String] = []
      _ = try await eventually("more than 17 s have passed") { () async throws -> Bool? in
        let agent = try await stand.get("/v1/agents/\(uuid)")["online"] as? Bool
        let state = try await stand.get("/v1/runs/\(auuid)")["state"] as? String
        if agent != true || state != "running" { wrong.append("online \(agent ?? false), \(state ?? "-")") }
        return ContinuousClock.now - lost > .seconds(17) ? true : nil
      }
      #expect(wrong.isEmpty, "\(wrong.first ?? "")")
      let waiting = try await stand.task(uuid, "echo later")
      try await own.restart()
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      for run in [auuid, waiting] {
        #expect(try await stand.verdict(run)["state"] as? String == "succeeded")
      }
      #expect(try await own.ask("EXISTS", "muster:{\(uuid)}:lease").integer == 1)
    }
    try await group.stop()
  }

  /// Whether a dashboard reads is asked of another node than the agent's own: as long as nobody answers, what is the agent's own goes on.
  @Test func anAgentWithSomethingToTellHearsWhileNobodyKnowsOfADashboard() async throws {
    let group = try await ClusterGroup.start()
    for master in group.masters { try await master.ask("CONFIG", "SET", "cluster-require-full-coverage", "no") }
    let holder = try await group.owner(of: "muster:dashboard").server
    var uuid = ""
    for number in 0..<50 where uuid.isEmpty {
      if try await group.owner(of: "{q\(number)}").server !== holder { uuid = "q\(number)" }
    }
    let own = try await group.owner(of: "{\(uuid)}").server
    try await withStand(redisSettings: ["cluster": group.masters.map { "127.0.0.1:\($0.port)" }]) {
      (stand: Stand) async throws -> Void in
      try await stand.startAgent(uuid)
      try await stand.killDashboard()
      try await own.ask("HSET", uuid, "first", "echo first >> \(stand.starts.path)")
      func started() -> String { (try? String(contentsOf: stand.starts, encoding: .utf8)) ?? "" }
      _ = try await eventually("the first one runs") { started() == "first\n" ? true : nil }
      try await holder.kill()
      // Longer than an agent waits for an acknowledgement before it asks whether anybody reads (5 s).
      try await Task.sleep(for: .seconds(8))
      try await own.ask("HSET", uuid, "second", "echo second >> \(stand.starts.path)")
      _ = try await eventually("the second one runs", within: 10) { started() == "first\nsecond\n" ? true : nil }
      // What was to be told is told once somebody reads again.
      try await holder.restart()
      try await stand.restartDashboard()
      _ = try await eventually("both are in the history") { () async throws -> Bool? in
        let page = try await stand.get("/v1/runs?uuid=\(uuid)")
        let states = (page["items"] as? [[String: Any]] ?? []).compactMap { $0["state"] as? String }
        return states == ["succeeded", "succeeded"] ? true : nil
      }
    }
    try await group.stop()
  }
}
