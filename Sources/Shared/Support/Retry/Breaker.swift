// Stops hammering something that keeps failing (DESIGN section 3, step 2). Pure: the caller brings the instant.
//
//   closed ──threshold failures in a row──▶ open ──rest is over──▶ one trial ──success──▶ closed
//                                             ▲───────────failure──────┘

public struct Breaker<Instant: InstantProtocol>: Sendable where Instant.Duration == Duration {
  public enum State: Sendable, Equatable {
    /// Everything passes; so many failures in a row were seen.
    case closed(failures: Int)
    /// Nothing passes until the instant.
    case open(until: Instant)
    /// One trial is under way; its verdict is due by the instant, else another may be tried.
    case trying(until: Instant)
  }

  public let threshold: Int
  public let rest: Duration
  public private(set) var state: State = .closed(failures: 0)

  /// - Parameters:
  ///   - threshold: so many failures in a row open it; at least 1.
  ///   - rest: how long nothing passes then, and how long a trial may take.
  public init(threshold: Int = 5, rest: Duration = .seconds(10)) {
    self.threshold = max(1, threshold)
    self.rest = rest
  }

  /// Whether a call may be made now. After a `true`, tell `succeeded` or `failed`.
  public mutating func allows(at now: Instant) -> Bool {
    switch state {
    case .closed: return true
    case .open(let until), .trying(let until):
      guard now >= until else { return false }
      state = .trying(until: now.advanced(by: rest))
      return true
    }
  }

  public mutating func succeeded() {
    state = .closed(failures: 0)
  }

  public mutating func failed(at now: Instant) {
    switch state {
    case .closed(let failures) where failures + 1 < threshold: state = .closed(failures: failures + 1)
    case .closed, .trying: state = .open(until: now.advanced(by: rest))
    // A call that began before it opened; it tells nothing new.
    case .open: break
    }
  }
}
