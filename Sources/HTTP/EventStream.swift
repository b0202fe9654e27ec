// Server-sent events, as the HTML standard writes them, on top of a body writer.

/// Sends events to one `EventSource`. All calls have the back-pressure and the errors of `BodyWriter.write`.
public struct EventStream: Sendable {
  private let writer: BodyWriter

  public init(_ writer: BodyWriter) { self.writer = writer }

  /// One event. Line ends in `data` become several data lines, as the format wants; `event` and `id` are cut at a line end.
  public func send(event: String? = nil, id: String? = nil, data: String) async throws {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(data.utf8.count + 64)
    if let event { Self.line("event: ", event, into: &bytes) }
    if let id { Self.line("id: ", id, into: &bytes) }
    Self.data(data, into: &bytes)
    bytes.append(ByteRules.lineFeed)
    try await writer.write(bytes)
  }

  /// A line that clients ignore; keeps intermediaries awake and finds clients that are gone.
  public func comment(_ text: String = "") async throws {
    var bytes: [UInt8] = []
    Self.line(": ", text, into: &bytes)
    bytes.append(ByteRules.lineFeed)
    try await writer.write(bytes)
  }

  /// How long the client should wait before it connects again.
  public func retry(after delay: Duration) async throws {
    let milliseconds = delay.components.seconds * 1000 + delay.components.attoseconds / 1_000_000_000_000_000
    try await writer.write(Array("retry: \(milliseconds)\n\n".utf8))
  }

  private static func line(_ prefix: StaticString, _ text: String, into bytes: inout [UInt8]) {
    prefix.withUTF8Buffer { bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: text.utf8.prefix { $0 != ByteRules.lineFeed && $0 != ByteRules.carriageReturn && $0 != 0 })
    bytes.append(ByteRules.lineFeed)
  }

  /// CR LF, LF and CR all end a line for the client, so each begins a new data line here.
  private static func data(_ text: String, into bytes: inout [UInt8]) {
    let prefix: [UInt8] = Array("data: ".utf8)
    bytes.append(contentsOf: prefix)
    var afterReturn = false
    for byte in text.utf8 {
      let endsLine = byte == ByteRules.lineFeed || byte == ByteRules.carriageReturn
      if endsLine {
        if !(byte == ByteRules.lineFeed && afterReturn) {
          bytes.append(ByteRules.lineFeed)
          bytes.append(contentsOf: prefix)
        }
      } else {
        bytes.append(byte)
      }
      afterReturn = byte == ByteRules.carriageReturn
    }
    bytes.append(ByteRules.lineFeed)
  }
}
