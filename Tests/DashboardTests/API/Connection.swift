// A client on a plain socket: one request, then whatever comes back, also while it is still coming.

import Glibc
import Shared
import Synchronization
import Testing

@testable import Dashboard

struct Answer: Sendable {
  var status: Int
  /// Names in lower case.
  var headers: [String: String]
  var body: [UInt8]
  var text: String { String(decoding: body, as: UTF8.self) }
  func json() throws -> JSONValue { try JSONReader.parse(body) }
  /// `error.code` of an error.
  var code: String? { (try? json())?["error"]?["code"]?.asString }
}

final class Connection: Sendable {
  private struct State {
    var bytes: [UInt8] = []
    var ended = false
    var closed = false
  }
  private let socket: Int32
  private let isHead: Bool
  private let state = Mutex(State())

  struct Failed: Error, CustomStringConvertible { let description: String }

  init(port: Int, _ method: String, _ target: String, headers: [String: String], body: [UInt8]) throws {
    isHead = method == "HEAD"
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    self.socket = socket
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard connected == 0 else { throw Failed(description: "connect: errno \(errno)") }
    var head = "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    for (name, value) in headers { head += "\(name): \(value)\r\n" }
    if !body.isEmpty || method == "POST" { head += "Content-Length: \(body.count)\r\n" }
    let request = Array((head + "\r\n").utf8) + body
    var sent = 0
    while sent < request.count {
      let count = request[sent...].withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else { break }
      sent += count
    }
    startThread { [self] in read() }
  }

  private func read() {
    var buffer = [UInt8](repeating: 0, count: 65536)
    while case let count = recv(socket, &buffer, buffer.count, 0), count > 0 {
      state.withLock { $0.bytes += buffer[..<count] }
    }
    state.withLock { $0.ended = true }
    Glibc.close(socket)
  }

  /// Leaves before the answer has ended; the reading thread then closes the socket.
  func close() {
    let ended = state.withLock { $0.ended }
    if !ended { shutdown(socket, Int32(SHUT_RDWR)) }
  }

  var hasEnded: Bool { state.withLock { $0.ended } }

  /// The whole answer.
  func answer(within limit: Duration = .seconds(20)) async throws -> Answer {
    guard await eventually(within: limit, { hasEnded }) else { throw Failed(description: "no end of the answer within \(limit)") }
    return try soFar(complete: true)
  }

  /// Waits until the answer's text so far holds this.
  func waitFor(_ text: String, within limit: Duration = .seconds(15)) async throws {
    let found = await eventually(within: limit) { (try? soFar(complete: false))?.text.contains(text) ?? false }
    guard found else {
      throw Failed(description: "'\(text)' did not come; so far: \((try? soFar(complete: false))?.text ?? "nothing")")
    }
  }

  /// What has come so far, without its framing.
  func soFar(complete: Bool) throws -> Answer {
    let bytes = state.withLock { $0.bytes }
    guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else {
      throw Failed(description: "no head in \(bytes.count) bytes")
    }
    let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
    let words = lines[0].split(separator: " ")
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1)
      headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " })
    }
    var body = Array(bytes[end.upperBound...])
    if headers["transfer-encoding"] == "chunked" {
      body = try Self.unchunk(body, complete: complete && !isHead)
    } else if complete, !isHead, let length = headers["content-length"].flatMap({ Int($0) }), length != body.count {
      throw Failed(description: "\(body.count) bytes of \(length)")
    }
    return Answer(status: Int(words[1]) ?? 0, headers: headers, body: body)
  }

  private static func unchunk(_ bytes: [UInt8], complete: Bool) throws -> [UInt8] {
    var rest = bytes[...]
    var out: [UInt8] = []
    while let end = rest.firstRange(of: [13, 10]) {
      guard let size = Int(String(decoding: rest[..<end.lowerBound], as: UTF8.self), radix: 16) else { break }
      if size == 0 { return out }
      let chunk = rest[end.upperBound...].prefix(size)
      out += chunk
      rest = rest[(end.upperBound + chunk.count)...].dropFirst(2)
    }
    if complete { throw Failed(description: "the chunked body was cut off after \(out.count) bytes") }
    return out
  }
}

/// Server-sent events, as a browser would tell them apart.
struct ServerEvent: Sendable, Equatable {
  var event: String?
  var id: String?
  var data: String

  static func parse(_ text: String) -> [ServerEvent] {
    text.components(separatedBy: "\n\n").compactMap { block in
      var event = ServerEvent(data: "")
      var found = false
      for line in block.split(separator: "\n") {
        if line.hasPrefix("event: ") { event.event = String(line.dropFirst(7)) }
        if line.hasPrefix("id: ") { event.id = String(line.dropFirst(4)) }
        if line.hasPrefix("data: ") {
          event.data += line.dropFirst(6)
          found = true
        }
      }
      return found ? event : nil
    }
  }
}

extension String {
  fileprivate func components(separatedBy separator: String) -> [String] {
    var parts: [String] = []
    var rest = self[...]
    while let range = rest.firstRange(of: separator) {
      parts.append(String(rest[..<range.lowerBound]))
      rest = rest[range.upperBound...]
    }
    return parts
  }
}
