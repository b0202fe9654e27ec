// An outage that outlasts every patience that the programs have: leases (15 s), absence (15 to 22 s), silence (30 s), the gathering of members
// (20 s), and the longest pause between two attempts (5 s) many times. What is true after three quarters of a minute is true after an hour:
// nothing counts how long it was, and nothing grows meanwhile.
import Foundation
import Glibc
import RedisTestSupport
import Testing

@Suite struct LongOutageTests {
  private static let outage = Duration.seconds(45)
  private static let runs = 60

  /// What a process holds and has used: nothing of it may grow while it waits.
  private struct Holding {
    var descriptors: Int
    var kibibytes: Int
    var cpuSeconds: Double

    init(_ pid: pid_t) throws {
      descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
      let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
      let line = status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
      kibibytes = line.flatMap { Int($0.split(whereSeparator: { $0 == " " || $0 == "\t" })[1]) } ?? 0
      // proc_pid_stat(5): utime and stime are the 14th and 15th field; the second is in brackets.
      let stat = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
      let fields = try #require(stat.split(separator: ")").last).split(separator: " ")
      cpuSeconds = fields[11...12].compactMap { Double($0) }.reduce(0, +) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }
  }

  private func post(_ stand: Stand, _ uuid: String) async throws -> [String] {
    var auuids: [String] = []
    for _ in 0..<Self.runs {
      auuids.append(try await stand.task(uuid, "echo $MUSTER_RUN >> \(stand.starts.path); echo one; sleep 0.1; echo two"))
    }
    return auuids
  }

  private func expectEachOnceAndWhole(_ stand: Stand, _ auuids: [String]) async throws {
    for auuid in auuids {
      let run = try await stand.verdict(auuid, within: 60)
      #expect(run["state"] as? String == "succeeded" && run["attempt"] as? Int == 1, "\(run)")
      _ = try await eventually("the output of \(auuid) is complete") {
        try await stand.log(auuid) == Data("one\ntwo\n".utf8) ? true : nil
      }
    }
    let started = try String(contentsOf: stand.starts, encoding: .utf8).split(separator: "\n").map(String.init)
    #expect(started.sorted() == auuids.sorted(), "\(started.count) starts of \(auuids.count) runs")
  }

  private func expectNoGrowth(_ name: String, _ before: Holding, _ after: Holding) {
    #expect(after.descriptors <= before.descriptors + 4, "\(name): from \(before) to \(after)")
    #expect(after.kibibytes <= before.kibibytes + 8192, "\(name): from \(before) to \(after)")
    #expect(after.cpuSeconds <= before.cpuSeconds + 5, "\(name): from \(before) to \(after)")
  }

  /// Rule `silence`.
  @Test func redisIsAwayForLongerThanEveryPatienceAndComesBackEmpty() async throws {
    let server = try await RedisServerProcess.start()
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("long-1")
      let auuids = try await post(stand, "long-1")
      // Some have ended, some are taken and wait on their host, some are still to be sent.
      try await stand.expectEnded(auuids[0], "succeeded")
      try await server.kill()
      let began = ContinuousClock.now
      try await Task.sleep(for: .seconds(12))
      let before = (dashboard: try Holding(stand.dashboard.pid), agent: try Holding(agent.pid))
      let lines = (stand.dashboard.text + agent.text).split(separator: "\n").count
      try await Task.sleep(for: Self.outage - began.duration(to: .now))
      // Without contact nobody is silent, and what cannot be reached has no verdict.
      let page = try await stand.get("/v1/runs?limit=1000")
      let states = (page["items"] as? [[String: Any]] ?? []).compactMap { $0["state"] as? String }
      #expect(
        states.count == Self.runs && Set(states).isSubset(of: ["queued", "sent", "running", "succeeded"]), "\(Set(states))")
      expectNoGrowth("dashboard", before.dashboard, try Holding(stand.dashboard.pid))
      expectNoGrowth("agent", before.agent, try Holding(agent.pid))
      #expect((stand.dashboard.text + agent.text).split(separator: "\n").count <= lines + 4, "each says once that Redis is away")
      try await server.restart()
      try await expectEachOnceAndWhole(stand, auuids)
    }
    try await server.stop()
  }

  @Test func theDashboardIsDownForLongerThanEveryPatienceAndConverges() async throws {
    let server = try await RedisServerProcess.start()
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("long-2")
      let auuids = try await post(stand, "long-2")
      try await stand.expectEnded(auuids[0], "succeeded")
      try await stand.killDashboard()
      let began = ContinuousClock.now
      try await Task.sleep(for: .seconds(12))
      let before = try Holding(agent.pid)
      try await Task.sleep(for: Self.outage - began.duration(to: .now))
      expectNoGrowth("agent", before, try Holding(agent.pid))
      try await stand.restartDashboard()
      try await expectEachOnceAndWhole(stand, auuids)
      // What it says now is about now: the agent is there, and nothing was made of the silence.
      #expect(try await stand.get("/v1/agents/long-2")["online"] as? Bool == true)
      let reports = try await stand.get("/v1/health")["reports"] as? [String: Int]
      #expect(reports?["found"] == 0 && reports?["dropped"] == 0, "\(String(describing: reports))")
    }
    try await server.stop()
  }
}
