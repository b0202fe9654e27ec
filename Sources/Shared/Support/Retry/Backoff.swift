// How long to wait before trying again: 2, 4, 8 … seconds with full jitter, capped (DESIGN section 3, step 2). Pure: the
// caller brings the randomness and does the waiting.

/// Full jitter: each wait is drawn evenly between nothing and a bound that doubles, so that many who failed together do
/// not come back together.
public struct Backoff: Sendable, Equatable {
  public let base: Duration
  public let cap: Duration
  /// How many waits were drawn since the last success.
  public private(set) var attempts = 0

  /// - Parameters:
  ///   - base: the bound of the first wait.
  ///   - cap: the bound that none exceeds.
  public init(base: Duration = .seconds(2), cap: Duration = .seconds(60)) {
    self.base = max(base, .zero)
    self.cap = max(cap, .zero)
  }

  /// The bound of the next wait.
  public var bound: Duration {
    var bound = base
    var doublings = attempts
    while doublings > 0, bound < cap {
      bound = bound * 2
      doublings -= 1
      if bound == .zero { break }
    }
    return min(bound, cap)
  }

  /// Draws the next wait.
  public mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
    let wait = bound * Double.random(in: 0...1, using: &generator)
    attempts += 1
    return wait
  }

  public mutating func next() -> Duration {
    var generator = SystemRandomNumberGenerator()
    return next(using: &generator)
  }

  /// Tells of a success: the next wait is short again.
  public mutating func reset() {
    attempts = 0
  }
}
