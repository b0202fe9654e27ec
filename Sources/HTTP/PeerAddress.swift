// The other end of a connection, kept as bytes: most answers never ask for its text.

import Glibc

struct PeerAddress: Sendable, CustomStringConvertible {
  // Large enough for IPv4 and IPv6; those are the only families that we listen on.
  private var storage = sockaddr_in6()

  init() {}

  /// Calls `body` with room for an address, for `accept` and its like.
  mutating func withPointer<R>(_ body: (UnsafeMutablePointer<sockaddr>, inout socklen_t) -> R) -> R {
    var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
    return withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, &length) }
    }
  }

  /// The port; in the same place for both families.
  var port: Int { Int(UInt16(bigEndian: storage.sin6_port)) }

  /// `127.0.0.1:8080`, `[::1]:8080`, or `-` without an address.
  var description: String {
    var copy = storage
    var text = [UInt8](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let family = Int32(copy.sin6_family)
    switch family {
    case AF_INET6:
      text.withUnsafeMutableBytes { room in
        _ = inet_ntop(AF_INET6, &copy.sin6_addr, room.baseAddress, socklen_t(room.count))
      }
      return "[\(Self.string(text))]:\(port)"
    case AF_INET:
      var short = withUnsafeBytes(of: &copy) { $0.loadUnaligned(as: sockaddr_in.self) }
      text.withUnsafeMutableBytes { room in
        _ = inet_ntop(AF_INET, &short.sin_addr, room.baseAddress, socklen_t(room.count))
      }
      return "\(Self.string(text)):\(port)"
    default: return "-"
    }
  }

  private static func string(_ text: [UInt8]) -> String { String(decoding: text.prefix { $0 != 0 }, as: UTF8.self) }
}
