// Scripts: by digest, with the source where the server lacks it, in order.
import Redis
import RedisTestSupport
import Testing

@Suite struct ScriptTests {
  private let add = RedisScript(name: "add", source: "return redis.call('INCRBY', KEYS[1], ARGV[1])")

  private func calls(_ connection: RedisConnection, _ command: String) async throws -> String? {
    try await info(connection, "commandstats", "cmdstat_\(command)").flatMap { $0.split(separator: ",").first.map(String.init) }
  }

  @Test func theDigestIsTheOneThatRedisMakes() async throws {
    try await withServer { (_, connection) async throws in
      #expect(try await connection.send(RedisCommand("SCRIPT", "LOAD", add.source)).string == add.sha1)
    }
  }

  @Test func aScriptsSourceIsSentOncePerConnection() async throws {
    try await withServer { (_, connection) async throws in
      for number in 1...5 { #expect(try await connection.run(add, keys: ["n"], [1]) == .integer(Int64(number))) }
      #expect(try await calls(connection, "eval") == "calls=1")
      #expect(try await calls(connection, "evalsha") == "calls=4")
    }
  }

  @Test func aForgottenScriptRunsOnceAllTheSame() async throws {
    try await withServer { (_, connection) async throws in
      _ = try await connection.run(add, keys: ["n"], [1])
      _ = try await connection.send(RedisCommand("SCRIPT", "FLUSH"))
      #expect(try await connection.run(add, keys: ["n"], [1]) == .integer(2))
      _ = try await connection.send(RedisCommand("SCRIPT", "FLUSH"))
      let replies = try await connection.pipeline([RedisCommand("PING"), add.call(keys: ["n"], [10]), add.call(keys: ["m"], [1])])
      #expect(replies == [.status("PONG"), .integer(12), .integer(1)])
    }
  }

  @Test func aPipelineOfScriptsAndCommandsKeepsItsOrder() async throws {
    try await withServer { (_, connection) async throws in
      let replies = try await connection.pipeline(
        (0..<100).flatMap { [add.call(keys: ["n"], [1]), RedisCommand("RPUSH", "seen", $0), RedisCommand("GET", "n")] })
      for index in 0..<100 {
        #expect(replies[index * 3] == .integer(Int64(index + 1)))
        #expect(replies[index * 3 + 2].integer == Int64(index + 1))
      }
    }
  }

  @Test func aBrokenScriptIsAnErrorAndNotARetry() async throws {
    try await withServer { (_, connection) async throws in
      let broken = RedisScript(name: "broken", source: "return (")
      for _ in 0..<2 {
        #expect(try await connection.failure(of: broken.call(keys: [])).code == .other("ERR"))
      }
    }
  }

  @Test func aRestartedServerGetsTheSourceAgain() async throws {
    try await withServer { (server, connection) async throws in
      _ = try await connection.run(add, keys: ["n"], [1])
      try await server.restart()
      try await connection.connected(within: .seconds(20))
      #expect(try await connection.run(add, keys: ["n"], [5]) == .integer(5))
      #expect(try await calls(connection, "evalsha") == nil)
    }
  }
}
