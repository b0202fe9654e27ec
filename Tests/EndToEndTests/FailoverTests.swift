// Failovers while tasks flow: by Sentinel and in a Cluster, with both programs. Replication is asynchronous, so each may forget Redis's last
// writes; all the same every run ends in one verdict and none is started twice.
import Foundation
import Glibc
import RedisTestSupport
import Synchronization
import Testing

// One after the other: each starts up to nine servers, and what is measured against deadlines runs beside them.
@Suite(.serialized) struct FailoverTests {
  /// Posts while `happening` does what it does to Redis, and some after it.
  private func flow(_ stand: Stand, _ uuid: String, to file: URL, _ happening: () async throws -> Void) async throws -> [String] {
    let isOver = Mutex(false)
    async let posted: [String] = {
      var auuids: [String] = []
      while !isOver.withLock({ $0 }), auuids.count < 400 { auuids += try await postMany(stand, uuid, 5, to: file) }
      return auuids
    }()
    let result: Result<Void, any Error>
    do { result = .success(try await happening()) } catch { result = .failure(error) }
    isOver.withLock { $0 = true }
    let during = try await posted
    try result.get()
    #expect(during.count >= 5)
    return try await during + postMany(stand, uuid, 5, to: file)
  }

  private func sentinelSettings(_ group: SentinelGroup) -> [String: Any] {
    ["sentinels": group.sentinels.map { "127.0.0.1:\($0.port)" }, "master": SentinelGroup.name]
  }

  @Test func theMasterIsKilledAndSentinelsPutAnotherInItsPlace() async throws {
    let group = try await SentinelGroup.start()
    try await withStand(redisSettings: sentinelSettings(group)) { (stand: Stand) async throws -> Void in
      try await stand.startAgent("s1", projects: ["blue"])
      let file = stand.folder.appendingPathComponent("starts")
      let old = group.servers[0]
      let health = try await stand.get("/v1/health")
      #expect(health["redisServer"] as? String == "127.0.0.1:\(old.port), the master \"fleet\" by Sentinel")
      let auuids = try await flow(stand, "s1", to: file) {
        try await old.kill()
        _ = try await eventually("the dashboard is at the new master", within: 60) { () async throws -> Bool? in
          let server = try await stand.get("/v1/health")["redisServer"] as? String ?? ""
          let new = try await group.master()
          return new !== old && server.contains("\(new.port)") ? true : nil
        }
      }
      try await expectEachOnce(stand, auuids, in: file)
      // All that it says of itself stands in the new master too.
      let new = try await group.master()
      #expect(try await new.ask("SISMEMBER", "blue", "s1").integer == 1)
      #expect(try await new.ask("EXISTS", "muster:{s1}:lease", "muster:{s1}:info").integer == 2)
    }
    try await group.stop()
  }

  @Test func aFailoverIsOrderedWhileTasksFlow() async throws {
    let group = try await SentinelGroup.start(replicas: 1, sentinels: 1)
    try await withStand(redisSettings: sentinelSettings(group)) { (stand: Stand) async throws -> Void in
      try await stand.startAgent("s2")
      let file = stand.folder.appendingPathComponent("starts")
      let new = group.servers[1]
      let auuids = try await flow(stand, "s2", to: file) {
        try await group.sentinels[0].ask("SENTINEL", "FAILOVER", SentinelGroup.name)
        _ = try await eventually("the agent is registered at the new master, and so is the dashboard", within: 60) {
          () async throws -> Bool? in
          let clients = try await new.ask("CLIENT", "LIST").string ?? ""
          return clients.contains("name=muster-agent-s2-control") && clients.contains("name=muster-dashboard ") ? true : nil
        }
      }
      // What was written to the old master meanwhile is forgotten, and found out by asking.
      try await expectEachOnce(stand, auuids, in: file)
    }
    try await group.stop()
  }

  @Test func anAgentsSlotMovesAndAMasterIsKilledInACluster() async throws {
    let group = try await ClusterGroup.start(withReplicas: true)
    let settings: [String: Any] = ["cluster": group.masters.map { "127.0.0.1:\($0.port)" }]
    try await withStand(redisSettings: settings) { (stand: Stand) async throws -> Void in
      try await stand.startAgent("c1", projects: ["blue"])
      let file = stand.folder.appendingPathComponent("starts")
      let server = try await stand.get("/v1/health")["redisServer"] as? String ?? ""
      #expect(group.masters.allSatisfy { server.contains("127.0.0.1:\($0.port)") })
      let answer = try await stand.post("/v1/producer/blue/task?wait=60", ["taskname": "echo $MUSTER_RUN >> \(file.path)"])
      #expect(answer.status == 200, "\(answer.text)")
      var auuids = (answer["runs"] as? [[String: Any]] ?? []).compactMap { $0["auuid"] as? String }
      #expect(auuids.count == 1)

      // The slot with all of the agent's keys moves, key by key.
      let (slot, old) = try await group.owner(of: "{c1}")
      let new = try #require(group.masters.first { $0 !== old })
      auuids += try await flow(stand, "c1", to: file) {
        try await group.beginMoving(slot, from: old, to: new)
        while try await group.moveKeys(1, of: slot, from: old, to: new) > 0 {}
        try await group.endMoving(slot, from: old, to: new)
        _ = try await eventually("the agent is at the new node", within: 60) { () async throws -> Bool? in
          try await new.ask("CLIENT", "LIST").string?.contains("name=muster-agent-c1-control") ?? false ? true : nil
        }
      }
      #expect(try await new.ask("EXISTS", "muster:{c1}:lease").integer == 1)

      // The master that holds them now is killed; its replica takes its place.
      auuids += try await flow(stand, "c1", to: file) {
        try await new.kill()
        _ = try await eventually("its replica serves the slot", within: 60) { () async throws -> Bool? in
          try await group.owner(of: "{c1}").server === group.replicas[group.masters.firstIndex { $0 === new } ?? 0] ? true : nil
        }
      }
      try await expectEachOnce(stand, auuids, in: file)
    }
    try await group.stop()
  }

  @Test func aNodeThatHoldsOnlyWhoIsThereFails() async throws {
    let group = try await ClusterGroup.start(withReplicas: true)
    let settings: [String: Any] = ["cluster": true, "addr": "127.0.0.1", "port": group.masters[0].port]
    // An agent whose own keys lie elsewhere than the set of agents.
    let holder = try await group.owner(of: "muster:agents").server
    var uuid = ""
    for number in 0..<50 where uuid.isEmpty {
      if try await group.owner(of: "{n\(number)}").server !== holder { uuid = "n\(number)" }
    }
    try await withStand(redisSettings: settings) { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent(uuid)
      try await holder.kill()
      _ = try await eventually("its replica serves the set, and the agent stands in it", within: 60) { () async throws -> Bool? in
        let now = try await group.owner(of: "muster:agents").server
        guard now !== holder else { return nil }
        return try await now.ask("ZSCORE", "muster:agents", uuid).isNull ? nil : true
      }
      _ = try await eventually("the dashboard finds Redis whole", within: 60) { () async throws -> Bool? in
        try await stand.get("/v1/health")["redis"] as? String == "connected" ? true : nil
      }
      let auuid = try await stand.task(uuid, "echo here")
      #expect(try await stand.verdict(auuid)["state"] as? String == "succeeded")
      #expect(agent.isRunning)
    }
    try await group.stop()
  }
}
