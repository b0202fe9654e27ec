// Every bound the server puts on its clients, in one value.
//
// Each limit has its own answer (API.md, "Limits"): requestLine 414 · head and fields 431 · body 413 · headTimeout and
// bodyIdle 408 · connections 503 · idle: closed silently. After any of these the connection closes.
// When adding a limit, also add its row to the tests of the limits.

/// Bounds on what one server spends on its clients. Sizes are bytes, times are elapsed (monotonic) time.
public struct ServerLimits: Sendable {
  /// Longest request line without its line end; a longer one is answered 414.
  public var requestLine = 8 << 10
  /// Longest head (request line, fields, line ends); a longer one is answered 431.
  public var head = 32 << 10
  /// Most field lines in one head or trailer; more are answered 431.
  public var fields = 100
  /// Longest body after removing chunked framing; a longer one is answered 413.
  public var body = 1 << 20
  /// From the first byte of a head to its last; a slower one is answered 408.
  public var headTimeout: Duration = .seconds(10)
  /// Longest silence inside a body; then 408.
  public var bodyIdle: Duration = .seconds(30)
  /// Longest silence between requests; then the connection is closed without a word.
  public var idle: Duration = .seconds(60)
  /// Longest time that a client may take none of the bytes waiting for it; then it is cut.
  public var writeStall: Duration = .seconds(30)
  /// Open connections over all loops; one more is answered 503 and closed.
  public var connections = 10_000
  /// Bytes of a streamed body that may wait for a slow reader before `BodyWriter.write` suspends.
  public var streamHighWater = 256 << 10
  /// How long a client whose sending side is closed may still wait for a slow handler before its task is cancelled.
  public var halfClosedGrace: Duration = .seconds(5)
  /// How long a connection that is closing waits for the client to read the last answer.
  public var linger: Duration = .seconds(5)
  /// How long `shutdown` waits for answers that are under way before their tasks are cancelled.
  public var drain: Duration = .seconds(5)

  public init() {}
}
