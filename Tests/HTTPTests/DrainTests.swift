// The orderly end of a server.

import HTTPTypes
import Synchronization
import Testing

@testable import HTTP

/// A door that a handler waits at and a test opens.
private final class Gate: Sendable {
  private let state = Mutex((open: false, arrived: 0))
  var arrived: Int { state.withLock { $0.arrived } }
  func open() { state.withLock { $0.open = true } }
  func wait() async throws {
    state.withLock { $0.arrived += 1 }
    try await eventually("the gate opens") { state.withLock { $0.open } }
  }
}

@Suite struct DrainTests {
  @Test func answersUnderWayAreFinishedAndNothingNewIsTaken() async throws {
    let gate = Gate()
    let server = try Server(
      port: 0,
      router: Router([
        Route(
          .get, "/gate",
          .waiting { _, _ in
            try await gate.wait()
            return .text("through")
          })
      ]))
    let running = Task { try await server.run() }
    let port = server.port
    async let reply = onThread { () throws -> Reply in
      let client = try Client(port: port)
      _ = try client.get("/nowhere")
      let reply = try client.get("/gate")
      #expect(try client.endsSilently())
      return reply
    }
    async let idle = onThread { () throws -> Bool in
      let client = try Client(port: port)
      _ = try client.get("/nowhere")
      return try client.endsSilently()
    }
    try await eventually("the handler waits") { gate.arrived == 1 && server.connections == 2 }
    server.beginShutdown()
    #expect(try await idle)
    try await eventually("new connections are refused") {
      try await onThread { (try? Client(port: port)) == nil }
    }
    gate.open()
    let answered = try await reply
    #expect(answered.text == "through")
    #expect(answered.fields["connection"] == "close")
    try await running.value
  }

  @Test func endlessStreamsEndInAnOrderlyWayAtOnce() async throws {
    let gate = Gate()
    // What is waited for where a stream does not end at once.
    var limits = ServerLimits()
    limits.drain = .seconds(60)
    let server = try Server(
      port: 0, limits: limits,
      router: Router([
        Route(
          .get, "/events",
          .immediate { _, _ in
            .eventStream { stream in
              try await stream.send(data: "first")
              try await gate.wait()
            }
          })
      ]))
    let running = Task { try await server.run() }
    let port = server.port
    async let reply = onThread { try Client(port: port).get("/events") }
    try await eventually("the stream waits") { gate.arrived == 1 }
    let started = ContinuousClock.now
    await server.shutdown()
    #expect(ContinuousClock.now - started < .seconds(30))
    #expect(try await reply.text == "data: first\n\n")
    try await running.value
  }

  @Test func whatDoesNotEndIsCutAfterTheDeadline() async throws {
    let gate = Gate()
    var limits = ServerLimits()
    limits.drain = .milliseconds(300)
    let stubborn = Route(
      .get, "/stubborn",
      .waiting { _, _ in
        try? await gate.wait()
        // Does not care about its cancellation.
        await withCheckedContinuation { continuation in
          Task.detached {
            try? await eventually("the server has stopped", within: 30) { gate.arrived == 2 }
            continuation.resume()
          }
        }
        return .text("too late")
      })
    let server = try Server(port: 0, limits: limits, router: Router([stubborn]))
    let running = Task { try await server.run() }
    let port = server.port
    async let ended = onThread { () throws -> Bool in
      let client = try Client(port: port)
      try client.send("GET /stubborn HTTP/1.1\r\nHost: a\r\n\r\n")
      return try client.endsSilently()
    }
    try await eventually("the handler waits") { gate.arrived == 1 }
    await server.shutdown()
    #expect(try await ended)
    try await running.value
    gate.open()
    try await gate.wait()
  }

  @Test func cancellingTheTaskShutsTheServerDown() async throws {
    let server = try Server(port: 0, router: Router([]))
    let running = Task { try await server.run() }
    let port = server.port
    _ = try await onThread { try Client(port: port).get("/") }
    running.cancel()
    try await running.value
    #expect(server.isDraining)
  }

  @Test func aServerThatNeverRanCanBeShutDown() async throws {
    let server = try Server(port: 0, router: Router([]))
    await server.shutdown()
    try await server.run()
    let again = try Server(port: server.port, router: Router([]))
    await again.shutdown()
  }

  @Test func serversCanBeStartedAndStoppedAllTheTime() async throws {
    for loops in [1, 2, 3, 1, 2, 3, 1, 2, 3, 1] {
      try await withServer([], loops: loops) { server in
        let port = server.port
        try await onThread { () throws in #expect(try Client(port: port).get("/").status == 404) }
      }
    }
  }
}
