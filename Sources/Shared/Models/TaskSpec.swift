// What a user asked for, as the envelope carries it and the store keeps it. Field rules: API.md, "Body of a task".

/// A command and how to run it. Strings hold no NUL; `taskname` is 1 byte to 64 KiB.
public struct TaskSpec: Sendable, Equatable, Codable {
  /// The name of an executable file under the agent's `script.path`, else a line for `/bin/sh -c`; with `args`, the program.
  public var taskname: String
  /// Nil: no arguments were given, `taskname` may be a shell line.
  public var args: [String]?
  public var env: [String: String]?
  public var cwd: String?
  /// What the command reads, base64 on the wire; nil: `/dev/null`.
  public var stdin: Base64Bytes?
  /// Seconds; nil: the agent's default; negative: no limit. Never 0.
  public var timeout: Double?
  /// The command line, where `taskname` is only its name: a task from the plain hash.
  public var command: Base64Bytes?

  public init(
    taskname: String, args: [String]? = nil, env: [String: String]? = nil, cwd: String? = nil, stdin: Base64Bytes? = nil,
    timeout: Double? = nil, command: Base64Bytes? = nil
  ) {
    self.taskname = taskname
    self.args = args
    self.env = env
    self.cwd = cwd
    self.stdin = stdin
    self.timeout = timeout
    self.command = command
  }

  /// Default of `expires`: 30 days, in seconds.
  public static let defaultExpires: Double = 30 * 86_400
}

/// Bytes that stand in JSON as base64.
public struct Base64Bytes: Sendable, Equatable, Codable {
  public var bytes: [UInt8]
  public init(_ bytes: [UInt8]) { self.bytes = bytes }
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let bytes = Base64.decode(try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not base64 (RFC 4648, with padding)")
    }
    self.bytes = bytes
  }
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(Base64.encode(bytes))
  }
}

/// Where a task came from.
public enum TaskOrigin: String, Sendable, Codable {
  case http, plain, queue, cron
  /// The store knows it by an agent's report alone: it is a restored copy, or another dashboard's task.
  case report
}
