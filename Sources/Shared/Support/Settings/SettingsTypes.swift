// The values that settings are made of, where Swift's own types would allow nonsense.

import Glibc

/// Text that is never printed by accident: descriptions, dumps and string interpolation show a placeholder.
public struct Secret: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  private let text: String

  public init(_ text: String) {
    self.text = text
  }

  /// The secret itself. Goes to whoever checks it, never to a log.
  public func reveal() -> String { text }

  public var description: String { "(hidden)" }
  public var debugDescription: String { "(hidden)" }
  public var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// `127.0.0.1:7070`, `localhost:80`, `[::1]:0`.
public struct HostPort: Sendable, Hashable, LosslessStringConvertible {
  /// A name or an address, without brackets.
  public let host: String
  /// 0 to 65535; to listen on 0 is to ask for a free one.
  public let port: Int

  /// - Parameter port: 0 to 65535.
  public init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// `nil` without a host, without a port, with a bare IPv6 address, or with a user before the host.
  public init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":") else { return nil }
    let digits = text[text.index(after: colon)...]
    guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = Int(digits), port <= 65535
    else { return nil }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
      guard host.contains(":") else { return nil }
    } else if host.contains(":") {
      return nil
    }
    guard !host.isEmpty, !host.contains(where: { $0.isWhitespace || "[]/@".contains($0) }) else { return nil }
    self.init(host: String(host), port: port)
  }

  public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

  /// Whether only this machine can reach it: `localhost`, 127.0.0.0/8, `::1`. Names are not looked up.
  public var isLoopback: Bool {
    if host.lowercased() == "localhost" { return true }
    var four = in_addr()
    if inet_pton(AF_INET, host, &four) == 1 { return UInt32(bigEndian: four.s_addr) >> 24 == 127 }
    var six = in6_addr()
    guard inet_pton(AF_INET6, host, &six) == 1 else { return false }
    return withUnsafeBytes(of: six) { bytes in
      let mapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
      return mapped ? bytes[12] == 127 : bytes[..<15].allSatisfy { $0 == 0 } && bytes[15] == 1
    }
  }
}
