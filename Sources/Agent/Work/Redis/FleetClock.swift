// The clock for deadlines as the agent knows it: what Redis's clock said less what the dashboard says that it is ahead, carried on by the own
// monotonic clock. Nobody's wall clock has a say, so whoever sets one, on this host or on Redis's, ends nothing too early and nothing too late.
// A step of Redis's clock shows here before the dashboard has said the new difference: the own monotonic clock is believed until then. A new
// difference is taken once two readings agree on it that are further apart than the dashboard's looks, for the two values may have been read
// at either side of the step.
import Shared

struct FleetClock {
  private struct Base {
    var milliseconds: Int64
    var at: MonotonicTime
    /// What the dashboard said that Redis is ahead.
    var ahead: Int64?

    func milliseconds(at now: MonotonicTime) -> Int64 {
      let passed = (now - at).components
      return milliseconds + passed.seconds * 1000 + passed.attoseconds / 1_000_000_000_000_000
    }
  }

  private var base: Base?
  /// Said once, to be said again.
  private var candidate: Base?
  /// Longer than the dashboard takes to notice a step.
  private static let confirmation = Duration.seconds(4)
  /// Beyond this it is a step and no drift.
  private static let tolerance: Int64 = 1000

  /// Takes in a reading.
  /// - Parameters:
  ///   - redis: Redis's clock, milliseconds since 1970.
  ///   - ahead: what the dashboard says of it; nil: it says nothing (yet, or Redis came back empty).
  ///   - asked: when the question was sent; how long the answer took is not held against the clock.
  /// - Returns: by how many milliseconds Redis's clock has stepped since it was read last, where it has.
  mutating func hear(redis: Int64, ahead: Int64?, asked: MonotonicTime, now: MonotonicTime = .now) -> Int64? {
    let asking = (now - asked).components
    let tolerance = Self.tolerance + asking.seconds * 1000 + asking.attoseconds / 1_000_000_000_000_000
    let said = Base(milliseconds: redis - (ahead ?? base?.ahead ?? 0), at: now, ahead: ahead ?? base?.ahead)
    guard let base else {
      self.base = said
      return nil
    }
    let step = said.milliseconds - base.milliseconds(at: now)
    if abs(step) <= tolerance {
      self.base = said
      candidate = nil
      return nil
    }
    guard said.ahead != base.ahead else {
      candidate = nil
      return step
    }
    if let candidate, candidate.ahead == said.ahead, abs(said.milliseconds - candidate.milliseconds(at: now)) <= tolerance {
      guard now - candidate.at >= Self.confirmation else { return nil }
      self.base = said
      self.candidate = nil
    } else {
      candidate = said
    }
    return nil
  }

  /// Nil until Redis said it once.
  func milliseconds(at now: MonotonicTime = .now) -> Int64? { base?.milliseconds(at: now) }
}
