// Both programs as the ACL users of docs/redis.md, with exactly the rights that stand there and the user `default` switched off.
import Foundation
import Glibc
import Redis
import RedisTestSupport
import Testing

@Suite struct RightsTests {
  /// The lines of the document, as words.
  private func documentedUsers() throws -> [[String]] {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let text = try String(contentsOf: root.appendingPathComponent("docs/redis.md"), encoding: .utf8)
    return text.split(separator: "\n").filter { $0.hasPrefix("ACL SETUSER") }.map { line in
      line.split(separator: " ").dropFirst().map { $0 == ">CHANGE-ME" ? ">secret" : String($0) }
    }
  }

  private func settings(_ server: RedisServerProcess, user: String) -> [String: Any] {
    ["addr": "127.0.0.1", "port": server.port, "username": user, "password": "secret"]
  }

  /// A server with these users and an operator, and without `default`.
  private func start() async throws -> (RedisServerProcess, RedisConnection) {
    let server = try await RedisServerProcess.start()
    let users = try documentedUsers()
    #expect(users.count == 2)
    for words in users { try await server.ask("ACL", words) }
    try await server.ask("ACL", "SETUSER", "operator", "on", ">secret", "~*", "&*", "+@all")
    var configuration = server.configuration
    (configuration.username, configuration.password) = ("operator", "secret")
    let operate = RedisConnection(configuration)
    try await operate.connected(within: .seconds(10))
    _ = try await operate.send(RedisCommand("ACL", "SETUSER", "default", "off"))
    return (server, operate)
  }

  @Test func theDocumentedRightsAreEnoughForEverythingAndAMissingOneIsNamed() async throws {
    let (server, operate) = try await start()
    try await withStand(redisSettings: settings(server, user: "muster-dashboard")) { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("web1", projects: ["web"], settings: ["redis": settings(server, user: "web1")])
      try await everything(stand, operate)
      let log = try await operate.send(RedisCommand("ACL", "LOG")).array ?? []
      #expect(log.isEmpty, "\(log)")

      // A right less: what is refused is named, with its key, and nothing ends because of it.
      _ = try await operate.send(RedisCommand("ACL", "SETUSER", "web1", "-blpop"))
      _ = try await operate.send(RedisCommand("ACL", "SETUSER", "muster-dashboard", "-pexpire"))
      _ = try await eventually("the agent names it") { () async throws -> Bool? in
        agent.text.contains("(asked for: BLPOP on muster:{web1}:control)") ? true : nil
      }
      _ = try await eventually("the dashboard names it") { () async throws -> Bool? in
        let health = try await stand.get("/v1/health")["redis"] as? String ?? ""
        return health.contains("(asked for: renewDashboard on muster:dashboard)") ? true : nil
      }
      _ = try await operate.send(RedisCommand("ACL", "SETUSER", "web1", "+blpop"))
      _ = try await operate.send(RedisCommand("ACL", "SETUSER", "muster-dashboard", "+pexpire"))
      #expect(try await stand.verdict(try await stand.task("web1", "true"))["state"] as? String == "succeeded")
      try await removal(stand, operate)
    }
    await operate.close()
    try await server.stop()
  }

  private func everything(_ stand: Stand, _ operate: RedisConnection) async throws {
    let auuid = try await stand.task("web1", "echo out; head -c 300000 /dev/zero | tr '\\0' x")
    #expect(try await stand.verdict(auuid)["state"] as? String == "succeeded")
    let project = try await stand.post("/v1/producer/web/task?wait=20", ["taskname": "true"])
    #expect(project.status == 200, "\(project.text)")
    // By hand, as the seed does it.
    _ = try await operate.send(RedisCommand("HSET", "web1", "byhand", "echo by hand"))
    _ = try await eventually("the result stands under its alias") { () async throws -> Bool? in
      try await operate.send(RedisCommand("HGET", "web1byhand", "log")).string == "by hand\n" ? true : nil
    }
    // Killed, and never started.
    let long = try await stand.task("web1", "sleep 300")
    let kill = try await stand.post("/v1/runs/\(long)/kill", ["grace": 1])
    #expect(kill.status == 202, "\(kill.text)")
    #expect(["killed", "cancelled"].contains(try await stand.verdict(long)["state"] as? String))
    // Nobody of that name: every set is looked through.
    #expect(try await stand.post("/v1/producer/nobody/task", ["taskname": "true"]).status == 404)
    // A restart of either.
    try await stand.killDashboard()
    try await stand.restartDashboard()
    #expect(try await stand.verdict(try await stand.task("web1", "true"))["state"] as? String == "succeeded")
  }

  private func removal(_ stand: Stand, _ operate: RedisConnection) async throws {
    _ = try await operate.send(RedisCommand("ACL", "LOG", "RESET"))
    try await stand.agent("web1").end(SIGKILL)
    // It is taken for alive: sent, and taken back.
    let unread = try await stand.task("web1", "true")
    #expect(try await stand.kill(unread).status == 202)
    _ = try await eventually("it is not in the inbox any more") { () async throws -> Bool? in
      try await operate.send(RedisCommand("HLEN", "muster:{web1}:inbox")).integer == 0 ? true : nil
    }
    let answer = try await stand.curl(["-X", "DELETE", "http://127.0.0.1:\(stand.port)/v1/agents/web1"])
    #expect((200..<300).contains(answer.status), "\(answer.text)")
    _ = try await eventually("it is gone from its project") { () async throws -> Bool? in
      try await operate.send(RedisCommand("SISMEMBER", "web", "web1")).integer == 0 ? true : nil
    }
    let log = try await operate.send(RedisCommand("ACL", "LOG")).array ?? []
    #expect(log.isEmpty, "\(log)")
  }
}
