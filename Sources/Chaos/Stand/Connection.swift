// A blocking TCP connection to this machine with a deadline for everything: what HTTPCall and RedisCall stand on.

import Glibc

struct ConnectionFault: Error, CustomStringConvertible {
  let description: String
  /// Nobody took the connection: nothing can have been done.
  var isRefusal = false
}

final class Connection {
  private let socket: Int32
  private var buffer: [UInt8] = []
  private var start = 0
  private let deadline: Int

  /// - Throws: `ConnectionFault` when nobody takes it.
  init(port: Int, patience milliseconds: Int) throws(ConnectionFault) {
    deadline = Monotonic.milliseconds + milliseconds
    socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { throw ConnectionFault(description: "no socket: \(systemError(errno))") }
    var address = Loopback.address(port)
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard code == 0 else {
      let why = systemError(errno)
      throw ConnectionFault(description: "not connected: \(why)", isRefusal: true)
    }
    Loopback.noDelay(socket)
  }

  deinit { close(socket) }

  func send(_ bytes: [UInt8]) throws(ConnectionFault) {
    var sent = 0
    while sent < bytes.count {
      try ready(Int16(POLLOUT))
      let count = bytes[sent...].withUnsafeBytes {
        Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
      }
      if count > 0 {
        sent += count
      } else if errno != EAGAIN {
        throw ConnectionFault(description: "not sent: \(systemError(errno))")
      }
    }
  }

  /// Up to and without CR LF.
  func line() throws(ConnectionFault) -> String {
    var from = start
    while true {
      if from < buffer.count, let end = buffer[from...].firstIndex(of: 10) {
        let text = String(decoding: buffer[start..<(end > start && buffer[end - 1] == 13 ? end - 1 : end)], as: UTF8.self)
        start = end + 1
        return text
      }
      from = buffer.count
      guard try fill() else { throw ConnectionFault(description: "ended within a line") }
    }
  }

  func bytes(_ count: Int) throws(ConnectionFault) -> [UInt8] {
    while buffer.count - start < count {
      guard try fill() else { throw ConnectionFault(description: "ended within \(count) bytes") }
    }
    defer { start += count }
    return Array(buffer[start..<start + count])
  }

  func rest() throws(ConnectionFault) -> [UInt8] {
    while try fill() {}
    defer { start = buffer.count }
    return Array(buffer[start...])
  }

  /// False at the end.
  private func fill() throws(ConnectionFault) -> Bool {
    if start > 1 << 20 {
      buffer.removeFirst(start)
      start = 0
    }
    try ready(Int16(POLLIN))
    var piece = [UInt8](repeating: 0, count: 65536)
    let count = recv(socket, &piece, piece.count, 0)
    guard count >= 0 else { throw ConnectionFault(description: "not received: \(systemError(errno))") }
    buffer += piece[..<count]
    return count > 0
  }

  private func ready(_ events: Int16) throws(ConnectionFault) {
    var one = pollfd(fd: socket, events: events, revents: 0)
    while true {
      let left = deadline - Monotonic.milliseconds
      guard left > 0 else { throw ConnectionFault(description: "too slow") }
      if poll(&one, 1, Int32(clamping: left)) > 0 { return }
    }
  }
}

enum Loopback {
  static func address(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(truncatingIfNeeded: port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    return address
  }

  static func noDelay(_ socket: Int32) {
    var yes: Int32 = 1
    setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
  }

  /// A listening socket; port 0: one below the range of outgoing connections, so that nobody gets it by chance while its server is down.
  static func listen(_ port: Int) -> (socket: Int32, port: Int)? {
    guard port == 0 else { return bound(port) }
    for _ in 0..<200 {
      if let found = bound(Int.random(in: 15_000..<32_000)) { return found }
    }
    return nil
  }

  private static func bound(_ port: Int) -> (socket: Int32, port: Int)? {
    let socket = Glibc.socket(
      AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
    guard socket >= 0 else { return nil }
    var yes: Int32 = 1
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    var address = Self.address(port)
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard code == 0, Glibc.listen(socket, 511) == 0 else {
      close(socket)
      return nil
    }
    return (socket, port)
  }

  /// A port that is free now, for a server of ours.
  static func freePort() throws -> Int {
    guard let found = listen(0) else { throw HarnessFault("no free port") }
    close(found.socket)
    return found.port
  }
}
