// How a handler writes a streamed body: framing, and back-pressure by suspension.

import Synchronization

/// Writes one streamed body. May be used from several tasks; each write stays in one piece.
public final class BodyWriter: Sendable {
  public enum Failure: Error, Sendable, Hashable {
    /// The client closed the connection, or took nothing for `ServerLimits.writeStall` and was cut.
    case clientGone
    /// More or fewer bytes were written than the stream's length says.
    case wrongLength
  }

  private let channel: StreamChannel
  private let framing: BodyFraming
  private let written = Mutex(0)

  init(_ channel: StreamChannel, framing: BodyFraming) {
    self.channel = channel
    self.framing = framing
  }

  /// Whether the server is shutting down: a stream that could go on for long should come to its end.
  public var isDraining: Bool { channel.isDraining }

  /// Sends `bytes`; suspends while a slow client leaves more than `ServerLimits.streamHighWater` bytes waiting.
  /// - Throws: `Failure`, or `CancellationError` when the handler's task was cancelled.
  public func write(_ bytes: [UInt8]) async throws {
    if bytes.isEmpty { return }
    let total = written.withLock { total in
      total += bytes.count
      return total
    }
    if case .sized(let length) = framing, total > length { throw Failure.wrongLength }
    guard case .chunked = framing else {
      try await channel.write([bytes])
      return
    }
    let size = Array((String(bytes.count, radix: 16) + "\r\n").utf8)
    // Small pieces are copied into one, large ones are passed on as they are.
    if bytes.count < 16 << 10 {
      var framed = size
      framed.reserveCapacity(size.count + bytes.count + 2)
      framed.append(contentsOf: bytes)
      framed.append(contentsOf: [ByteRules.carriageReturn, ByteRules.lineFeed])
      try await channel.write([framed])
    } else {
      try await channel.write([size, bytes, [ByteRules.carriageReturn, ByteRules.lineFeed]])
    }
  }

  /// Sends UTF-8 text.
  public func write(_ text: String) async throws { try await write(Array(text.utf8)) }

  /// Ends the body in the way its framing wants.
  func finish() throws {
    switch framing {
    case .chunked: channel.end(.complete, last: Array("0\r\n\r\n".utf8))
    case .none, .untilClose: channel.end(.complete)
    case .sized(let length):
      guard written.withLock({ $0 }) == length else { throw Failure.wrongLength }
      channel.end(.complete)
    }
  }
}
