// What every caller relies on: replies, errors as types, bytes as they are, scripts, databases, addresses.
import Redis
import RedisTestSupport
import Testing

@Suite struct BasicTests {
  @Test func aValueComesBackAsItWasSet() async throws {
    let server = try await RedisServerProcess.start()
    let connection = RedisConnection(server.configuration)
    try await connection.connect()
    #expect(try await connection.send(RedisCommand("SET", "key", "value")) == .status("OK"))
    #expect(try await connection.send(RedisCommand("GET", "key")) == .bytes(Array("value".utf8)))
    #expect(try await connection.send(RedisCommand("GET", "none")) == .null)
    #expect(try await connection.send(RedisCommand("INCRBY", "count", -7)) == .integer(-7))
    #expect(connection.epoch == 1)
    await connection.close()
  }
}
