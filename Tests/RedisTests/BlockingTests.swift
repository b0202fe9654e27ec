// Commands that wait on the server, and getting out of them.
import Glibc
import RedisTestSupport
import Testing

@testable import Redis

@Suite struct BlockingTests {
  private func isBlocked(_ observer: RedisConnection) async throws -> Bool {
    try await info(observer, "clients", "blocked_clients") == "1"
  }

  @Test func aBlockingReadReturnsWhatIsPushed() async throws {
    try await withServer { (server, connection) async throws in
      let observer = RedisConnection(server.configuration)
      try await observer.connect()
      let popped = Task { try await connection.blocking(RedisCommand("BLPOP", "list", 0), for: .seconds(60)) }
      try await eventually("BLPOP waits") { try await isBlocked(observer) }
      _ = try await observer.send(RedisCommand("RPUSH", "list", [0, 255] as [UInt8]))
      #expect(try await popped.value == .array([.bytes(Array("list".utf8)), .bytes([0, 255])]))
      #expect(try await connection.blocking(RedisCommand("BLPOP", "list", 0.01), for: .seconds(1)) == .null)
      await observer.close()
    }
  }

  @Test func cancellingABlockingReadReturnsAtOnceAndTheConnectionIsUsable() async throws {
    try await withServer { (server, connection) async throws in
      let observer = RedisConnection(server.configuration)
      try await observer.connect()
      var waits: [Duration] = []
      for round in 1...10 {
        let popped = Task {
          try await connection.failure(ofBlocking: RedisCommand("BLPOP", "list", 0), for: .seconds(600))
        }
        try await eventually("BLPOP waits") { try await isBlocked(observer) }
        let start = ContinuousClock.now
        popped.cancel()
        #expect(try await popped.value == .outcomeUnknown(.cancelled))
        waits.append(ContinuousClock.now - start)
        // Straight after, without waiting for anything.
        #expect(try await connection.send(RedisCommand("ECHO", "round \(round)")).string == "round \(round)")
        #expect(connection.epoch == round + 1)
      }
      // The median, as a busy machine may pause any single one; one that does not hear of it goes on for 600 s.
      #expect(waits.sorted()[5] < .seconds(5))
      // Nobody is left who could take this away.
      _ = try await observer.send(RedisCommand("RPUSH", "list", "a"))
      #expect(try await observer.send(RedisCommand("LLEN", "list")) == .integer(1))
      await observer.close()
    }
  }

  @Test func otherCallsWaitForTheBlockingOneAndThenGo() async throws {
    try await withServer { (server, connection) async throws in
      let observer = RedisConnection(server.configuration)
      try await observer.connect()
      let popped = Task { try await connection.blocking(RedisCommand("BLPOP", "list", 0), for: .seconds(60)) }
      try await eventually("BLPOP waits") { try await isBlocked(observer) }
      let others = (0..<20).map { number in Task { try await connection.send(RedisCommand("RPUSH", "order", number)) } }
      let short = try await connection.failure(of: RedisCommand("RPUSH", "order", "late"), timeout: .milliseconds(50))
      #expect(short.nothingWasSent && short.fault?.isTimeout == true)
      #expect(try await observer.send(RedisCommand("EXISTS", "order")) == .integer(0))
      _ = try await observer.send(RedisCommand("RPUSH", "list", "go"))
      _ = try await popped.value
      for task in others { _ = try await task.value }
      #expect(try await observer.send(RedisCommand("LLEN", "order")) == .integer(20))
      #expect(connection.epoch == 1)
      await observer.close()
    }
  }

  @Test func cancellingACallInTheQueueSendsNothing() async throws {
    try await withServer { (server, connection) async throws in
      let observer = RedisConnection(server.configuration)
      try await observer.connect()
      let popped = Task { try await connection.blocking(RedisCommand("BLPOP", "list", 0), for: .seconds(60)) }
      try await eventually("BLPOP waits") { try await isBlocked(observer) }
      let queued = Task { try await connection.failure(of: RedisCommand("INCR", "n")) }
      queued.cancel()
      #expect(try await queued.value == .notSent(.cancelled))
      _ = try await observer.send(RedisCommand("RPUSH", "list", "go"))
      _ = try await popped.value
      #expect(try await connection.send(RedisCommand("EXISTS", "n")) == .integer(0))
      await observer.close()
    }
  }

  @Test func aServerThatDiesEndsABlockingRead() async throws {
    try await withServer { (server, connection) async throws in
      let popped = Task {
        try await connection.failure(ofBlocking: RedisCommand("BLPOP", "list", 0), for: .seconds(600))
      }
      let observer = RedisConnection(server.configuration)
      try await observer.connect()
      try await eventually("BLPOP waits") { try await isBlocked(observer) }
      try await server.kill()
      #expect(try await popped.value.isOutcomeUnknown)
      await observer.close()
    }
  }

  @Test func nothingIsPoppedForABlockingReadThatHasExpired() async throws {
    try await withServer(configure: { $0.commandTimeout = .seconds(2) }) { (server, connection) async throws in
      let observer = RedisConnection(server.configuration)
      try await observer.connect()
      // Something is read before the reply that counts, as behind ASKING: WAIT's comes after more than a second.
      let outcomes = await connection.submit(
        [RedisCommand("WAIT", 1, 1500), RedisCommand("BLPOP", "list", 0)], timeout: .seconds(2), isBlocking: true)
      #expect(connection.state != .connected(epoch: 1), "the link goes with the call")
      guard case .failure(let error) = outcomes[1] else { throw TestFailure("\(outcomes[1])") }
      #expect(error.isOutcomeUnknown && error.fault?.isTimeout == true)
      try await eventually("the server has let go of it") { try await !isBlocked(observer) }
      _ = try await observer.send(RedisCommand("RPUSH", "list", "a"))
      #expect(try await observer.send(RedisCommand("LLEN", "list")) == .integer(1))
      await observer.close()
    }
  }

  @Test func aServerThatHoldsABlockingReadTooLongIsGivenUp() async throws {
    let listener = try Listener { connection, _ in
      readThrough("PING\r\n", from: connection)
      write("+PONG\r\n", to: connection)
      readToEnd(connection)
    }
    let connection = RedisConnection(listener.configuration(commandTimeout: .seconds(1)))
    try await connection.connect()
    let error = try await connection.failure(ofBlocking: RedisCommand("BLPOP", "list", "0.1"), for: .milliseconds(100))
    #expect(error.isOutcomeUnknown && error.fault?.isTimeout == true)
    try await eventually("it connects again") { connection.epoch == 2 }
    await connection.close()
  }
}
