// The agent's own port, over real sockets.

import RedisTestSupport
import Shared
import Testing

@testable import Agent

@Suite struct AgentHTTPTests {
  @Test func aFreePortIsTakenAndToldAndAnswersAsTheSeedHasIt() async throws {
    let redis = try await RedisServerProcess.start()
    let agent = try AgentOnDisk(redisPort: redis.port)
    #expect(try await agent.command("start").code == 0)
    let address = try #require(try await agent.status()?["http"])
    let port = try #require(address.split(separator: ":").last.flatMap { Int($0) })
    #expect(port > 0)
    #expect(String(decoding: try Files.read(agent.logFile), as: UTF8.self).contains("http=127.0.0.1:\(port)"))

    let version = try await request("GET", "/v1/agent/version", port)
    #expect(version.status == 200)
    #expect(version.body == "{\"version\":\"1.0\"}")
    let health = try await request("GET", "/v1/agent/health", port)
    #expect(health.status == 200)
    #expect(health.body == "{\"health\":\"healthy\"}")

    let unknown = try await request("GET", "/v1/agent/web-1-01ARZ3NDEKTSV4RRFFQ69G5FAV/log", port)
    #expect(unknown.status == 404)
    #expect(try unknown.error("code") == "unknown_run")
    #expect(try unknown.error("message")?.contains("web-1-01ARZ3NDEKTSV4RRFFQ69G5FAV") == true)
    let escape = try await request("GET", "/v1/agent/..%2F..%2Fagent/log", port)
    #expect(escape.status == 404)
    let route = try await request("GET", "/v1/agents", port)
    #expect(route.status == 404)
    #expect(try route.error("code") == "unknown_route")
    let method = try await request("POST", "/v1/agent/version", port)
    #expect(method.status == 405)
    #expect(try method.error("code") == "method_not_allowed")
    #expect(method.head.contains("Allow: GET, HEAD"))
    let tooLong = try await request("GET", "/" + String(repeating: "x", count: 9000), port)
    #expect(tooLong.status == 414)
    #expect(try tooLong.error("code") == "too_large")
  }

  @Test func withoutRedisHealthIsDeathWithTheReason() async throws {
    let agent = try AgentOnDisk(redisPort: try freePort())
    _ = try agent.spawn(["run", "-f", agent.settingsFile])
    var port = 0
    try await eventually("it listens") {
      port = try await agent.status()?["http"].flatMap { $0.split(separator: ":").last }.flatMap { Int($0) } ?? 0
      return port > 0
    }
    var health = try await request("GET", "/v1/agent/health", port)
    try await eventually("it has noticed") {
      health = try await request("GET", "/v1/agent/health", port)
      return health.body.contains("refused")
    }
    #expect(health.status == 503)
    let answer = try JSONReader.parse(health.body)
    #expect(answer["health"] == "death")
    #expect(answer["reason"]?.asString?.isEmpty == false)
  }

  @Test func aLogThatIsNoTextComesInBase64() throws {
    let run = RunID(agent: AgentID("web-1"), task: try #require(ULID("01ARZ3NDEKTSV4RRFFQ69G5FAV")))
    let text = try JSONCoder.encode(LogAnswer(uuid: AgentID("web-1"), run: run, log: Array("h\u{e9}\n\u{0}".utf8)))
    #expect(
      try JSONReader.parse(text)
        == ["uuid": "web-1", "auuid": "h\u{e9}\n\u{0}", "id": "web-1-01ARZ3NDEKTSV4RRFFQ69G5FAV", "encoding": "utf-8"])
    let bytes = try JSONCoder.encode(LogAnswer(uuid: AgentID("web-1"), run: run, log: [0xff, 0x00]))
    #expect(
      try JSONReader.parse(bytes)
        == ["uuid": "web-1", "auuid": "/wA=", "id": "web-1-01ARZ3NDEKTSV4RRFFQ69G5FAV", "encoding": "base64"])
  }
}
