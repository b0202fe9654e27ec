// A logger that counts what it is told, by level.
import Logging
import Synchronization

final class LinesLog: Sendable {
  private let counts = Mutex<[Logger.Level: Int]>([:])
  var errors: Int { counts.withLock { $0[.error] ?? 0 } }
  var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

  private struct Handler: LogHandler {
    let log: LinesLog
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }
    func log(event: LogEvent) {
      log.counts.withLock { $0[event.level, default: 0] += 1 }
    }
  }
}
