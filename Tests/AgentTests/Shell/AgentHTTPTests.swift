// The agent's own port, over real sockets.

import Dispatch
import Glibc
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

private struct Answer {
  let status: Int
  let head: String
  let body: String

  func error(_ field: String) throws -> String? { try JSONReader.parse(body)["error"]?[field]?.asString }
}

/// One request on a connection of its own.
private func request(_ method: String, _ target: String, _ port: Int) async throws -> Answer {
  let text = "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
  let bytes: [UInt8] = await withCheckedContinuation { continuation in
    // Off the cooperative pool: this blocks.
    DispatchQueue.global().async { continuation.resume(returning: exchange(Array(text.utf8), port)) }
  }
  let whole = String(decoding: bytes, as: UTF8.self)
  guard let end = whole.firstRange(of: "\r\n\r\n"),
    let status = whole.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
  else { throw TestFailure("no answer from port \(port): \(whole)") }
  return Answer(status: status, head: String(whole[..<end.lowerBound]), body: String(whole[end.upperBound...]))
}

private func exchange(_ request: [UInt8], _ port: Int) -> [UInt8] {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
  defer { close(descriptor) }
  var patience = timeval(tv_sec: 10, tv_usec: 0)
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = UInt16(port).bigEndian
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  let connected = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
  }
  guard connected == 0, send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else { return [] }
  var answer: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 4096)
  while true {
    let count = recv(descriptor, &chunk, chunk.count, 0)
    if count <= 0 { return answer }
    answer += chunk[..<count]
  }
}
