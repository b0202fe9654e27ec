// swift-log's handler for both programs. One event is one line, whatever is in it:
//
//   2025-11-21T13:45:00.123Z info agent.inbox "took 3 runs" agent=web1 run=web1-01ARZ3NDEKTSV4RRFFQ69G5FAV
//
// that is time, level, label, message in quotes, then key=value in the order of the keys. What is not plain is quoted
// and escaped as in JSON, so a run's output in a message can neither end the line nor forge another.

import Glibc
import Logging

/// Where lines go.
public struct LogOutput: Sendable {
  public let file: LogFile?
  public let standardError: Bool

  public init(file: LogFile?, standardError: Bool) {
    self.file = file
    self.standardError = standardError
  }

  /// Makes every `Logger` of this process write here. Once per process, before the first `Logger`.
  public func install(level: Logger.Level) {
    LoggingSystem.bootstrap { LineLogHandler(label: $0, level: level, output: self) }
  }

  func write(_ line: [UInt8]) {
    file?.append(line)
    if standardError { Self.write(line, withoutWaitingTo: STDERR_FILENO) }
  }

  /// Writes what fits without waiting; a terminal or pipe that nobody reads must not hold the work.
  static func write(_ line: [UInt8], withoutWaitingTo descriptor: Int32) {
    var rest = line[...]
    while !rest.isEmpty {
      var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      guard poll(&ready, 1, 0) == 1, ready.revents & Int16(POLLOUT) != 0 else { return }
      // A pipe that is ready takes at least so much at once (PIPE_BUF).
      let count = rest.prefix(4096).withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      guard count > 0 else { return }
      rest = rest.dropFirst(count)
    }
  }
}

public struct LineLogHandler: LogHandler {
  public var logLevel: Logger.Level
  public var metadata: Logger.Metadata = [:]
  public var metadataProvider: Logger.MetadataProvider?
  private let label: String
  private let output: LogOutput

  public init(label: String, level: Logger.Level, output: LogOutput) {
    self.label = label
    self.output = output
    logLevel = level
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  public func log(event: LogEvent) {
    var all = metadata
    if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
    if let own = event.metadata { all.merge(own) { $1 } }
    if let error = event.error { all["error"] = "\(error)" }
    output.write(Self.line(.now(), event.level, label, "\(event.message)", all))
  }

  static func line(
    _ time: WallTime, _ level: Logger.Level, _ label: String, _ message: String, _ metadata: Logger.Metadata
  ) -> [UInt8] {
    var writer = JSONWriter()
    writer.bytes.reserveCapacity(64 + message.utf8.count + metadata.count * 32)
    writer.bytes.append(contentsOf: "\(time) \(level.rawValue) ".utf8)
    write(label, &writer)
    writer.byte(UInt8(ascii: " "))
    writer.string(message)
    for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
      writer.byte(UInt8(ascii: " "))
      write(key, &writer)
      writer.byte(UInt8(ascii: "="))
      write(value, &writer)
    }
    writer.byte(UInt8(ascii: "\n"))
    return writer.bytes
  }

  private static func write(_ value: Logger.Metadata.Value, _ writer: inout JSONWriter) {
    switch value {
    case .string(let text): write(text, &writer)
    case .stringConvertible(let convertible): write(convertible.description, &writer)
    case .array, .dictionary: write("\(value)", &writer)
    }
  }

  /// Bare where it is one plain word, else quoted.
  private static func write(_ text: String, _ writer: inout JSONWriter) {
    let plain =
      !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=") }
    if plain { writer.bytes.append(contentsOf: text.utf8) } else { writer.string(text) }
  }
}
