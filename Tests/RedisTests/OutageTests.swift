// Losing the server in every way, and finding it again.
import Glibc
import Redis
import RedisTestSupport
import Testing

@Suite struct OutageTests {
  /// The server writes its append-only file before it replies, so that what it acknowledged survives SIGKILL (with fsync
  /// `everysec`, the default, it would put that off while an fsync is under way).
  @Test func aServerKilledUnderLoadNeverMakesAnOutcomeALie() async throws {
    try await withServer(
      ["--appendonly", "yes", "--appendfsync", "no"], configure: { $0.backoff = ReconnectBackoff(cap: .milliseconds(200)) }
    ) {
      (server, connection) async throws in
      let load = (0..<64).map { caller in
        Task {
          var counts = (known: 0, unknown: 0, unsent: 0)
          while !Task.isCancelled {
            do throws(RedisError) {
              _ = try await connection.send(RedisCommand("INCR", "count\(caller)"))
              counts.known += 1
            } catch {
              switch error {
              case .outcomeUnknown: counts.unknown += 1
              case .notSent:
                counts.unsent += 1
                _ = try? await connection.connected(within: .seconds(20))
              case .reply: Issue.record("an error reply: \(error)")
              }
            }
          }
          return counts
        }
      }
      for round in 1...4 {
        let before = try await info(connection, "stats", "total_commands_processed").flatMap { Int($0) } ?? 0
        try await eventually("load in round \(round)") {
          (try? await info(connection, "stats", "total_commands_processed")).flatMap { $0 }.flatMap { Int($0) } ?? 0 > before
            + 2000
        }
        try await server.kill()
        try await server.restart()
        try await eventually("round \(round) is connected again") { connection.epoch == round + 1 }
        try await connection.connected(within: .seconds(20))
      }
      for task in load { task.cancel() }
      var unknown = 0
      for (caller, task) in load.enumerated() {
        let counts = await task.value
        let stored = Int(try await connection.send(RedisCommand("GET", "count\(caller)")).integer ?? 0)
        #expect(stored >= counts.known && stored <= counts.known + counts.unknown)
        unknown += counts.unknown
      }
      #expect(unknown > 0)
    }
  }

