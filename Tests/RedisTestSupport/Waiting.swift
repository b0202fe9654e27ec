// Waiting for events with a deadline, and ports for servers of a test's own.

import Glibc

/// Why a test's surroundings are not as they should be.
public struct TestFailure: Error, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }
}

/// Waits until the condition holds, looking every few milliseconds; throws once `limit` has passed. `what` is asked for only then, so it may
/// say what was seen last.
public func eventually(
  _ what: @autoclosure () -> String, within limit: Duration = .seconds(60), _ condition: () async throws -> Bool
) async throws {
  let deadline = ContinuousClock.now + limit
  while try await !condition() {
    guard ContinuousClock.now < deadline else { throw TestFailure("not within \(limit): \(what())") }
    try await Task.sleep(for: .milliseconds(3))
  }
}

/// A TCP port on 127.0.0.1 that nobody listens on, and that no other call here or in another test process returns while this one
/// lives. It lies below the range that the kernel gives to outgoing connections, so that none of those takes it while a server
/// that had it is down.
public func freePort() throws -> Int {
  for _ in 0..<1000 {
    let port = Int.random(in: 10_000..<32_000)
    guard reserve(port) else { continue }
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    defer { close(descriptor) }
    var address = loopback(port: port)
    let isFree = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    if isFree { return port }
  }
  throw TestFailure("no free port")
}

/// Takes the abstract socket name that stands for a port; the descriptor is kept until the process ends.
private func reserve(_ port: Int) -> Bool {
  let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
  let isBound = bindUnix(descriptor, to: [0] + Array("muster-test-port-\(port)".utf8))
  if !isBound { close(descriptor) }
  return isBound
}

private func bindUnix(_ descriptor: Int32, to name: [UInt8]) -> Bool {
  withUnixAddress(name) { bind(descriptor, $0, $1) == 0 }
}

/// Whether somebody listens on the unix socket.
func accepts(unixSocketPath path: String) -> Bool {
  let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
  defer { close(descriptor) }
  return withUnixAddress(Array(path.utf8)) { connect(descriptor, $0, $1) == 0 }
}

private func withUnixAddress(_ name: [UInt8], _ body: (UnsafePointer<sockaddr>, socklen_t) -> Bool) -> Bool {
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
  // An abstract name ends where the length says, a path at its NUL.
  let isAbstract = name.first == 0
  let size =
    isAbstract ? MemoryLayout<sockaddr_un>.offset(of: \.sun_path).map { $0 + name.count } : MemoryLayout<sockaddr_un>.size
  return withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(size ?? 0)) }
  }
}

func loopback(port: Int) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = UInt16(port).bigEndian
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  return address
}
