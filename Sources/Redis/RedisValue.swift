// What a server answers (RESP2). Strings are bytes; only status lines and errors are text.

/// One reply.
public enum RedisValue: Sendable, Equatable {
  case null
  case integer(Int64)
  /// A status line such as `OK`.
  case status(String)
  case bytes([UInt8])
  case array([RedisValue])
  /// Inside an array (`EXEC`) or a pipeline; `send` throws it instead.
  case error(RedisReplyError)

  public var isNull: Bool { self == .null }

  /// An integer reply, or a string that is one.
  public var integer: Int64? {
    switch self {
    case .integer(let number): number
    case .bytes(let bytes): Int64(String(decoding: bytes, as: UTF8.self))
    case .status(let text): Int64(text)
    default: nil
    }
  }

  /// The bytes of a string or a status line.
  public var bytes: [UInt8]? {
    switch self {
    case .bytes(let bytes): bytes
    case .status(let text): Array(text.utf8)
    default: nil
    }
  }

  /// A string or a status line as text; bytes that are no UTF-8 become U+FFFD (use `bytes` where that matters).
  public var string: String? {
    switch self {
    case .bytes(let bytes): String(decoding: bytes, as: UTF8.self)
    case .status(let text): text
    default: nil
    }
  }

  public var array: [RedisValue]? {
    if case .array(let values) = self { values } else { nil }
  }

  public var error: RedisReplyError? {
    if case .error(let error) = self { error } else { nil }
  }
}
