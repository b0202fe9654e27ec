// The listening socket: made before anything runs, so that the port is known and a refusal is an error of `Server.init`.

import CEpoll
import Glibc
import Synchronization

final class Listener: Sendable {
  let host: String
  let port: Int
  private let socket: Mutex<Int32>

  /// - Parameter port: 0 for a free one.
  init(host: String, port: Int) throws(ServerError) {
    let context = "listen on \(host.contains(":") ? "[\(host)]" : host):\(port)"
    guard (0...65535).contains(port) else { throw ServerError("\(context): that is no port", code: 0) }
    var hints = addrinfo()
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    let result = getaddrinfo(host, String(port), &hints, &found)
    guard result == 0 else { throw ServerError("\(context): \(String(cString: gai_strerror(result)))", code: 0) }
    defer { freeaddrinfo(found) }
    var code: Int32 = EADDRNOTAVAIL
    var next = found
    while let info = next {
      next = info.pointee.ai_next
      let descriptor = Self.open(info.pointee)
      if descriptor >= 0 {
        self.host = host
        self.port = Self.port(of: descriptor)
        socket = Mutex(descriptor)
        return
      }
      code = errno
    }
    throw ServerError(context, code: code)
  }

  deinit { close() }

  /// The socket, or -1 once it is closed.
  var descriptor: Int32 { socket.withLock { $0 } }

  func close() {
    socket.withLock { descriptor in
      if descriptor >= 0 { Glibc.close(descriptor) }
      descriptor = -1
    }
  }

  /// -1 and errno where it fails. Accepted sockets inherit the options set here.
  private static func open(_ info: addrinfo) -> Int32 {
    let descriptor = cepoll_socket(info.ai_family)
    guard descriptor >= 0 else { return -1 }
    var on: Int32 = 1
    let size = socklen_t(MemoryLayout<Int32>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, size)
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, size)
    // Bytes beyond this wait in our memory, where they are counted, and not in the kernel's.
    var unsent: Int32 = 128 << 10
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, &unsent, size)
    if bind(descriptor, info.ai_addr, info.ai_addrlen) == 0, listen(descriptor, SOMAXCONN) == 0 { return descriptor }
    let code = errno
    Glibc.close(descriptor)
    errno = code
    return -1
  }

  private static func port(of descriptor: Int32) -> Int {
    var address = PeerAddress()
    let result = address.withPointer { getsockname(descriptor, $0, &$1) }
    return result == 0 ? address.port : 0
  }
}
