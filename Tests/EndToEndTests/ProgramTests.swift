// The programs as processes: how they start, stand by, and end.
import Foundation
import Glibc
import Testing

@Suite struct ProgramTests {
  /// Rule `oneWrites`.
  @Test func aSecondDashboardOnTheSameRedisStandsByAndSaysSo() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let other = try await Stand.start(redis: "127.0.0.1:\(try stand.redisPort())")
      do {
        let refused = try await eventually("the second one stands by") {
          let answer = try await other.post("/v1/producer/x/task", ["taskname": "true"])
          return answer.status == 503 ? answer : nil
        }
        #expect(refused.text.contains("\"standby\""))
        let health = try await other.get("/v1/health")
        #expect(health.status == 503 && health["health"] as? String == "death" && health.text.contains("another dashboard"))
        #expect(try await stand.get("/v1/health").status == 200)
        #expect(try await other.get("/v1/tasks").status == 200)
        try await stand.startAgent("both-1")
        #expect(try await stand.post("/v1/producer/both-1/task?wait=60", ["taskname": "true"]).status == 200)
      } catch {
        try await other.stop()
        throw error
      }
      try await other.stop()
    }
  }

  @Test func aSecondDashboardOnTheSameFolderIsRefused() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let second = try Running(
        try Binaries.url("dashboard"), ["--listen", "127.0.0.1:0", "--data", stand.folder.appendingPathComponent("data").path],
        in: stand.folder, log: "second")
      _ = try await eventually("it ends") { second.isRunning ? nil : true }
      #expect(second.status == 1)
      #expect(second.text.contains("another dashboard") && second.text.contains("\(stand.dashboard.pid)"))
    }
  }

  @Test func wrongUsageAndWrongSettingsEndWithTwo() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("muster-usage-\(getpid())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    for arguments in [["--nonsense"], ["--listen", "0.0.0.0:8080"], ["--listen", "nowhere"], ["-f", "/no/such/file"]] {
      let program = try Running(try Binaries.url("dashboard"), arguments, in: folder, log: "usage")
      _ = try await eventually("it ends") { program.isRunning ? nil : true }
      #expect(program.status == 2, "\(arguments): \(program.text)")
    }
    let help = String(decoding: try await output(of: "dashboard", ["--help"]), as: UTF8.self)
    #expect(help.contains("--public") && help.contains("embedded"))
  }

  @Test func bothProgramsEndWithinTenSecondsAndLeaveNothingBehind() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("end-1")
      let port = try stand.redisPort()
      let started = ContinuousClock.now
      #expect(try await agent.end(SIGTERM, within: 10) == 0)
      #expect(try await stand.dashboard.end(SIGINT, within: 10) == 0)
      #expect(ContinuousClock.now - started < .seconds(12))
      let ping = try await output(of: "redis-cli", ["-p", "\(port)", "ping"], allowFailure: true)
      #expect(!String(decoding: ping, as: UTF8.self).contains("PONG"))
    }
  }

  @Test func aRedisLeftByAKilledDashboardIsAdoptedAndKeepsItsPort() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let port = try stand.redisPort()
      _ = try await stand.redisCLI("set", "mark", "1")
      try await stand.killDashboard()
      try await stand.restartDashboard()
      #expect(try stand.redisPort() == port)
      #expect(try await stand.redisCLI("get", "mark") == "1")
      #expect(stand.dashboard.text.contains("adopted"))
      try await stand.killDashboard(SIGTERM)
      try await stand.restartDashboard()
      #expect(try stand.redisPort() == port)
      #expect(try await stand.redisCLI("get", "mark") == "1")
    }
  }

  @Test func aSilentRedisOfAKilledDashboardIsWaitedForAndNeverDoubled() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("silent-1")
      let port = try stand.redisPort()
      let server = try await stand.redisProcess()
      kill(server, SIGSTOP)
      try await stand.killDashboard()
      async let restarted: Void = stand.restartDashboard()
      _ = try await eventually("it says that it waits") { stand.dashboard.text.contains("does not answer yet") ? true : nil }
      kill(server, SIGCONT)
      try await restarted
      #expect(try stand.redisPort() == port)
      #expect(stand.dashboard.text.contains("adopted"))
      let run = try await stand.verdict(try await stand.task("silent-1", "true"))
      #expect(run["state"] as? String == "succeeded")
    }
  }

  @Test func aDashboardWithoutItsRedisServesAcceptsAndSaysSo() async throws {
    try await withStand(redis: "127.0.0.1:1") { (stand: Stand) async throws -> Void in
      let health = try await eventually("it says that Redis is away") {
        let health = try await stand.get("/v1/health")
        return health.text.contains("away") ? health : nil
      }
      #expect(health.status == 200)
      let answer = try await stand.post("/v1/producer/x/task", ["taskname": "true"])
      #expect(answer.status == 503 && answer.text.contains("redis_away"))
      #expect(try await stand.get("/").status == 200)
    }
  }
}
