// The limits that need time or many connections. Sizes are in ParserTests; here each has its own answer and then the end.

import HTTPTypes
import Testing

@testable import HTTP

private func limits(_ change: (inout ServerLimits) -> Void) -> ServerLimits {
  var limits = ServerLimits()
  change(&limits)
  return limits
}

private let now = Route(.get, "/now", .immediate { _, _ in .text("now") })
private let echo = Route(.post, "/echo", .waiting { request, _ in Response(contentType: "x/y", bytes: request.body) })

@Suite struct LimitTests {
  @Test func aSlowHeadIsAnswered408HoweverItDribbles() async throws {
    try await withServer([now], limits: limits { $0.headTimeout = .seconds(1) }) { server in
      let port = server.port
      try await onThread {
        let started = ContinuousClock.now
        let client = try Client(port: port)
        #expect(try client.get("/now").status == 200)
        try client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ")
        // Bytes keep coming until the answer does; the limit is on the whole head.
        while !client.hasSomething(within: 10), ContinuousClock.now - started < .seconds(30) { try client.send("a") }
        #expect(ContinuousClock.now - started < .seconds(30))
        let reply = try client.reply()
        #expect(reply.status == 408)
        #expect(reply.fields["connection"] == "close")
        #expect(try client.endsSilently())
        #expect(ContinuousClock.now - started >= .seconds(1))
      }
    }
  }

  @Test func aBodyThatStallsIsAnswered408AndOneThatFlowsIsNot() async throws {
    try await withServer([echo], limits: limits { $0.bodyIdle = .seconds(2) }) { server in
      let port = server.port
      try await onThread {
        let flowing = try Client(port: port)
        try flowing.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n")
        // Longer in all than the limit, never that long without a byte.
        for _ in 0..<12 {
          try flowing.send("x")
          pause(250)
        }
        #expect(try flowing.reply().text == "xxxxxxxxxxxx")

        let stalled = try Client(port: port)
        try stalled.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        #expect(try stalled.reply().status == 408)
        #expect(try stalled.endsSilently())
      }
    }
  }

  @Test func anIdleConnectionIsClosedWithoutAWord() async throws {
    try await withServer([now], limits: limits { $0.idle = .seconds(2) }) { server in
      let port = server.port
      try await onThread {
        let fresh = try Client(port: port)
        #expect(try fresh.endsSilently())
        let used = try Client(port: port)
        #expect(try used.get("/now").status == 200)
        #expect(try used.endsSilently())
      }
      try await eventually("all connections are gone") { server.connections == 0 }
    }
  }

  @Test func aWaitingHandlerIsNeitherIdleNorSlow() async throws {
    let slow = Route(
      .get, "/slow",
      .waiting { _, _ in
        try await Task.sleep(for: .seconds(3))
        return .text("done")
      })
    let short = limits {
      $0.idle = .seconds(1)
      $0.headTimeout = .seconds(1)
    }
    try await withServer([slow], limits: short) { server in
      let port = server.port
      try await onThread { () throws in #expect(try Client(port: port).get("/slow").text == "done") }
    }
  }

  @Test func oneConnectionTooManyIsAnswered503AndTheOthersLive() async throws {
    try await withServer([now], limits: limits { $0.connections = 5 }) { server in
      let port = server.port
      try await onThread {
        let clients = try (0..<5).map { _ in try Client(port: port) }
        for client in clients { #expect(try client.get("/now").status == 200) }
        let refused = try Client(port: port)
        #expect(try refused.reply().status == 503)
        #expect(try refused.endsSilently())
        refused.close()
        for client in clients { #expect(try client.get("/now").status == 200) }
        clients[0].close()
      }
      try await eventually("there is room again") { server.connections < 5 }
      try await onThread { () throws in #expect(try Client(port: port).get("/now").status == 200) }
    }
  }

  @Test func aTakenPortIsAnErrorThatSaysSo() async throws {
    try await withServer([now]) { server in
      let error = #expect(throws: ServerError.self) { _ = try Server(port: server.port, router: Router([])) }
      #expect(error?.description == "cannot listen on 127.0.0.1:\(server.port): Address already in use")
    }
  }
}