  @Test func whileDownCallsFailAtOnceAndWaitingEndsInTime() async throws {
    try await withServer { (server, connection) async throws in
      try await server.kill()
      try await eventually("the loss is noticed") {
        if case .down = connection.state { true } else { connection.state == .connecting }
      }
      let start = ContinuousClock.now
      for _ in 0..<100 {
        #expect(try await connection.failure(of: RedisCommand("PING")).nothingWasSent)
      }
      // Each of them could wait for its 20 s.
      #expect(ContinuousClock.now - start < .seconds(20))
      #expect(
        try await connection.failureToConnect(within: .milliseconds(100)).nothingWasSent)
      let waiting = Task { try await connection.connected(within: .seconds(60)) }
      try await server.restart()
      try await waiting.value
      #expect(try await connection.send(RedisCommand("PING")) == .status("PONG"))
    }
  }

  @Test func statesTellOfEveryLossAndEveryReturn() async throws {
    // Long waits between attempts, so that few changes are missed by a watcher that gets no time to run.
    let backoff = ReconnectBackoff(base: .seconds(1))
    try await withServer(configure: { $0.backoff = backoff }) { (server, connection) async throws in
      let states = connection.states()
      let watching = Task { await states.reduce(into: [ConnectionState]()) { $0.append($1) } }
      try await server.kill()
      try await server.restart()
      try await connection.connected(within: .seconds(20))
      await connection.close()
      let seen = await watching.value
      #expect(seen.first == .connected(epoch: 1))
      #expect(seen.contains { if case .down = $0 { true } else { false } })
      #expect(seen.contains(.connected(epoch: 2)))
      #expect(seen.last == .closed(.closed))
      var afterwards: [ConnectionState] = []
      for await state in connection.states() { afterwards.append(state) }
      #expect(afterwards == [.closed(.closed)])
    }
  }

  @Test func aPipelineCutHalfWayTellsWhatIsKnown() async throws {
    let listener = try Listener { connection, number in
      readThrough("PING\r\n", from: connection)
      write("+PONG\r\n", to: connection)
      guard number == 1 else { return readToEnd(connection) }
      readThrough("five\r\n", from: connection)
      write(":1\r\n-ERR two\r\n$5\r\nthr", to: connection)
    }
    let connection = RedisConnection(listener.configuration())
    try await connection.connect()
    let outcomes = await connection.outcomes(of: ["one", "two", "three", "four", "five"].map { RedisCommand("ECHO", $0) })
    #expect(outcomes[0] == .success(.integer(1)))
    #expect(outcomes[1] == .success(.error(RedisReplyError(message: "ERR two"))))
    for outcome in outcomes[2...] {
      guard case .failure(.outcomeUnknown) = outcome else { throw TestFailure("expected unknown, got \(outcome)") }
    }
    await connection.close()
  }

  @Test func whatWasNotSentWholeIsNotUnknown() async throws {
    let listener = try Listener { connection, number in
      readThrough("PING\r\n", from: connection)
      write("+PONG\r\n", to: connection)
      guard number == 1 else { return readToEnd(connection) }
      readThrough("first\r\n", from: connection)
    }
    let connection = RedisConnection(listener.configuration())
    try await connection.connect()
    // More than the kernel buffers, so that its end cannot have left; the listener closes once it has read the first.
    let huge = [UInt8](repeating: 1, count: 64 << 20)
    let outcomes = await connection.outcomes(of: [
      RedisCommand("ECHO", "first"), RedisCommand("ECHO", huge), RedisCommand("ECHO", "last"),
    ])
    guard case .failure(.outcomeUnknown) = outcomes[0], case .failure(.notSent) = outcomes[1],
      case .failure(.notSent) = outcomes[2]
    else {
      throw TestFailure("unexpected: \(outcomes)")
    }
    await connection.close()
  }

  @Test func aServerThatFallsSilentIsLeftAndFoundAgain() async throws {
    let listener = try Listener { connection, number in
      readThrough("PING\r\n", from: connection)
      write("+PONG\r\n", to: connection)
      if number == 1 { return readToEnd(connection) }
      while readThrough("ECHO\r\n$1\r\nx\r\n", from: connection) { write("$1\r\nx\r\n", to: connection) }
    }
    let connection = RedisConnection(listener.configuration(commandTimeout: .seconds(1)))
    try await connection.connect()
    let error = try await connection.failure(of: RedisCommand("ECHO", "x"))
    #expect(error.isOutcomeUnknown && error.fault?.isTimeout == true)
    try await eventually("it connects again") { connection.epoch == 2 }
    #expect(try await connection.send(RedisCommand("ECHO", "x"), timeout: .seconds(20)).string == "x")
    await connection.close()
  }

  @Test func aSlowServerCostsOnlyTheImpatient() async throws {
    try await withServer { (server, connection) async throws in
      server.signal(SIGSTOP)
      let patient = Task { try await connection.send(RedisCommand("ECHO", "patient")) }
      let impatient = try await connection.failure(of: RedisCommand("ECHO", "impatient"), timeout: .seconds(1))
      #expect(impatient.isOutcomeUnknown && impatient.fault?.isTimeout == true)
      server.signal(SIGCONT)
      #expect(try await patient.value.string == "patient")
      // The late reply went to nobody else.
      #expect(try await connection.send(RedisCommand("ECHO", "next")).string == "next")
      _ = try await connection.send(RedisCommand("CLIENT", "PAUSE", 100, "ALL"))
      _ = try await connection.send(RedisCommand("DEBUG", "SLEEP", 0.1))
      #expect(connection.epoch == 1)
    }
  }

  @Test func aServerThatDropsEveryConnectionIsNotHammered() async throws {
    let listener = try Listener { connection, _ in
      readThrough("PING\r\n", from: connection)
      write("+PONG\r\n", to: connection)
    }
    let connection = RedisConnection(listener.configuration())
    try await Task.sleep(for: .milliseconds(1500))
    await connection.close()
    #expect((2...60).contains(listener.accepted))
  }

  @Test func aReplyToNothingEndsTheConnection() async throws {
    let listener = try Listener { connection, number in
      readThrough("PING\r\n", from: connection)
      write(number == 1 ? "+PONG\r\n+SURPRISE\r\n" : "+PONG\r\n", to: connection)
      readToEnd(connection)
    }
    let connection = RedisConnection(listener.configuration())
    try await eventually("it connects again") { connection.epoch == 2 }
    await connection.close()
  }

  @Test func closingEndsEveryCallAndEveryWait() async throws {
    let listener = try Listener { connection, _ in
      readThrough("PING\r\n", from: connection)
      write("+PONG\r\n", to: connection)
      readToEnd(connection)
    }
    let connection = RedisConnection(listener.configuration())
    try await connection.connect()
    let sent = Task {
      try await connection.failure(ofBlocking: RedisCommand("BLPOP", "a", 0), for: .seconds(600))
    }
    let queued = Task { try await connection.failure(of: RedisCommand("PING")) }
    let never = RedisConnection(RedisConfiguration(address: .unix(path: "/nonexistent")))
    let waiting = Task { try await never.failureToConnect(within: .seconds(600)) }
    await Task.yield()
    await never.close()
    #expect(try await waiting.value == .notSent(.closed))
    await connection.close()
    await connection.close()
    #expect(try await sent.value.fault == .closed)
    #expect(try await queued.value == .notSent(.closed))
    #expect(try await connection.failureToConnect() == .notSent(.closed))
  }
}
