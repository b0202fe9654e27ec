// One Redis in every mood, with the real programs: everything is taken up again by itself, tasks are accepted and history is read throughout,
// nothing is lost and nothing is started twice, and the logs say each mood once (docs/operations.md, "Moods").
import Foundation
import Glibc
import Redis
import RedisTestSupport
import Shared
import Testing

@Suite struct RedisMoodTests {
  /// Commands that write their run's id into `starts` on the host.
  private func post(_ stand: Stand, _ uuid: String, _ count: Int) async throws -> [String] {
    var auuids: [String] = []
    for _ in 0..<count {
      auuids.append(try await stand.task(uuid, "echo $MUSTER_RUN >> \(stand.starts.path); sleep 0.1; echo done"))
    }
    return auuids
  }

  /// One that goes on until the file `gate` is there, and has begun.
  private func postWaiting(_ stand: Stand, _ uuid: String, for gate: URL) async throws -> String {
    let auuid = try await stand.task(
      uuid, "echo $MUSTER_RUN >> \(stand.starts.path); while [ ! -e \(gate.path) ]; do sleep 0.1; done; echo done")
    _ = try await eventually("it has begun") {
      try String(contentsOf: stand.starts, encoding: .utf8).contains(auuid) ? true : nil
    }
    return auuid
  }

  private func expectEachOnce(_ stand: Stand, _ auuids: [String], within seconds: Double = 40) async throws {
    for auuid in auuids { try await stand.expectEnded(auuid, "succeeded", within: seconds) }
    let started = try String(contentsOf: stand.starts, encoding: .utf8).split(separator: "\n").map(String.init)
    #expect(started.count == Set(started).count && Set(started).isSuperset(of: auuids), "\(started.count) starts")
  }

  private func readsGoOn(_ stand: Stand) async throws {
    for path in ["/v1/health", "/v1/runs", "/v1/agents", "/v1/overview"] {
      #expect(try await stand.get(path).status == 200, "\(path)")
    }
  }

  /// A mood is in the logs when it begins and when it is over. The limits leave room for what a slow machine adds, such as a call that took
  /// too long; a line for each attempt would be dozens.
  private func expectQuietLogs(_ stand: Stand, _ uuid: String, atMost limit: Int, _ place: SourceLocation = #_sourceLocation)
    throws
  {
    for text in [stand.dashboard.text, try stand.agent(uuid).text] {
      let loud = text.split(separator: "\n").filter { $0.contains(" warning ") || $0.contains(" error ") }
      #expect(loud.count <= limit, "\(loud.joined(separator: "\n"))", sourceLocation: place)
    }
  }

  private func agentHealth(_ stand: Stand, _ uuid: String) async throws -> String {
    try await stand.get("/v1/agents/\(uuid)")["health"] as? String ?? ""
  }

  @Test func awayAtStartAndForLong() async throws {
    let server = try await RedisServerProcess.start()
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      try await stand.startAgent("w1")
      try await expectEachOnce(stand, try await post(stand, "w1", 1))
      try await stand.agent("w1").end()
      try await stand.killDashboard(SIGTERM)
      try await server.kill()
      // Both programs start without it.
      try await stand.restartDashboard()
      try await stand.startAgent("w1", wait: false)
      let auuids = try await post(stand, "w1", 3)
      try await readsGoOn(stand)
      _ = try await eventually("health says it") {
        (try await stand.get("/v1/health")["redis"] as? String ?? "").contains("away") ? true : nil
      }
      // Longer than the longest pause between two attempts.
      try await Task.sleep(for: .seconds(8))
      let more = try await post(stand, "w1", 1)
      // It comes back empty.
      try await server.restart()
      let back = ContinuousClock.now
      try await stand.expectEnded(auuids[0], "succeeded")
      expectPrompt("away: first verdict after Redis was back", since: back)
      try await expectEachOnce(stand, auuids + more)
      try expectQuietLogs(stand, "w1", atMost: 8)
    }
    try await server.stop()
  }

