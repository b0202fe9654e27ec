// Which key decides where in a Cluster a command goes. Read from the words that are to be sent, and only where somebody asks: a single
// server's callers never pay for it.
// When using a command for the first time whose key is not its first argument, add it here.

extension RedisCommand {
  /// The same command, sent to the node that holds `key`: for commands without a key whose answer depends on the server (`TIME`).
  public func routed(like key: some RedisArgument) -> RedisCommand {
    var words = RedisWords()
    key.write(to: &words)
    var command = self
    command.explicitRoute = words.word(0).map(Array.init)
    return command
  }

  /// The same script call, with its source.
  func carryingSource() -> RedisCommand {
    var command = self
    command.carriesSource = true
    return command
  }

  /// The first key; nil where there is none.
  var routingKey: [UInt8]? {
    if let explicitRoute { return explicitRoute }
    guard let index = keyIndex else { return nil }
    return words.word(index).map(Array.init)
  }

  private var keyIndex: Int? {
    // A script's words are numkeys, keys, arguments.
    if script != nil { return words.word(0)?.elementsEqual([UInt8(ascii: "0")]) ?? true ? nil : 1 }
    switch name.uppercased() {
    case "XREAD", "XREADGROUP":
      return (1..<words.count).first { words.word($0)?.elementsEqual("STREAMS".utf8) ?? false }.map { $0 + 1 }
    case "PING", "INFO", "TIME", "CONFIG", "SCAN", "CLIENT", "CLUSTER", "COMMAND", "ROLE", "DBSIZE", "KEYS", "FLUSHALL",
      "FLUSHDB", "ACL",
      "ASKING", "READONLY", "WAIT", "SCRIPT", "ECHO", "LASTSAVE", "RANDOMKEY", "MEMORY", "DEBUG":
      return nil
    case "EVAL", "EVALSHA": return 3
    default: return 1
    }
  }

  /// Commands that hold for a connection, which in a Cluster is nobody's own.
  var bindsConnection: Bool {
    guard script == nil, (4...7).contains(name.utf8.count) else { return false }
    switch name.uppercased() {
    case "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "SELECT": return true
    default: return false
    }
  }
}

extension RedisWords {
  /// The n-th word; nil where there are fewer. Walks from the beginning.
  func word(_ index: Int) -> ArraySlice<UInt8>? {
    var position = encoded.startIndex
    for number in 0... {
      guard position < encoded.endIndex else { return nil }
      position += 1  // $
      var length = 0
      while encoded[position] != 13 {
        length = length * 10 + Int(encoded[position] - 48)
        position += 1
      }
      position += 2
      if number == index { return encoded[position..<position + length] }
      position += length + 2
    }
    return nil
  }
}
