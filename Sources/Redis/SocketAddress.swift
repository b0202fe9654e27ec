// Addresses to connect to, and where they come from. Looking a name up blocks, for tens of seconds when name servers are
// away, so it happens on a short-lived thread of its own; numeric addresses never need it.
import Glibc

/// A `sockaddr` of any family, as bytes.
struct SocketAddress: Sendable, Equatable {
  let family: Int32
  let bytes: [UInt8]

  /// Nil where the path does not fit (107 bytes) or holds a NUL.
  init?(unixPath path: String) {
    let path = Array(path.utf8)
    var address = sockaddr_un()
    let room = MemoryLayout.size(ofValue: address.sun_path)
    guard !path.isEmpty, path.count < room, !path.contains(0) else { return nil }
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
    family = AF_UNIX
    bytes = withUnsafeBytes(of: &address) { Array($0) }
  }

  private init(_ info: addrinfo) {
    family = info.ai_family
    bytes = Array(UnsafeRawBufferPointer(start: info.ai_addr, count: Int(info.ai_addrlen)))
  }

  /// The addresses of a numeric host; nil where it is a name.
  static func numeric(host: String, port: Int) -> [SocketAddress]? {
    try? addresses(host: host, port: port, flags: AI_NUMERICHOST).get()
  }

  /// The addresses of a name. Blocks.
  static func lookUp(host: String, port: Int) -> Result<[SocketAddress], RedisFault> {
    addresses(host: host, port: port, flags: 0)
  }

  private static func addresses(host: String, port: Int, flags: Int32) -> Result<[SocketAddress], RedisFault> {
    guard (1...65535).contains(port) else { return .failure(.unresolvable(host: host, reason: "\(port) is no port")) }
    var hints = addrinfo()
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = flags | AI_NUMERICSERV
    var list: UnsafeMutablePointer<addrinfo>?
    let code = getaddrinfo(host, String(port), &hints, &list)
    guard code == 0 else {
      let reason = code == EAI_SYSTEM ? errorText(errno) : String(cString: gai_strerror(code))
      return .failure(.unresolvable(host: host, reason: reason))
    }
    defer { freeaddrinfo(list) }
    let found = sequence(first: list, next: { $0?.pointee.ai_next }).prefix { $0 != nil }.compactMap {
      $0.map { SocketAddress($0.pointee) }
    }
    return found.isEmpty ? .failure(.unresolvable(host: host, reason: "no address")) : .success(found)
  }
}

/// A system error number in words.
func errorText(_ code: Int32) -> String {
  strerror(code).map { String(cString: $0) } ?? "error \(code)"
}
