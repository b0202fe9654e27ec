// The host's own address, as its users understand it: that of the interface through which it reaches Redis.
//
// The kernel tells by its routing table: a UDP socket that is connected to Redis's address gets the source address that packets
// there would have; nothing is sent. Where that is loopback (Redis on the same host or on a unix socket) it is the first address of
// an interface that is up, version 4 before 6, and 127.0.0.1 on a host without any.

import Dispatch
import Glibc
import Redis

enum OwnAddress {
  private static let queue = DispatchQueue(label: "own-address")

  /// Looks names up, so it may take as long as the resolver does; it waits on a thread of its own.
  static func find(reaching redis: RedisConfiguration.Address) async -> String {
    await withCheckedContinuation { continuation in
      queue.async { continuation.resume(returning: findBlocking(reaching: redis)) }
    }
  }

  static func findBlocking(reaching redis: RedisConfiguration.Address) -> String {
    if case .tcp(let host, let port) = redis, let source = source(reaching: host, port: port), !isLoopback(source) {
      return source
    }
    let interfaces = interfaceAddresses()
    return interfaces.first { !$0.contains(":") } ?? interfaces.first ?? "127.0.0.1"
  }

  /// The source address that the kernel would use for packets to `host`.
  private static func source(reaching host: String, port: Int) -> String? {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
    hints.ai_flags = AI_NUMERICSERV
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, String(port), &hints, &list) == 0 else { return nil }
    defer { freeaddrinfo(list) }
    var next = list
    while let candidate = next {
      if let source = source(reaching: candidate.pointee) { return source }
      next = candidate.pointee.ai_next
    }
    return nil
  }

  private static func source(reaching target: addrinfo) -> String? {
    let descriptor = socket(target.ai_family, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    guard connect(descriptor, target.ai_addr, target.ai_addrlen) == 0 else { return nil }
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    return withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        getsockname(descriptor, $0, &length) == 0 ? numeric($0, length) : nil
      }
    }
  }

  /// Addresses of interfaces that are up, without loopback and link-local ones, in the kernel's order.
  private static func interfaceAddresses() -> [String] {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var found: [String] = []
    var next = list
    while let interface = next?.pointee {
      next = interface.ifa_next
      guard let address = interface.ifa_addr, interface.ifa_flags & UInt32(IFF_UP) != 0 else { continue }
      let size: Int
      switch Int32(address.pointee.sa_family) {
      case AF_INET: size = MemoryLayout<sockaddr_in>.size
      case AF_INET6: size = MemoryLayout<sockaddr_in6>.size
      default: continue
      }
      if let text = numeric(address, socklen_t(size)), !isLoopback(text), !isLinkLocal(text) { found.append(text) }
    }
    return found
  }

  /// The text of an address, without the zone of a version 6 one.
  private static func numeric(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> String? {
    var buffer = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    guard getnameinfo(address, length, &buffer, socklen_t(buffer.count), nil, 0, NI_NUMERICHOST) == 0 else { return nil }
    let text = buffer.lazy.map { UInt8(bitPattern: $0) }.prefix { $0 != 0 && $0 != UInt8(ascii: "%") }
    return String(decoding: Array(text), as: UTF8.self)
  }

  static func isLoopback(_ address: String) -> Bool {
    address.hasPrefix("127.") || address == "::1" || address.hasPrefix("::ffff:127.")
  }

  static func isLinkLocal(_ address: String) -> Bool {
    address.hasPrefix("169.254.") || address.lowercased().hasPrefix("fe80:")
  }
}
