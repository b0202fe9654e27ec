// What is wrong for a while is said once, and once more when it is over.
import Logging
import Synchronization
import Testing

@testable import Shared

@Suite struct TroubleTests {
  private final class Lines: Sendable {
    let said = Mutex<[String]>([])
  }
  private struct Handler: LogHandler {
    let lines: Lines
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }
    func log(event: LogEvent) {
      lines.said.withLock { $0.append("\(event.level) \(event.message) \(event.metadata?["after"].map { "\($0)" } ?? "")") }
    }
  }

  @Test func itIsSaidWhenItBeginsAndWhenItIsOverAndNotInBetween() {
    let lines = Lines()
    let logger = Logger(label: "t") { _ in Handler(lines: lines) }
    let trouble = Trouble(logger, begins: "it rains", ends: "the sun shines", quiet: .seconds(3))
    let start = ContinuousClock.now
    #expect(trouble.passed(now: start) && trouble.reason == nil)
    for second in 0..<20 { trouble.met("drop \(second)", kind: "rain", now: start + .seconds(second)) }
    #expect(trouble.reason == "drop 19")
    trouble.met("a stone", kind: "hail", now: start + .seconds(20))
    // One success between two refusals is not the end of it.
    #expect(!trouble.passed(now: start + .seconds(21)) && trouble.reason == "a stone")
    #expect(trouble.passed(now: start + .seconds(24)) && trouble.reason == nil)
    #expect(lines.said.withLock { $0 } == ["warning it rains ", "warning it rains ", "notice the sun shines 24.0 s"])
    trouble.met("drop", kind: "rain", now: start + .seconds(30))
    #expect(lines.said.withLock { $0.count } == 4)
  }
}
