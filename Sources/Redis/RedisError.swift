// What a call can fail with. The one distinction that callers need: did the server possibly act?
// `RedisFault` says why, for people and logs; decisions are made by `RedisError`'s case.

/// Why a call has no reply.
public enum RedisError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The server did not get the command (or not the whole of it): it had no effect and may be sent again.
  case notSent(RedisFault)
  /// The command left, no reply came: it may or may not have had its effect.
  case outcomeUnknown(RedisFault)
  /// The server answered with an error.
  case reply(RedisReplyError)

  /// True where the command certainly had no effect because it never reached the server.
  public var nothingWasSent: Bool {
    if case .notSent = self { true } else { false }
  }

  /// Why there is no reply; nil where there is one.
  public var fault: RedisFault? {
    switch self {
    case .notSent(let fault), .outcomeUnknown(let fault): fault
    case .reply: nil
    }
  }

  /// True where the calling task was cancelled.
  public var isCancellation: Bool { fault == .cancelled }

  public var description: String {
    switch self {
    case .notSent(let fault): "nothing was sent to Redis: \(fault)"
    case .outcomeUnknown(let fault): "sent to Redis, outcome unknown: \(fault)"
    case .reply(let error): "Redis answered: \(error)"
    }
  }
}

/// What went wrong on the way to a server and back.
public enum RedisFault: Error, Sendable, Equatable, CustomStringConvertible {
  /// There is no connection yet.
  case connecting
  /// The host's name has no address.
  case unresolvable(host: String, reason: String)
  /// A system call failed.
  case system(operation: String, errno: Int32)
  /// The server closed the connection.
  case serverClosed
  /// Nothing happened for this long, in whatever `operation` says.
  case timedOut(operation: String, after: Duration)
  /// Bytes that are no Redis reply, or a reply to nothing.
  case protocolViolation(String)
  /// The server answered the greeting (AUTH, SELECT, PING) with an error.
  case refused(RedisReplyError)
  /// The calling task was cancelled.
  case cancelled
  /// `close()` was called.
  case closed
  /// No Sentinel names a master of this name; the reason is the last one's.
  case noMaster(name: String, reason: String)
  /// The server is a replica now: it did nothing of what was asked.
  case notMaster
  /// Nobody serves this now: a Cluster is down, a slot is on its way or has no owner. Nothing was done.
  case unavailable(String)
  /// One node of a Cluster is the trouble.
  case node(String, String)
  /// A command that would break the pairing of calls and replies (`SUBSCRIBE`, `MONITOR`, `HELLO`, …).
  case unsupported(command: String)

  public var description: String {
    switch self {
    case .connecting: "not connected yet"
    case .unresolvable(let host, let reason): "the name \(host) cannot be resolved: \(reason)"
    case .system(let operation, let code): "\(operation): \(errorText(code))"
    case .serverClosed: "the server closed the connection"
    case .timedOut(let operation, let limit): "\(operation) took more than \(limit)"
    case .protocolViolation(let reason): "not the Redis protocol: \(reason)"
    case .refused(let error): "the server refused the connection: \(error)"
    case .cancelled: "cancelled"
    case .closed: "the connection was closed here"
    case .noMaster(let name, let reason): "no Sentinel names the master \"\(name)\": \(reason)"
    case .notMaster: "the server is a replica, not the master"
    case .unavailable(let reason): "the Cluster cannot serve this now: \(reason)"
    case .node(let address, let reason): "\(address): \(reason)"
    case .unsupported(let command): "\(command) cannot be used on a shared connection"
    }
  }
}
