// Streamed bodies and events: back-pressure, leaving clients, and ends.

import HTTPTypes
import Synchronization
import Testing

@testable import HTTP

/// What a handler under test did, seen from the test.
private final class Log: Sendable {
  private let state = Mutex((written: 0, endings: [String]()))
  var written: Int { state.withLock { $0.written } }
  var endings: [String] { state.withLock { $0.endings } }
  func wrote(_ count: Int) { state.withLock { $0.written += count } }
  func ended(_ how: String) { state.withLock { $0.endings.append(how) } }
}

private let block = [UInt8](repeating: 65, count: 32 << 10)

/// Streams blocks until something stops it.
private func endless(_ log: Log) -> Route {
  Route(
    .get, "/endless",
    .waiting { _, _ in
      Response(
        body: .stream(length: nil) { writer in
          do {
            while true {
              try await writer.write(block)
              log.wrote(block.count)
            }
          } catch {
            log.ended("\(error)")
            throw error
          }
        })
    })
}

/// Waits until its task is cancelled.
private func forever(_ log: Log) -> Route {
  Route(
    .get, "/forever",
    .waiting { _, _ in
      log.wrote(1)
      do { try await Task.sleep(for: .seconds(600)) } catch { log.ended("cancelled") }
      return .text("never sent")
    })
}

@Suite struct StreamingTests {
  @Test func aSlowReaderCostsBoundedMemoryAndIsCutAfterTheDeadline() async throws {
    let log = Log()
    var limits = ServerLimits()
    limits.writeStall = .milliseconds(700)
    try await withServer([endless(log)], limits: limits) { server in
      let port = server.port
      try await onThread {
        let client = try Client(port: port, receiveBuffer: 16 << 10)
        try client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = try client.line(until: Array("\r\n\r\n".utf8))
        // Reads nothing more until the server has given up.
        let end = ContinuousClock.now + .seconds(15)
        while log.endings.isEmpty, ContinuousClock.now < end { pause(5) }
      }
      #expect(log.endings == ["clientGone"])
      // The high-water mark, one write, and what the kernel holds unsent and unread.
      #expect(log.written < 12 << 20)
      try await eventually("the connection is gone") { server.connections == 0 }
    }
  }

  @Test func aSlowButSteadyReaderGetsEverything() async throws {
    let total = 6 << 20
    let route = Route(
      .get, "/six",
      .immediate { _, _ in
        Response(
          body: .stream(length: nil) { writer in
            for start in stride(from: 0, to: total, by: 100_000) {
              let count = min(100_000, total - start)
              try await writer.write((start..<(start + count)).map { UInt8(truncatingIfNeeded: $0 >> 8) })
            }
          })
      })
    var limits = ServerLimits()
    limits.streamHighWater = 64 << 10
    try await withServer([route], limits: limits) { server in
      let port = server.port
      try await onThread {
        let client = try Client(port: port, receiveBuffer: 16 << 10)
        try client.send("GET /six HTTP/1.1\r\nHost: a\r\n\r\n")
        let body = try client.reply().body
        #expect(body.count == total)
        #expect(body.indices.allSatisfy { body[$0] == UInt8(truncatingIfNeeded: $0 >> 8) })
        // And the connection goes on.
        try client.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try client.reply().status == 404)
      }
    }
  }

  @Test(arguments: [true, false])
  func aClientThatLeavesCancelsTheHandler(byReset: Bool) async throws {
    let log = Log()
    var limits = ServerLimits()
    limits.halfClosedGrace = .milliseconds(100)
    try await withServer([endless(log), forever(log)], limits: limits) { server in
      let port = server.port
      for path in ["/forever", "/endless"] {
        let before = (log.endings.count, log.written)
        try await onThread {
          let client = try Client(port: port)
          try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
          let end = ContinuousClock.now + .seconds(15)
          while log.written == before.1, ContinuousClock.now < end { pause(2) }
          if byReset { client.reset() } else { client.close() }
        }
        try await eventually("the handler of \(path) has ended") { log.endings.count > before.0 }
        try await eventually("the connection is gone") { server.connections == 0 }
      }
    }
  }

  @Test func aStreamThatFailsDoesNotLookComplete() async throws {
    let failing = Response(
      body: .stream(length: nil) { writer in
        try await writer.write("some")
        throw ClientError(description: "broken")
      })
    let heard = Log()
    let router = Router(
      [Route(.get, "/fails", .immediate { _, _ in failing })],
      streamFailed: { error, request in heard.ended("\(error) \(request.target)") })
    let server = try Server(port: 0, router: router)
    let running = Task { try await server.run() }
    let port = server.port
    try await onThread {
      #expect(throws: ClientError.self) { try Client(port: port).get("/fails") }
      // HTTP/1.0 cannot tell an end from a failure, so that one is a reset.
      let old = try Client(port: port)
      try old.send("GET /fails HTTP/1.0\r\n\r\n")
      #expect(throws: ClientError.self) { try old.readToEnd() }
    }
    await server.shutdown()
    try await running.value
    #expect(heard.endings == ["broken /fails", "broken /fails"])
  }

  @Test func eventsAreWrittenAsTheStandardWants() async throws {
    let events = Route(
      .get, "/events",
      .immediate { _, _ in
        .eventStream { stream in
          try await stream.retry(after: .milliseconds(1500))
          try await stream.send(event: "tick", id: "7", data: "one\ntwo\r\nthree\rfour")
          try await stream.send(event: "a\nb", id: "1\0", data: "")
          try await stream.comment("still here")
        }
      })
    try await withServer([events]) { server in
      let port = server.port
      try await onThread {
        let reply = try Client(port: port).get("/events")
        #expect(reply.fields["content-type"] == "text/event-stream")
        #expect(
          reply.text == """
            retry: 1500

            event: tick
            id: 7
            data: one
            data: two
            data: three
            data: four

            event: a
            id: 1
            data: \("")

            : still here


            """)
      }
    }
  }

  @Test func manyTasksMayWriteToOneStream() async throws {
    let route = Route(
      .get, "/many",
      .waiting { _, _ in
        Response(
          body: .stream(length: nil) { writer in
            try await withThrowingTaskGroup(of: Void.self) { group in
              for letter in UInt8(ascii: "a")...UInt8(ascii: "j") {
                group.addTask { for _ in 0..<50 { try await writer.write([UInt8](repeating: letter, count: 1000)) } }
              }
              try await group.waitForAll()
            }
          })
      })
    var limits = ServerLimits()
    limits.streamHighWater = 8 << 10
    try await withServer([route], limits: limits) { server in
      let port = server.port
      let body = try await onThread { try Client(port: port).get("/many").body }
      #expect(body.count == 500_000)
      // Each write stays in one piece.
      let pieces = stride(from: 0, to: body.count, by: 1000).map { Set(body[$0..<($0 + 1000)]).count }
      #expect(pieces.allSatisfy { $0 == 1 })
    }
  }
}
