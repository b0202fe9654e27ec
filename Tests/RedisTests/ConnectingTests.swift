// Getting a connection: addresses, greetings, refusals, patience.
import Redis
import RedisTestSupport
import Testing

@Suite struct ConnectingTests {
  private func refusal(_ configuration: RedisConfiguration) async throws -> RedisFault? {
    let connection = RedisConnection(configuration)
    let error = try await connection.failureToConnect()
    #expect(error.nothingWasSent)
    let call = try await connection.failure(of: RedisCommand("PING"))
    #expect(call.nothingWasSent)
    await connection.close()
    return error.fault
  }

  private func refusalCode(_ configuration: RedisConfiguration) async throws -> RedisReplyError.Code? {
    if case .refused(let error)? = try await refusal(configuration) { error.code } else { nil }
  }

  @Test func aUnixSocketServesLikeAPort() async throws {
    let server = try await RedisServerProcess.start()
    let connection = RedisConnection(RedisConfiguration(address: .unix(path: server.unixSocketPath)))
    try await connection.connect()
    let large = [UInt8](repeating: 7, count: 3_000_000)
    _ = try await connection.send(RedisCommand("SET", "a", large))
    #expect(try await connection.send(RedisCommand("GET", "a")) == .bytes(large))
    try await server.restart()
    try await connection.connected(within: .seconds(20))
    #expect(connection.epoch == 2)
    await connection.close()
  }

  @Test func aNameIsResolved() async throws {
    try await withServer(configure: {
      if case .tcp(_, let port) = $0.address { $0.address = .tcp(host: "localhost", port: port) }
    }) {
      (_, connection) async throws in
      #expect(try await connection.send(RedisCommand("PING")) == .status("PONG"))
    }
  }

  @Test func theDatabaseAndTheNameAreSetOnEveryConnection() async throws {
    try await withServer(configure: {
      $0.database = 3
      $0.clientName = "muster-test"
    }) { (server, connection) async throws in
      for epoch in 1...2 {
        _ = try await connection.send(RedisCommand("SET", "here", epoch))
        #expect(try await connection.send(RedisCommand("CLIENT", "GETNAME")).string == "muster-test")
        let plain = RedisConnection(server.configuration)
        try await plain.connect()
        #expect(try await plain.send(RedisCommand("EXISTS", "here")) == .integer(0))
        _ = try await plain.send(RedisCommand("SELECT", 3))
        #expect(try await plain.send(RedisCommand("GET", "here")).integer == Int64(epoch))
        await plain.close()
        try await server.restart()
        try await connection.connected(within: .seconds(20))
      }
    }
  }

  @Test func passwordsAreGivenAndWrongOnesToldApart() async throws {
    let server = try await RedisServerProcess.start(["--requirepass", "s3 cret\""])
    #expect(try await refusalCode(server.configuration) == .noAuth)
    var configuration = server.configuration
    configuration.password = "guess"
    #expect(try await refusalCode(configuration) == .wrongPass)
    configuration.password = "s3 cret\""
    let connection = RedisConnection(configuration)
    try await connection.connect()
    try await server.restart()
    try await connection.connected(within: .seconds(20))
    #expect(try await connection.send(RedisCommand("SET", "a", 1)) == .status("OK"))
    await connection.close()
  }

  @Test func aServerThatDoesNotKnowAUTHDoesNotGetThePasswordIntoTheLog() async throws {
    let server = try await RedisServerProcess.start(["--rename-command", "AUTH", "LETMEIN"])
    var configuration = server.configuration
    configuration.password = "hunter2"
    let fault = try await refusal(configuration)
    #expect(fault.map { "\($0)" } == "the server refused the connection: ERR unknown command (hidden)")
  }

