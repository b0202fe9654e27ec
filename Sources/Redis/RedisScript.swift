// A Lua script, sent by its digest once the server has it. On each new connection the first use carries the source, so that
// a pipeline keeps its order; a server that forgot the script (`SCRIPT FLUSH`) answers NOSCRIPT, has run nothing, and gets that
// call again with the source.

/// A named Lua script.
public struct RedisScript: Sendable, Hashable {
  /// For logs and errors.
  public let name: String
  public let source: String
  /// Lower-case hex.
  public let sha1: String

  public init(name: String, source: String) {
    self.name = name
    self.source = source
    sha1 = SHA1.hex(source.utf8)
  }

  public static func == (left: RedisScript, right: RedisScript) -> Bool { left.sha1 == right.sha1 }
  public func hash(into hasher: inout Hasher) { hasher.combine(sha1) }

  /// The command that runs it: for `send`, or beside others in a `pipeline`.
  public func call(keys: [any RedisArgument], _ arguments: [any RedisArgument] = []) -> RedisCommand {
    RedisCommand(self, keys: keys, arguments: arguments)
  }
}
