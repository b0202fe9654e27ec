// What these tests share: a server with a connection to it, and a listener that is no Redis.
import Glibc
import Redis
import RedisTestSupport
import Synchronization

/// Starts a server, connects, runs the test, closes.
func withServer(
  _ arguments: [String] = [], configure: (inout RedisConfiguration) -> Void = { _ in },
  _ body: (RedisServerProcess, RedisConnection) async throws -> Void
) async throws {
  let server = try await RedisServerProcess.start(arguments)
  var configuration = server.configuration
  configuration.commandTimeout = .seconds(20)
  configure(&configuration)
  let connection = RedisConnection(configuration)
  try await connection.connected(within: .seconds(20))
  try await body(server, connection)
  await connection.close()
}

/// The error that the call throws; a test failure where it throws none.
func failure<T>(_ call: () async throws(RedisError) -> T) async throws -> RedisError {
  let result: Result<T, RedisError>
  do throws(RedisError) { result = .success(try await call()) } catch { result = .failure(error) }
  switch result {
  case .success(let value): throw TestFailure("expected an error, got \(value)")
  case .failure(let error): return error
  }
}

// Beware: a closure with typed throws inside `#expect(…)` may run another closure's code (Swift 6.3.1); so calls get these.
extension RedisConnection {
  func failure(of command: RedisCommand, timeout: Duration? = nil) async throws -> RedisError {
    try await RedisTests.failure { () throws(RedisError) in try await send(command, timeout: timeout) }
  }

  func failure(ofBlocking command: RedisCommand, for limit: Duration) async throws -> RedisError {
    try await RedisTests.failure { () throws(RedisError) in try await blocking(command, for: limit) }
  }

  func failureToConnect(within limit: Duration? = nil) async throws -> RedisError {
    try await RedisTests.failure { () throws(RedisError) in
      if let limit { try await connected(within: limit) } else { try await connect() }
    }
  }
}

extension RedisError {
  /// The kind of error that the server answered.
  var code: RedisReplyError.Code? { if case .reply(let error) = self { error.code } else { nil } }

  var isOutcomeUnknown: Bool { if case .outcomeUnknown = self { true } else { false } }
}

extension RedisFault {
  var isTimeout: Bool { if case .timedOut = self { true } else { false } }
}

/// One number of `INFO` or `INFO <section>`.
func info(_ connection: RedisConnection, _ section: String, _ field: String) async throws -> String? {
  let text = try await connection.send(RedisCommand("INFO", section)).string ?? ""
  let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix(field + ":") }
  return line.map { String($0.dropFirst(field.count + 1)) }
}

/// A listener that does with each connection what the test says, one after the other, on a thread of its own.
final class Listener: Sendable {
  let port: Int
  private let descriptor: Int32
  private let count = Atomic<Int>(0)

  /// How many connections it took.
  var accepted: Int { count.load(ordering: .acquiring) }

  /// `serve` gets the connection's descriptor and its number from 1; the connection is closed when it returns.
  init(_ serve: @escaping @Sendable (Int32, Int) -> Void) throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    let port = try freePort()
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let isBound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    guard isBound, listen(descriptor, 64) == 0 else { throw TestFailure("cannot listen: errno \(errno)") }
    self.descriptor = descriptor
    self.port = port
    startThread { [weak self] in
      while true {
        let connection = accept(descriptor, nil, nil)
        guard connection >= 0, let number = self?.count.add(1, ordering: .acquiringAndReleasing).newValue else { return }
        serve(connection, number)
        // Ends it even where a server that was started meanwhile inherited the descriptor.
        shutdown(connection, Int32(SHUT_RDWR))
        close(connection)
      }
    }
  }

  deinit {
    shutdown(descriptor, Int32(SHUT_RDWR))
    close(descriptor)
  }

  func configuration(commandTimeout: Duration = .seconds(20), connectTimeout: Duration = .seconds(5)) -> RedisConfiguration {
    RedisConfiguration(
      address: .tcp(host: "127.0.0.1", port: port), connectTimeout: connectTimeout, commandTimeout: commandTimeout,
      backoff: ReconnectBackoff(cap: .milliseconds(500)))
  }
}

/// Reads until what was read ends with `end`; false once the peer has closed.
@discardableResult func readThrough(_ end: String, from descriptor: Int32) -> Bool {
  var bytes: [UInt8] = []
  var byte: UInt8 = 0
  while recv(descriptor, &byte, 1, 0) == 1 {
    bytes.append(byte)
    if bytes.suffix(end.utf8.count).elementsEqual(end.utf8) { return true }
  }
  return false
}

func write(_ text: String, to descriptor: Int32) {
  let bytes = Array(text.utf8)
  _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
}

/// Reads and forgets until the peer closes.
func readToEnd(_ descriptor: Int32) {
  var buffer = [UInt8](repeating: 0, count: 4096)
  while recv(descriptor, &buffer, buffer.count, 0) > 0 {}
}

private final class Body {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

private func startThread(_ run: @escaping @Sendable () -> Void) {
  var thread = pthread_t()
  pthread_create(
    &thread, nil,
    { body in
      if let body { Unmanaged<Body>.fromOpaque(body).takeRetainedValue().run() }
      return nil
    }, Unmanaged.passRetained(Body(run)).toOpaque())
  pthread_detach(thread)
}
