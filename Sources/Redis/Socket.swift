// One non-blocking stream socket. It is closed with its last reference, is not inherited by commands (CLOEXEC), and writing to
// it never raises SIGPIPE (MSG_NOSIGNAL), so that nobody has to ignore that signal.
import Glibc

/// Not Sendable: belongs to the thread that owns the connection.
final class Socket {
  let descriptor: Int32
  private let family: Int32

  /// Begins to connect; `isConnected` is true where that needed no waiting (unix sockets).
  static func connect(to address: SocketAddress) -> Result<(socket: Socket, isConnected: Bool), RedisFault> {
    let descriptor = Glibc.socket(address.family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { return .failure(.system(operation: "socket", errno: errno)) }
    let socket = Socket(descriptor: descriptor, family: address.family)
    socket.tune()
    let result = address.bytes.withUnsafeBytes { bytes in
      bytes.baseAddress.map { Glibc.connect(descriptor, $0.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count)) } ?? -1
    }
    if result == 0 { return .success((socket, true)) }
    let code = errno
    return code == EINPROGRESS ? .success((socket, false)) : .failure(.system(operation: "connect", errno: code))
  }

  private init(descriptor: Int32, family: Int32) {
    self.descriptor = descriptor
    self.family = family
  }

  deinit { close(descriptor) }

  /// No delay for small writes; a peer that vanished is noticed by the kernel within about half a minute, without waking anyone.
  private func tune() {
    guard family != AF_UNIX else { return }
    set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    set(SOL_SOCKET, SO_KEEPALIVE, 1)
    set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, 15)
    set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, 5)
    set(Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
  }

  private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
    var value = value
    setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
  }

  /// Once the socket is writable: why connecting failed, or nil.
  func connectFault() -> RedisFault? {
    var code: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0 else {
      return .system(operation: "getsockopt", errno: errno)
    }
    guard code == 0 else { return .system(operation: "connect", errno: code) }
    return isConnectedToItself ? .system(operation: "connect", errno: ECONNREFUSED) : nil
  }

  /// While a local server is away, connecting to its port may give a socket that port as its own and connect it to itself; the
  /// server could then not bind it.
  private var isConnectedToItself: Bool {
    guard family != AF_UNIX else { return false }
    func name(_ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32) -> [UInt8] {
      var storage = sockaddr_storage()
      var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
      return withUnsafeMutableBytes(of: &storage) { bytes in
        guard let base = bytes.baseAddress, ask(descriptor, base.assumingMemoryBound(to: sockaddr.self), &size) == 0 else {
          return []
        }
        return Array(bytes.prefix(Int(size)))
      }
    }
    let own = name(getsockname)
    return !own.isEmpty && own == name(getpeername)
  }

  /// How many of the bytes the kernel took; 0 when it takes none now.
  func send(_ bytes: UnsafeRawBufferPointer) throws(RedisFault) -> Int {
    while true {
      let count = Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
      if count >= 0 { return count }
      switch errno {
      case EINTR: continue
      case EAGAIN: return 0
      case let code: throw .system(operation: "send", errno: code)
      }
    }
  }

  /// How many bytes came; nil when none are there now. A closed connection throws.
  func receive(into buffer: UnsafeMutableRawBufferPointer) throws(RedisFault) -> Int? {
    while true {
      let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
      if count > 0 { return count }
      if count == 0 { throw .serverClosed }
      switch errno {
      case EINTR: continue
      case EAGAIN: return nil
      case let code: throw .system(operation: "recv", errno: code)
      }
    }
  }
}
