// How long to wait before the n-th attempt to reconnect: a pure function of n and a random number.
// All but the very first connection are drawn from 0 up to a limit that doubles ("full jitter"), so that 10,000 agents that lost the same
// server do not come back at the same moment; also where it only closed their connections and never went away (`first`).

/// Waits between attempts to connect.
public struct ReconnectBackoff: Sendable {
  /// The limit of the wait after a connection that had been a good one. Zero for whoever is alone.
  public var first: Duration
  /// The limit of the wait after the first failed attempt.
  public var base: Duration
  /// No wait is longer.
  public var cap: Duration

  public init(first: Duration = .zero, base: Duration = .milliseconds(50), cap: Duration = .seconds(5)) {
    self.first = first
    self.base = base
    self.cap = cap
  }

  /// The longest wait after `failures` failed attempts in a row: `first` after none, then base, 2·base, 4·base … up to `cap`.
  public func limit(afterFailures failures: Int) -> Duration {
    guard failures > 0 else { return min(first, cap) }
    return min(cap, base * (1 << min(failures - 1, 20)))
  }

  /// A wait drawn from 0 up to that limit.
  func delay(afterFailures failures: Int) -> Duration {
    let limit = limit(afterFailures: failures).wholeNanoseconds
    return limit > 0 ? .nanoseconds(Int64.random(in: 0...limit)) : .zero
  }
}