  @Test func full() async throws {
    let server = try await RedisServerProcess.start()
    let redis = RedisConnection(server.configuration)
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      try await stand.startAgent("f1", settings: ["task": ["concurrency": 2]])
      let before = try await post(stand, "f1", 1)
      try await stand.expectEnded(before[0], "succeeded")
      let gate = stand.folder.appendingPathComponent("gate")
      let under = try await postWaiting(stand, "f1", for: gate)
      _ = try await redis.send(RedisCommand("CONFIG", "SET", "maxmemory", "1"))
      let began = ContinuousClock.now
      // It ends while nobody can be told.
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      let auuids = try await post(stand, "f1", 3) + [under]
      _ = try await eventually("both say it") {
        let said = try await stand.get("/v1/health")["redis"] as? String ?? ""
        let health = try await agentHealth(stand, "f1")
        return said.contains("OOM") && health.contains("OOM") ? true : nil
      }
      try await readsGoOn(stand)
      // Longer than a lease lasts: leases are renewed all the same, and nobody becomes unknown.
      try await Task.sleep(for: .seconds(18) - began.duration(to: .now))
      #expect(try await stand.get("/v1/agents/f1")["online"] as? Bool == true)
      // Whether it could still be told that it runs or not: nobody takes it for unknown.
      let state = try await stand.get("/v1/runs/\(under)")["state"] as? String ?? ""
      #expect(["sent", "running"].contains(state), "\(state)")
      try expectQuietLogs(stand, "f1", atMost: 6)
      _ = try await redis.send(RedisCommand("CONFIG", "SET", "maxmemory", "0"))
      let back = ContinuousClock.now
      try await expectEachOnce(stand, auuids)
      expectPrompt("full: all verdicts after there was room", since: back)
      _ = try await eventually("both say that it is over") {
        let said = try await stand.get("/v1/health")["redis"] as? String
        let health = try await agentHealth(stand, "f1")
        return said == "connected" && health == "healthy" ? true : nil
      }
      try expectQuietLogs(stand, "f1", atMost: 6)
      #expect(stand.dashboard.text.contains("Redis does what it is asked again"))
    }
    await redis.close()
    try await server.stop()
  }

  /// Whether a verdict stands in the stream and waits for a dashboard.
  private func verdictWaits(_ redis: RedisConnection, of agent: AgentID) async throws -> Bool {
    let entries = try await redis.send(RedisCommand("XRANGE", Keys.verdicts(Keys.shard(agent)), "-", "+")).array ?? []
    let messages = entries.compactMap { $0.array?.last?.array?.last?.bytes }
    return try messages.contains { try ReportBatch(bytes: $0).events.contains { $0.kind == .ended } }
  }

  @Test func fullOfReportsWhenTheDashboardStarts() async throws {
    let server = try await RedisServerProcess.start()
    let redis = RedisConnection(server.configuration)
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      try await stand.startAgent("p1")
      let gate = stand.folder.appendingPathComponent("gate")
      let reported = try await postWaiting(stand, "p1", for: gate)
      // Nobody reads the report, and then there is no room.
      try await stand.killDashboard()
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      _ = try await eventually("the verdict waits in Redis", within: 60) {
        try await verdictWaits(redis, of: AgentID("p1")) ? true : nil
      }
      _ = try await redis.send(RedisCommand("CONFIG", "SET", "maxmemory", "1"))
      try await stand.restartDashboard()
      // It writes all the same, and makes room.
      try await stand.expectEnded(reported, "succeeded", within: 60)
      _ = try await eventually("what was read is deleted", within: 60) {
        try await redis.send(RedisCommand("XLEN", Keys.verdicts(Keys.shard(AgentID("p1"))))).integer == 0 ? true : nil
      }
      _ = try await eventually("it says that Redis is full", within: 60) {
        (try await stand.get("/v1/health")["redis"] as? String ?? "").contains("OOM") ? true : nil
      }
      let waiting = try await post(stand, "p1", 2)
      _ = try await redis.send(RedisCommand("CONFIG", "SET", "maxmemory", "0"))
      try await expectEachOnce(stand, [reported] + waiting, within: 60)
    }
    await redis.close()
    try await server.stop()
  }

  @Test func readOnlyAfterAFailover() async throws {
    let server = try await RedisServerProcess.start()
    let redis = RedisConnection(server.configuration)
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      try await stand.startAgent("o1")
      let gate = stand.folder.appendingPathComponent("gate")
      let under = try await postWaiting(stand, "o1", for: gate)
      try await stand.run(under, is: "running")
      // A replica of a master that nobody can reach: it keeps its data and takes no write.
      _ = try await redis.send(RedisCommand("REPLICAOF", "127.0.0.1", "1"))
      let began = ContinuousClock.now
      // It ends while nobody can be told.
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      let auuids = try await post(stand, "o1", 3) + [under]
      _ = try await eventually("health says it") {
        try await stand.get("/v1/health")["redis"] as? String != "connected" ? true : nil
      }
      try await readsGoOn(stand)
      // No lease can be renewed, and silence says nothing.
      try await Task.sleep(for: .seconds(18) - began.duration(to: .now))
      #expect(try await stand.get("/v1/runs/\(under)")["state"] as? String == "running")
      try expectQuietLogs(stand, "o1", atMost: 10)
      _ = try await redis.send(RedisCommand("REPLICAOF", "NO", "ONE"))
      let back = ContinuousClock.now
      try await expectEachOnce(stand, auuids)
      expectPrompt("read-only: all verdicts after it was a master again", since: back)
    }
    await redis.close()
    try await server.stop()
  }

  @Test func slowBy200Milliseconds() async throws {
    let server = try await RedisServerProcess.start()
    let proxy = try RedisProxy(to: server.port)
    proxy.slow(.milliseconds(100))
    try await withStand(redis: "127.0.0.1:\(proxy.port)") { (stand: Stand) async throws -> Void in
      try await stand.startAgent("s1")
      let began = ContinuousClock.now
      try await expectEachOnce(stand, try await post(stand, "s1", 1))
      expectPrompt("slow: one run", since: began)
      try await expectEachOnce(stand, try await post(stand, "s1", 20))
      #expect(try await stand.get("/v1/agents/s1")["online"] as? Bool == true)
      try expectQuietLogs(stand, "s1", atMost: 4)
    }
    try await server.stop()
  }

  @Test(arguments: [true, false]) func acceptedAndThenSilent(stopped: Bool) async throws {
    let server = try await RedisServerProcess.start()
    let proxy = try RedisProxy(to: server.port)
    try await withStand(redis: "127.0.0.1:\(proxy.port)") { (stand: Stand) async throws -> Void in
      try await stand.startAgent("q1")
      try await expectEachOnce(stand, try await post(stand, "q1", 1))
      if stopped { server.signal(SIGSTOP) } else { proxy.fallSilent(true) }
      let began = ContinuousClock.now
      let auuids = try await post(stand, "q1", 3)
      _ = try await eventually("health says it") {
        try await stand.get("/v1/health")["redis"] as? String != "connected" ? true : nil
      }
      expectPrompt("silent: noticed", since: began)
      try await readsGoOn(stand)
      let more = try await post(stand, "q1", 1)
      if stopped { server.signal(SIGCONT) } else { proxy.fallSilent(false) }
      let back = ContinuousClock.now
      try await expectEachOnce(stand, auuids + more)
      expectPrompt("silent: all verdicts after it spoke again", since: back)
      try expectQuietLogs(stand, "q1", atMost: 8)
    }
    try await server.stop()
  }

  @Test func moreClientsThanItTakes() async throws {
    let server = try await RedisServerProcess.start()
    let redis = RedisConnection(server.configuration)
    try await redis.connected(within: .seconds(10))
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      try await stand.startAgent("m1")
      try await expectEachOnce(stand, try await post(stand, "m1", 1))
      // Ours is the one that it has; everybody else is sent away at once.
      _ = try await redis.send(RedisCommand("CONFIG", "SET", "maxclients", 1))
      _ = try await redis.send(RedisCommand("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
      let auuids = try await post(stand, "m1", 3)
      _ = try await eventually("health says it") {
        (try await stand.get("/v1/health")["redis"] as? String ?? "").contains("max number of clients") ? true : nil
      }
      try await readsGoOn(stand)
      try await Task.sleep(for: .seconds(5))
      _ = try await redis.send(RedisCommand("CONFIG", "SET", "maxclients", 12))
      let back = ContinuousClock.now
      try await expectEachOnce(stand, auuids)
      expectPrompt("maxclients: all verdicts after there was room", since: back)
      _ = try await eventually("too few for the fleet is a warning") {
        let warnings = try await stand.get("/v1/health")["warnings"] as? [String] ?? []
        return warnings.contains { $0.contains("raise maxclients") } ? true : nil
      }
      try expectQuietLogs(stand, "m1", atMost: 8)
    }
    await redis.close()
    try await server.stop()
  }
}

extension Stand {
  /// On the host: the run's id for each time that a command was started.
  var starts: URL { folder.appendingPathComponent("starts") }
}
