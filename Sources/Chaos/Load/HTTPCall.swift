// One HTTP request on a connection of its own, blocking, with a deadline. As little of HTTP/1.1 as our own dashboard answers with.

import Shared

struct HTTPAnswer {
  let status: Int
  let body: [UInt8]
  /// nil where the body is no JSON.
  var json: JSONValue? { try? JSONReader.parse(body) }
}

struct HTTPCall: Sendable {
  let port: Int

  func get(_ path: String, accept: String = "*/*", patience: Int = 20_000) throws(ConnectionFault) -> HTTPAnswer {
    try call("GET", path, nil, accept: accept, patience: patience)
  }

  func post(_ path: String, _ body: [UInt8], patience: Int = 20_000) throws(ConnectionFault) -> HTTPAnswer {
    try call("POST", path, body, accept: "*/*", patience: patience)
  }

  private func call(_ method: String, _ path: String, _ body: [UInt8]?, accept: String, patience: Int) throws(ConnectionFault)
    -> HTTPAnswer
  {
    let connection = try Connection(port: port, patience: patience)
    var head = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nAccept: \(accept)\r\nConnection: close\r\n"
    if let body { head += "Content-Length: \(body.count)\r\n" }
    try connection.send(Array((head + "\r\n").utf8) + (body ?? []))
    let words = try connection.line().split(separator: " ")
    guard words.count >= 2, let status = Int(words[1]) else { throw ConnectionFault(description: "no status line") }
    var length: Int?
    var chunked = false
    while true {
      let line = try connection.line().lowercased()
      if line.isEmpty { break }
      if line.hasPrefix("content-length:") { length = Int(line.dropFirst("content-length:".count).filter { $0 != " " }) }
      if line.hasPrefix("transfer-encoding:"), line.hasSuffix("chunked") { chunked = true }
    }
    if chunked { return HTTPAnswer(status: status, body: try chunks(connection)) }
    if let length { return HTTPAnswer(status: status, body: try connection.bytes(length)) }
    return HTTPAnswer(status: status, body: status == 204 ? [] : try connection.rest())
  }

  private func chunks(_ connection: Connection) throws(ConnectionFault) -> [UInt8] {
    var body: [UInt8] = []
    while true {
      let head = try connection.line()
      guard let count = Int(head.prefix { $0 != ";" }, radix: 16) else { throw ConnectionFault(description: "no chunk: \(head)") }
      if count == 0 { return body }
      body += try connection.bytes(count)
      _ = try connection.line()
    }
  }
}
