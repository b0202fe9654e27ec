// A command, already in the form in which it is sent: words with their lengths (RESP). Arguments are bytes; nothing in them is
// special. When adding a type that may be an argument, conform it to `RedisArgument` here.

/// One command and its arguments: `RedisCommand("HSET", key, "field", bytes)`.
///
/// On a shared connection, `MULTI` … `EXEC` has to be one `pipeline` call; commands that change what the server answers
/// (`SUBSCRIBE`, `MONITOR`, `HELLO`) are refused; commands that wait on the server belong to `blocking`.
public struct RedisCommand: Sendable {
  /// The command's name, or the script's.
  public let name: String
  /// The words to send: all of them, or a script's numkeys, keys and arguments.
  private(set) var words = RedisWords()
  let script: RedisScript?
  /// A script that must not go by its digest: what follows `ASKING` cannot be sent a second time.
  var carriesSource = false
  /// Where it goes in a Cluster, when not by its own key.
  var explicitRoute: [UInt8]?

  public init(_ name: String, _ arguments: any RedisArgument...) {
    self.init(name, arguments: arguments)
  }

  public init(_ name: String, arguments: [any RedisArgument]) {
    self.name = name
    script = nil
    words.append(name.utf8)
    for argument in arguments { argument.write(to: &words) }
  }

  init(_ script: RedisScript, keys: [any RedisArgument], arguments: [any RedisArgument]) {
    name = script.name
    self.script = script
    keys.count.write(to: &words)
    for key in keys { key.write(to: &words) }
    for argument in arguments { argument.write(to: &words) }
  }

  /// Adds one argument at the end.
  public mutating func append(_ argument: any RedisArgument) {
    argument.write(to: &words)
  }

  public mutating func append(contentsOf arguments: some Sequence<any RedisArgument>) {
    for argument in arguments { argument.write(to: &words) }
  }

  /// Writes the whole command in RESP. A script goes by its digest, or with its source.
  func encode(into output: inout [UInt8], withSource: Bool) {
    var head = RedisWords()
    if let script {
      head.append((withSource ? "EVAL" : "EVALSHA").utf8)
      head.append(withSource ? script.source.utf8 : script.sha1.utf8)
    }
    output.append(UInt8(ascii: "*"))
    output.appendDecimal(head.count + words.count)
    output.append(13)
    output.append(10)
    output.append(contentsOf: head.encoded)
    output.append(contentsOf: words.encoded)
  }

  /// True for commands after which replies no longer match calls.
  var breaksPairing: Bool {
    guard script == nil, (5...12).contains(name.utf8.count) else { return false }
    return Self.refused.contains(name.uppercased())
  }

  private static let refused: Set<String> = [
    "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR", "HELLO", "PSYNC", "RESET",
  ]
}

/// The words of a command, each with its length before it.
public struct RedisWords: Sendable {
  public private(set) var count = 0
  private(set) var encoded: [UInt8] = []

  /// Adds one word of any bytes.
  public mutating func append(_ word: some Collection<UInt8>) {
    count += 1
    encoded.append(UInt8(ascii: "$"))
    encoded.appendDecimal(word.count)
    encoded.append(13)
    encoded.append(10)
    encoded.append(contentsOf: word)
    encoded.append(13)
    encoded.append(10)
  }
}

/// What may stand in a command. A value may write one word or several.
public protocol RedisArgument: Sendable {
  func write(to words: inout RedisWords)
}

extension String: RedisArgument {
  public func write(to words: inout RedisWords) { words.append(utf8) }
}

extension Substring: RedisArgument {
  public func write(to words: inout RedisWords) { words.append(utf8) }
}

extension Array: RedisArgument where Element == UInt8 {
  public func write(to words: inout RedisWords) { words.append(self) }
}

extension ArraySlice: RedisArgument where Element == UInt8 {
  public func write(to words: inout RedisWords) { words.append(self) }
}

extension Int: RedisArgument {
  public func write(to words: inout RedisWords) { words.append(String(self).utf8) }
}

extension Int64: RedisArgument {
  public func write(to words: inout RedisWords) { words.append(String(self).utf8) }
}

extension UInt64: RedisArgument {
  public func write(to words: inout RedisWords) { words.append(String(self).utf8) }
}

extension Double: RedisArgument {
  /// Shortest form that reads back as the same number.
  public func write(to words: inout RedisWords) { words.append(description.utf8) }
}

extension Array where Element == UInt8 {
  mutating func appendDecimal(_ number: Int) {
    if (0..<10).contains(number) { append(48 + UInt8(number)) } else { append(contentsOf: String(number).utf8) }
  }
}
