// A run's life as Redis sees it, command by command: each of them is once the last one that came through, for the agent and for the dashboard,
// once lost on its way there and once done with its reply lost, and once with a Redis that is killed at that moment and comes back empty. The
// run still ends in its one verdict, with its output, and was started once.
import Foundation
import Glibc
import Redis
import RedisTestSupport
import Shared
import Testing

@Suite struct LostCommandTests {
  private static let scripts = [
    Scripts.send, Scripts.control, Scripts.tombstone, Scripts.compare, Scripts.acknowledge, Scripts.takeLease, Scripts.renewLease,
    Scripts.dropLease, Scripts.confirm, Scripts.movePlain, Scripts.presence, Scripts.result, Scripts.append,
    Scripts.takeDashboard,
    Scripts.renewDashboard, Scripts.dropDashboard, Scripts.raiseFence, Scripts.raiseFenceWhenFull,
  ]
  enum Side: String, CaseIterable {
    case agent, dashboard

    /// What makes up its part of the life.
    var commands: Set<String> {
      switch self {
      case .agent: ["HGETALL", "BLPOP", "confirm", "append", "result"]
      case .dashboard: ["send", "XREAD", "XDEL", "acknowledge"]
      }
    }
  }

  private struct Cut: Sendable {
    var place: RedisProxy.Place
    var loss: RedisProxy.Loss
  }

  /// One stand through whose proxy the given commands are lost, one after the other.
  private func lose(_ side: Side, _ part: Int, of parts: Int, killing: Bool) async throws -> [String] {
    let server = try await RedisServerProcess.start()
    let proxy = try RedisProxy(to: server.port, scripts: Self.scripts)
    var reached: [String] = []
    try await withStand(redis: "127.0.0.1:\(side == .dashboard ? proxy.port : server.port)") {
      (stand: Stand) async throws -> Void in
      let port = side == .agent ? proxy.port : server.port
      try await stand.startAgent("x1", settings: ["redis": ["addr": "127.0.0.1", "port": port]])
      let life = try await life(side, stand, proxy)
      let cuts = life.flatMap { place in RedisProxy.Loss.allCases.map { Cut(place: place, loss: $0) } }
      var auuids: [String] = []
      for (index, cut) in cuts.enumerated() where index % parts == part && (!killing || cut.loss == .reply) {
        // Killed by the last cut after its run had ended.
        if killing && server.hasEnded { try await server.restart() }
        let pid = try #require(server.pid)
        proxy.cut(at: cut.place, losing: cut.loss) { if killing { kill(pid, SIGKILL) } }
        let auuid = try await stand.task("x1", command(stand))
        auuids.append(auuid)
        if killing {
          // Its turn may not come in this life: then the run just ends.
          _ = try await eventually("\(cut.place) is lost, or the run ends") {
            if server.hasEnded { try await server.restart() }
            if proxy.hasCut { return true }
            return try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "succeeded" ? true : nil
          }
        }
        let run = try await eventually("\(auuid) has a verdict", within: 60) {
          // It may be killed at any moment: what comes by itself comes when it comes.
          if killing && server.hasEnded { try await server.restart() }
          let run = try await stand.get("/v1/runs/\(auuid)").json
          return ["queued", "sent", "running", "unknown"].contains(run["state"] as? String ?? "queued") ? nil : run
        }
        #expect(run["state"] as? String == "succeeded", "\(side) \(cut.place) \(cut.loss): \(run)")
        // What comes by itself, once a second, may come after the end.
        let limit = ContinuousClock.now + .seconds(3)
        while !proxy.hasCut && .now < limit { try await Task.sleep(for: .milliseconds(10)) }
        if proxy.hasCut { reached.append("\(cut.place.command) \(cut.loss)") }
        proxy.disarm()
      }
      if server.hasEnded { try await server.restart() }
      for auuid in auuids {
        _ = try await eventually("the output of \(auuid) is complete") {
          try await stand.log(auuid) == Data("one\ntwo\n".utf8) ? true : nil
        }
      }
      let started = try String(contentsOf: stand.starts, encoding: .utf8).split(separator: "\n").map(String.init)
      #expect(started.sorted() == (auuids + [Self.first(started)]).sorted(), "\(side): a start too many or too few")
      print("MEASURED \(side)\(killing ? ", killing" : ""): \(auuids.count) lives, \(reached.count) cut")
      // A Redis that came back empty changes what a life consists of.
      #expect(reached.count * 10 >= auuids.count * (killing ? 5 : 7), "\(reached.count) of \(auuids.count) commands were lost")
    }
    try await server.stop()
    return reached
  }

  /// The run by which the life was learned came first.
  private static func first(_ started: [String]) -> String { started.first ?? "none" }

  private func command(_ stand: Stand) -> String {
    "echo $MUSTER_RUN >> \(stand.starts.path); echo one; sleep 0.15; echo two"
  }

  /// What passes from the posting of a task until everybody has forgotten it, at most two of a kind.
  private func life(_ side: Side, _ stand: Stand, _ proxy: RedisProxy) async throws -> [RedisProxy.Place] {
    proxy.record()
    try await stand.expectEnded(try await stand.task("x1", command(stand)), "succeeded")
    _ = try await eventually("all that makes up a life has passed") { proxy.hasRecorded(side.commands) ? true : nil }
    // And what only sometimes follows.
    try await Task.sleep(for: .milliseconds(300))
    let idle: Set<String> = ["INFO", "CONFIG", "CLIENT", "PING"]
    return proxy.recorded().filter { $0.occurrence <= 2 && !idle.contains($0.command) }
  }

  @Test func eachCommandOfALifeIsOnceTheLastThatCameThrough() async throws {
    let reached = try await withThrowingTaskGroup(of: [String].self) { group in
      for part in 0..<2 {
        for side in Side.allCases { group.addTask { try await lose(side, part, of: 2, killing: false) } }
      }
      return try await group.reduce(into: Set<String>()) { $0.formUnion($1) }
    }
    for command in Side.allCases.flatMap(\.commands) {
      for loss in RedisProxy.Loss.allCases { #expect(reached.contains("\(command) \(loss)"), "\(command) \(loss)") }
    }
  }

  /// Rule `cameBackEmpty`.
  @Test func redisIsKilledBetweenAnyTwoCommandsOfALifeAndComesBackEmpty() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for side in Side.allCases { group.addTask { _ = try await lose(side, 0, of: 1, killing: true) } }
      try await group.waitForAll()
    }
  }
}
