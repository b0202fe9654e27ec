// One command to Redis itself, not through a proxy, on a connection of its own. For FLUSHALL and for tasks put into the plain hash by hand.

enum RedisReply {
  case text(String)
  case integer(Int)
  case failure(String)
  case nothing
}

struct RedisCall: Sendable {
  let port: Int

  @discardableResult
  func callAsFunction(_ words: String..., patience: Int = 3000) throws(ConnectionFault) -> RedisReply {
    let connection = try Connection(port: port, patience: patience)
    var request: [UInt8] = Array("*\(words.count)\r\n".utf8)
    for word in words { request += Array("$\(word.utf8.count)\r\n\(word)\r\n".utf8) }
    try connection.send(request)
    let line = try connection.line()
    let rest = String(line.dropFirst())
    switch line.first {
    case "+": return .text(rest)
    case ":": return .integer(Int(rest) ?? 0)
    case "-": return .failure(rest)
    case "$":
      guard let count = Int(rest), count >= 0 else { return .nothing }
      return .text(String(decoding: try connection.bytes(count), as: UTF8.self))
    default: return .nothing
    }
  }
}
