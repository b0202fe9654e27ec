// What comes back: values of every kind, bytes as they are, errors as types.
import Redis
import RedisTestSupport
import Testing

@Suite struct RepliesTests {
  @Test func everyKindOfReplyIsToldApart() async throws {
    try await withServer { (_, connection) async throws in
      #expect(try await connection.send(RedisCommand("SET", "key", "value")) == .status("OK"))
      #expect(try await connection.send(RedisCommand("GET", "key")) == .bytes(Array("value".utf8)))
      #expect(try await connection.send(RedisCommand("GET", "none")) == .null)
      #expect(try await connection.send(RedisCommand("INCRBY", "count", -7)) == .integer(-7))
      #expect(try await connection.send(RedisCommand("LRANGE", "none", 0, -1)) == .array([]))
      let nested = "return {1, {'a', {redis.status_reply('fine'), false, {}}}, redis.error_reply('ERR inside')}"
      let inner: RedisValue = .array([.bytes([97]), .array([.status("fine"), .null, .array([])])])
      let reply = try await connection.send(RedisCommand("EVAL", nested, 0))
      #expect(reply == .array([.integer(1), inner, .error(RedisReplyError(message: "ERR inside"))]))
      #expect(connection.epoch == 1)
    }
  }

  @Test func keysAndValuesOfAllBytesComeBackAsTheyWere() async throws {
    try await withServer { (_, connection) async throws in
      let all = (0...255).map { UInt8($0) }
      let reversed = Array(all.reversed())
      #expect(try await connection.send(RedisCommand("SET", all, reversed)) == .status("OK"))
      #expect(try await connection.send(RedisCommand("GET", all)) == .bytes(reversed))
      #expect(try await connection.send(RedisCommand("SET", [UInt8](), [UInt8]())) == .status("OK"))
      #expect(try await connection.send(RedisCommand("GET", "")) == .bytes([]))
      #expect(try await connection.send(RedisCommand("KEYS", "*")).array?.count == 2)
      let script = RedisScript(name: "echo", source: "return {KEYS[1], ARGV[1]}")
      #expect(try await connection.run(script, keys: [all], [reversed]) == .array([.bytes(all), .bytes(reversed)]))
    }
  }

  @Test func valuesLargerThanAnyBufferComeBackWhole() async throws {
    try await withServer { (_, connection) async throws in
      let large = (0..<9_000_001).map { UInt8(truncatingIfNeeded: $0 &* 31) }
      async let first = connection.send(RedisCommand("SET", "large", large))
      async let second = connection.send(RedisCommand("SET", "small", "s"))
      #expect(try await (first, second) == (.status("OK"), .status("OK")))
      #expect(
        try await connection.pipeline([RedisCommand("GET", "large"), RedisCommand("GET", "small")]) == [
          .bytes(large), .bytes([115]),
        ])
    }
  }

  @Test func errorsOfTheServerAreThrownByTheirCode() async throws {
    try await withServer { (_, connection) async throws in
      _ = try await connection.send(RedisCommand("SET", "text", "a"))
      #expect(
        try await connection.failure(of: RedisCommand("LPUSH", "text", 1)).code
          == .wrongType)
      let unknown = try await connection.failure(of: RedisCommand("NOSUCH"))
      #expect(unknown.code == .other("ERR"))
      #expect(!unknown.nothingWasSent)
      #expect(
        try await connection.failure(of: RedisCommand("EVALSHA", "0", 0)).code
          == .noScript)
    }
  }

  @Test(arguments: [
    ("MOVED 3999 127.0.0.1:6381", RedisReplyError.Code.moved), ("ASK 3999 127.0.0.1:6381", .ask),
    ("LOADING Redis is loading", .loading),
    ("READONLY You can't write", .readOnly), ("OOM command not allowed", .oom),
    ("CLUSTERDOWN Hash slot not served", .clusterDown),
    ("ERR max number of clients reached", .maxClients), ("ERR syntax error", .other("ERR")), ("MISCONF Redis is", .misconf),
    ("BUSY Redis is busy", .busy), ("", .other("")),
  ])
  func anErrorsCodeIsItsFirstWord(message: String, code: RedisReplyError.Code) {
    #expect(RedisReplyError(message: message).code == code)
    #expect(RedisReplyError(message: message).message == message)
  }

  @Test func aPipelineReturnsErrorsInTheirPlaces() async throws {
    try await withServer { (_, connection) async throws in
      let replies = try await connection.pipeline([
        RedisCommand("SET", "a", 1), RedisCommand("LPUSH", "a", 1), RedisCommand("INCR", "a"), RedisCommand("MULTI"),
        RedisCommand("INCR", "a"), RedisCommand("LPUSH", "a", 1), RedisCommand("EXEC"),
      ])
      #expect(replies[0] == .status("OK"))
      #expect(replies[1].error?.code == .wrongType)
      #expect(replies[2] == .integer(2))
      #expect(replies[6].array?.first == .integer(3))
      #expect(replies[6].array?.last?.error?.code == .wrongType)
      #expect(try await connection.pipeline([]) == [])
    }
  }

  @Test func aFullServerSaysOOM() async throws {
    try await withServer(["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]) { (_, connection) async throws in
      let filling = try await failure { () throws(RedisError) in
        for number in 0..<100 {
          _ = try await connection.send(RedisCommand("SET", "key\(number)", [UInt8](repeating: 1, count: 100_000)))
        }
      }
      #expect(filling.code == .oom)
      // A full server is still one to connect to.
      let other = RedisConnection(connection.configuration)
      try await other.connect()
      #expect(try await other.send(RedisCommand("EXISTS", "key0")) == .integer(1))
      await other.close()
    }
  }

  @Test func aReplicaSaysREADONLY() async throws {
    try await withServer { (primary, _) async throws in
      try await withServer(["--replicaof", "127.0.0.1 \(primary.port)"]) { (_, connection) async throws in
        #expect(
          try await connection.failure(of: RedisCommand("SET", "a", 1)).code == .readOnly)
      }
    }
  }

  @Test(arguments: ["SUBSCRIBE", "psubscribe", "Monitor", "HELLO", "RESET"])
  func commandsThatWouldUnpairRepliesAreRefused(name: String) async throws {
    try await withServer { (_, connection) async throws in
      let error = try await connection.failure(of: RedisCommand(name, "x"))
      #expect(error == .notSent(.unsupported(command: name)))
      #expect(try await connection.send(RedisCommand("PING")) == .status("PONG"))
    }
  }
}
