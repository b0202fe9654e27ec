// A blocking HTTP client for tests, deliberately simple: it sends exactly the bytes it is given. Every wait has a deadline.

import Dispatch
import Glibc
import HTTP
import HTTPTypes

struct ClientError: Error, CustomStringConvertible {
  var description: String
}

/// Runs blocking code on a thread of its own; Swift's shared pool must stay free for the server's handlers.
func onThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
  try await withCheckedThrowingContinuation { continuation in
    DispatchQueue(label: "test client").async { continuation.resume(with: Result { try body() }) }
  }
}

/// Calls `condition` until it holds; an error after `seconds`.
func eventually(_ what: String, within seconds: Double = 30, _ condition: () async throws -> Bool) async throws {
  let end = ContinuousClock.now + .seconds(seconds)
  while true {
    if try await condition() { return }
    guard ContinuousClock.now < end else { throw ClientError(description: "not within \(seconds) s: \(what)") }
    try await Task.sleep(for: .milliseconds(5))
  }
}

struct Reply: Sendable, Equatable {
  var status = 0
  var fields: [String: String] = [:]
  var body: [UInt8] = []
  var text: String { String(decoding: body, as: UTF8.self) }
}

final class Client {
  let descriptor: Int32
  private var buffer: [UInt8] = []
  private var open = true
  private let patience: Int32

  /// - Parameter receiveBuffer: the kernel's, in bytes; small for tests of slow readers.
  init(port: Int, patience: Double = 30, receiveBuffer: Int32? = nil) throws {
    // Not for children: a server process under test would keep other tests' connections open.
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    self.patience = Int32(patience * 1000)
    guard descriptor >= 0 else { throw ClientError(description: "socket: errno \(errno)") }
    if var size = receiveBuffer { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard result == 0 else { throw ClientError(description: "connect: errno \(errno)") }
  }

  deinit { close() }

  func close() {
    if open { Glibc.close(descriptor) }
    open = false
  }

  /// Closes with a reset instead of an orderly end.
  func reset() {
    var linger = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
    close()
  }

  func shutdownSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  func send(_ text: String) throws { try send(Array(text.utf8)) }

  func send(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else { throw ClientError(description: "send: errno \(errno)") }
      sent += count
    }
  }

  func get(_ path: String, fields: String = "") throws -> Reply {
    try send("GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
    return try reply()
  }

  /// The next reply; with `head` one without a body whatever its fields say.
  func reply(head: Bool = false) throws -> Reply {
    var reply = Reply()
    let lines = try line(until: Array("\r\n\r\n".utf8)).split(separator: "\r\n")
    guard let first = lines.first, first.hasPrefix("HTTP/1.1 "), let status = Int(first.dropFirst(9).prefix(3)) else {
      throw ClientError(description: "no status line: \(lines)")
    }
    reply.status = status
    for field in lines.dropFirst() {
      let parts = field.split(separator: ":", maxSplits: 1)
      reply.fields[parts[0].lowercased()] = parts.count > 1 ? String(parts[1].drop { $0 == " " }) : ""
    }
    if head || status == 204 || status == 304 || status < 200 { return reply }
    if let length = reply.fields["content-length"].flatMap({ Int($0) }) {
      reply.body = try bytes(length)
    } else if reply.fields["transfer-encoding"] == "chunked" {
      while true {
        let size = Int(try line(until: [13, 10]), radix: 16) ?? -1
        guard size >= 0 else { throw ClientError(description: "no chunk size") }
        reply.body += try bytes(size)
        _ = try bytes(2)
        if size == 0 { break }
      }
    } else {
      reply.body = try readToEnd()
    }
    return reply
  }

  /// Everything up to the server's end of the connection.
  func readToEnd() throws -> [UInt8] {
    while try fill() {}
    defer { buffer = [] }
    return buffer
  }

  /// Whether the server closes (or resets) without sending anything more.
  func endsSilently() throws -> Bool {
    do { return try readToEnd().isEmpty } catch let error as ClientError where error.description.contains("reset") { return true }
  }

  /// Whether there is something to read, the server's end of the connection included, within so many milliseconds.
  func hasSomething(within milliseconds: Int32) -> Bool {
    var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return !buffer.isEmpty || poll(&waiting, 1, milliseconds) > 0
  }

  /// What one read of the socket gives.
  func nextBytes() throws -> [UInt8] {
    _ = try fill()
    defer { buffer = [] }
    return buffer
  }

  func bytes(_ count: Int) throws -> [UInt8] {
    while buffer.count < count {
      guard try fill() else { throw ClientError(description: "the connection ended inside a body") }
    }
    defer { buffer.removeFirst(count) }
    return Array(buffer[..<count])
  }

  func line(until end: [UInt8]) throws -> String {
    var searched = 0
    while true {
      while searched + end.count <= buffer.count {
        if buffer[searched..<(searched + end.count)].elementsEqual(end) {
          defer { buffer.removeFirst(searched + end.count) }
          return String(decoding: buffer[..<searched], as: UTF8.self)
        }
        searched += 1
      }
      guard try fill() else {
        throw ClientError(description: "the connection ended inside a head: \(String(decoding: buffer, as: UTF8.self))")
      }
    }
  }

  /// More bytes into the buffer; false at the end.
  private func fill() throws -> Bool {
    var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&waiting, 1, patience) > 0 else { throw ClientError(description: "no bytes within \(patience) ms") }
    var block = [UInt8](repeating: 0, count: 64 << 10)
    let count = recv(descriptor, &block, block.count, 0)
    guard count >= 0 else { throw ClientError(description: errno == ECONNRESET ? "reset" : "recv: errno \(errno)") }
    buffer += block[..<count]
    return count > 0
  }
}

/// Runs a server on a free port while `body` runs, and shuts it down.
func withServer<R: Sendable>(
  _ routes: [Route], limits: ServerLimits = ServerLimits(), loops: Int = 2, fallback: Handler? = nil,
  _ body: (Server) async throws -> R
) async throws -> R {
  let server = try Server(port: 0, limits: limits, loops: loops, router: Router(routes, fallback: fallback))
  let running = Task { try await server.run() }
  let result: Result<R, any Error>
  do { result = .success(try await body(server)) } catch { result = .failure(error) }
  await server.shutdown()
  try await running.value
  return try result.get()
}

/// Lets time pass between two bytes of a deliberately slow client; never used to wait for something to happen.
func pause(_ milliseconds: Int32) { _ = poll(nil, 0, milliseconds) }
