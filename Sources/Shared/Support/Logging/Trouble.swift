// Something that is wrong for a while: said once when it begins and once when it is over, with how long it took, however often it is met in
// between. Nothing is swallowed, and nothing is repeated: a server that refuses every command would else fill the log.
// When adding something that may fail again and again, also: give it a `Trouble` instead of a log line where it fails.

import Logging
import Synchronization

public final class Trouble: Sendable {
  private struct State {
    var since: ContinuousClock.Instant?
    var met: ContinuousClock.Instant?
    var times = 0
    /// What was said of it, by kind.
    var kinds: Set<String> = []
    var reason: String?
  }

  private let logger: Logger
  private let begins: String
  private let ends: String
  private let quiet: Duration
  private let state = Mutex(State())

  /// - Parameters:
  ///   - begins, ends: what is logged, as a warning and as a notice.
  ///   - quiet: a sign that it is over is believed once it was not met for so long.
  public init(_ logger: Logger, begins: String, ends: String, quiet: Duration = .seconds(3)) {
    self.logger = logger
    self.begins = begins
    self.ends = ends
    self.quiet = quiet
  }

  /// What is wrong, as it was met last; nil while nothing is.
  public var reason: String? { state.withLock { $0.reason } }

  /// It was met (again). Said where it is new, or another kind of it.
  public func met(_ reason: String, kind: String, now: ContinuousClock.Instant = .now) {
    let isNew = state.withLock { state in
      if state.since == nil { state.since = now }
      state.met = now
      state.times += 1
      state.reason = reason
      return state.kinds.insert(kind).inserted
    }
    if isNew { logger.warning("\(begins)", metadata: ["why": "\(reason)"]) }
  }

  /// What it stops has worked again. Returns true when nothing is wrong (any more).
  @discardableResult
  public func passed(now: ContinuousClock.Instant = .now) -> Bool {
    let over = state.withLock { state -> (seconds: Double, times: Int)?? in
      guard let since = state.since, let met = state.met else { return .some(nil) }
      guard met.duration(to: now) >= quiet else { return nil }
      let lasted = since.duration(to: now).components
      defer { state = State() }
      return .some((Double(lasted.seconds) + Double(lasted.attoseconds / 100_000_000_000_000_000) / 10, state.times))
    }
    guard let over else { return false }
    if let (seconds, times) = over {
      logger.notice("\(ends)", metadata: ["after": "\(seconds) s", "met": "\(times) times"])
    }
    return true
  }
}