  @Test func aUserOfTheServersACLHasItsOwnRights() async throws {
    try await withServer { (server, admin) async throws in
      _ = try await admin.send(RedisCommand("ACL", "SETUSER", "agent", "on", ">pass", "~a*", "+get", "+set"))
      _ = try await admin.send(RedisCommand("ACL", "SETUSER", "open", "on", "nopass", "~*", "+@all"))
      var configuration = server.configuration
      configuration.username = "agent"
      configuration.password = "pass"
      configuration.clientName = "may-not-be-set"
      // Neither PING nor CLIENT is allowed to it: it connects all the same.
      let agent = RedisConnection(configuration)
      try await agent.connect()
      #expect(try await agent.send(RedisCommand("SET", "a", 1)) == .status("OK"))
      #expect(try await agent.failure(of: RedisCommand("SET", "b", 1)).code == .noPerm)
      await agent.close()
      configuration.password = "wrong"
      #expect(try await refusalCode(configuration) == .wrongPass)
      let open = RedisConnection(RedisConfiguration(address: configuration.address, username: "open"))
      try await open.connect()
      #expect(try await open.send(RedisCommand("ACL", "WHOAMI")).string == "open")
      await open.close()
    }
  }

  @Test func aServerThatLoadsItsDataIsWaitedFor() async throws {
    let server = try await RedisServerProcess.start()
    var configuration = server.configuration
    configuration.backoff.cap = .milliseconds(100)
    let connection = RedisConnection(configuration)
    try await connection.connect()
    _ = try await connection.send(RedisCommand("DEBUG", "POPULATE", 2000))
    _ = try await connection.send(RedisCommand("SAVE"))
    let states = connection.states()
    let sawLoading = Task {
      await states.contains { if case .down(.refused(let error), _) = $0 { error.code == .loading } else { false } }
    }
    // About a second of loading.
    try await server.restart(["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"])
    // This one meets the server while it loads, or just after.
    let late = RedisConnection(server.configuration)
    try await late.connect()
    #expect(try await late.send(RedisCommand("DBSIZE")) == .integer(2000))
    try await connection.connected(within: .seconds(20))
    await connection.close()
    await late.close()
    #expect(await sawLoading.value)
  }

  @Test func aServerWithTooManyClientsIsSaidToBe() async throws {
    try await withServer(["--maxclients", "1"]) { (server, _) async throws in
      #expect(try await refusalCode(server.configuration) == .maxClients)
    }
  }

  @Test func whatCannotBeReachedIsNamed() async throws {
    let port = try freePort()
    guard case .system("connect", let code)? = try await refusal(RedisConfiguration(address: .tcp(host: "127.0.0.1", port: port)))
    else {
      throw TestFailure("not refused by the system")
    }
    #expect(code == 111)
    guard case .system? = try await refusal(RedisConfiguration(address: .unix(path: "/nonexistent/redis.sock"))) else {
      throw TestFailure("a missing socket file is a system error")
    }
    for path in ["", String(repeating: "x", count: 108), "a\0b"] {
      guard case .unresolvable? = try await refusal(RedisConfiguration(address: .unix(path: path))) else {
        throw TestFailure("a path that does not fit is no address")
      }
    }
    for port in [0, -1, 65536] {
      guard case .unresolvable? = try await refusal(RedisConfiguration(address: .tcp(host: "127.0.0.1", port: port))) else {
        throw TestFailure("\(port) is no port")
      }
    }
  }

  @Test func aNameWithoutAnAddressOrANameServerThatIsSilentIsAFault() async throws {
    let fault = try await refusal(
      RedisConfiguration(address: .tcp(host: "no-such-host.invalid", port: 6379), connectTimeout: .seconds(2)))
    switch fault {
    case .unresolvable("no-such-host.invalid", _), .timedOut: break
    default: Issue.record("unexpected: \(String(describing: fault))")
    }
  }

  @Test func aListenerThatNeverAnswersIsGivenUpInTime() async throws {
    let listener = try Listener { connection, _ in readToEnd(connection) }
    let start = ContinuousClock.now
    #expect(try await refusal(listener.configuration(connectTimeout: .milliseconds(200)))?.isTimeout == true)
    #expect(ContinuousClock.now - start >= .milliseconds(200))
  }

  @Test func aListenerThatIsNoRedisIsAFault() async throws {
    let listener = try Listener { connection, _ in
      readThrough("PING\r\n", from: connection)
      write("HTTP/1.1 400 Bad Request\r\n\r\n", to: connection)
      readToEnd(connection)
    }
    guard case .protocolViolation? = try await refusal(listener.configuration()) else {
      throw TestFailure("expected a violation")
    }
  }
}
