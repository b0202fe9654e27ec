// Many callers on one connection.
import Glibc
import Redis
import RedisTestSupport
import Testing

@Suite struct SharingTests {
  @Test func tenThousandCallersAtOnceEachGetTheirOwnReply() async throws {
    try await withServer(configure: { $0.commandTimeout = .seconds(60) }) { (_, connection) async throws in
      let readsBefore = Int(try await info(connection, "stats", "total_reads_processed") ?? "") ?? 0
      let numbers = try await withThrowingTaskGroup(of: (Int, RedisValue, RedisValue).self) { group in
        for caller in 0..<10_000 {
          group.addTask {
            let echoed = try await connection.send(RedisCommand("ECHO", "caller \(caller)"))
            return (caller, echoed, try await connection.send(RedisCommand("INCR", "count")))
          }
        }
        var numbers: Set<Int64> = []
        for try await (caller, echoed, counted) in group {
          #expect(echoed.string == "caller \(caller)")
          numbers.insert(counted.integer ?? 0)
        }
        return numbers
      }
      #expect(numbers == Set(1...10_000))
      // Shared pipelines: far fewer reads at the server than commands.
      let reads = (Int(try await info(connection, "stats", "total_reads_processed") ?? "") ?? 0) - readsBefore
      #expect(reads > 0 && reads < 10_000)
      #expect(connection.epoch == 1)
    }
  }

  @Test func pipelinesOfManyCallersAreNotInterleaved() async throws {
    try await withServer { (_, connection) async throws in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for caller in 0..<200 {
          group.addTask {
            let replies = try await connection.pipeline([
              RedisCommand("MULTI"), RedisCommand("SET", "who", caller), RedisCommand("GET", "who"), RedisCommand("EXEC"),
            ])
            #expect(replies[3] == .array([.status("OK"), .bytes(Array(String(caller).utf8))]))
          }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test func cancellingACallLeavesTheConnectionToTheOthers() async throws {
    try await withServer { (server, connection) async throws in
      server.signal(SIGSTOP)
      let cancelled = (0..<50).map { number in
        Task { try await connection.failure(of: RedisCommand("INCR", "n\(number)")) }
      }
      let kept = (0..<50).map { number in Task { try await connection.send(RedisCommand("ECHO", "kept \(number)")) } }
      for task in cancelled { task.cancel() }
      for task in cancelled { #expect(try await task.value.isCancellation) }
      server.signal(SIGCONT)
      for (number, task) in kept.enumerated() { #expect(try await task.value.string == "kept \(number)") }
      #expect(connection.epoch == 1)
    }
  }

  @Test func aTaskThatIsCancelledAlreadyDoesNotWait() async throws {
    try await withServer { (_, connection) async throws in
      let task = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        return try await connection.failure(ofBlocking: RedisCommand("BLPOP", "nothing", 0), for: .seconds(600))
      }
      #expect(try await task.value.isCancellation)
      #expect(try await connection.send(RedisCommand("PING")) == .status("PONG"))
    }
  }
}
