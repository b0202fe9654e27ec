// The proxy with a real Redis behind it: each fault does what its name says.
import RedisTestSupport
import Testing

@testable import Chaos

@Suite struct ProxyTests {
  private func withProxy(_ body: (_ proxy: Proxy, _ through: RedisCall, _ straight: RedisCall) throws -> Void) async throws {
    let server = try await RedisServerProcess.start()
    let proxy = try Proxy(to: server.port)
    let loop = ProxyLoop([proxy])
    defer { loop.stop() }
    try body(proxy, RedisCall(port: proxy.port), RedisCall(port: server.port))
  }

  private func integer(_ reply: RedisReply) -> Int? { if case .integer(let value) = reply { value } else { nil } }

  /// Nil where nobody answers.
  private func exists(_ redis: RedisCall, _ key: String) -> Bool? {
    do { return integer(try redis("EXISTS", key)) == 1 } catch { return nil }
  }

  @Test func whatPassesArrivesWhole() async throws {
    try await withProxy { _, through, straight in
      let long = String(repeating: "0123456789", count: 300_000)
      try through("SET", "key", long, patience: 20_000)
      let reply1 = try straight("STRLEN", "key")
      #expect(integer(reply1) == long.utf8.count)
      guard case .text(let back) = try through("GET", "key", patience: 20_000) else {
        Issue.record("no text")
        return
      }
      #expect(back == long)
    }
  }

  @Test func aRequestThatIsCutBeforeItsReplyIsDone() async throws {
    try await withProxy { proxy, through, straight in
      proxy.strike(.cutBeforeReply)
      Monotonic.pause(200)
      #expect(throws: ConnectionFault.self) { try through("INCR", "done") }
      let reply2 = try straight("INCR", "done")
      #expect(integer(reply2) == 2)
      // Once, not for ever.
      let reply3 = try through("INCR", "done")
      #expect(integer(reply3) == 3)
    }
  }

  @Test func aRequestWhoseReplyIsSwallowedIsDoneAndItsConnectionStaysSilent() async throws {
    try await withProxy { proxy, _, straight in
      let connection = try Connection(port: proxy.port, patience: 1500)
      proxy.strike(.swallowReplies)
      Monotonic.pause(200)
      let request = Array("*2\r\n$4\r\nINCR\r\n$4\r\ndone\r\n".utf8)
      try connection.send(request)
      #expect(Monotonic.wait(upTo: 10_000) { exists(straight, "done") == true })
      // It stays open, and what is asked later is done as well.
      try connection.send(request)
      #expect(throws: ConnectionFault.self) { try connection.line() }
      let reply = try straight("INCR", "done")
      #expect(integer(reply) == 3)
    }
  }

  @Test func aRequestThatIsCutWithinIsNotDone() async throws {
    try await withProxy { proxy, through, straight in
      proxy.strike(.cutWithinRequest)
      Monotonic.pause(200)
      #expect(throws: ConnectionFault.self) { try through("INCR", "never") }
      let reply4 = try straight("INCR", "never")
      #expect(integer(reply4) == 1)
    }
  }

  @Test func aSilentLinkAnswersOnceItIsNoLongerSilent() async throws {
    try await withProxy { proxy, through, _ in
      proxy.set(.silent)
      Monotonic.pause(200)
      #expect(throws: ConnectionFault.self) { try through("PING", patience: 300) }
      proxy.set(.refuse)
      Monotonic.pause(200)
      #expect(throws: ConnectionFault.self) { try through("PING") }
      proxy.set(.pass)
      #expect(Monotonic.wait(upTo: 10_000) { exists(through, "nothing") != nil })
    }
  }

  @Test func aDelayHoldsBothWays() async throws {
    try await withProxy { proxy, through, _ in
      proxy.set(.delay(milliseconds: 150))
      Monotonic.pause(200)
      let before = Monotonic.milliseconds
      try through("PING", patience: 20_000)
      #expect(Monotonic.milliseconds - before >= 290)
    }
  }

  @Test func aHalfClosedLinkEndsForOneSideOnly() async throws {
    try await withProxy { proxy, _, straight in
      let connection = try Connection(port: proxy.port, patience: 10_000)
      try connection.send(Array("*1\r\n$4\r\nPING\r\n".utf8))
      let answer = try connection.line()
      #expect(answer == "+PONG")
      proxy.strike(.halfCloseFromRedis)
      let ended = Result { try connection.line() }
      #expect(throws: ConnectionFault.self) { try ended.get() }
      // What is still said arrives.
      try connection.send(Array("*2\r\n$4\r\nINCR\r\n$4\r\nhalf\r\n".utf8))
      #expect(Monotonic.wait(upTo: 10_000) { exists(straight, "half") == true })
    }
  }
}
