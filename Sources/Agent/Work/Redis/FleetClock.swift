// The clock for deadlines as the agent knows it: what Redis's clock said less what the dashboard says that it is ahead, carried on by the own
// count since boot, which goes on while the host sleeps. Nobody's wall clock has a say, so whoever sets one, on this host or on Redis's, ends
// nothing too early and nothing too late.
// A step of Redis's clock shows here before the dashboard has said the new difference: the own count is believed until then. A new difference
// is taken once two readings agree on it that are further apart than the dashboard's looks, for the two values may have been read at either
// side of the step.
// What if: no dashboard has said a difference since this process began (Redis came back empty): nothing is believed for a while, then Redis's
// clock as it is. Redis's clock has moved against the own count, and a dashboard that is there says no new difference: then the own count
// stood still (the host is a virtual machine that was halted), and the reading is taken at last.
import Shared

struct FleetClock {
  private struct Base {
    var milliseconds: Int64
    var at: BootTime
    /// What the dashboard said that Redis is ahead.
    var ahead: Int64?

    func milliseconds(at now: BootTime) -> Int64 { milliseconds + FleetClock.milliseconds(now - at) }

    func agrees(with other: Base, within tolerance: Int64) -> Bool {
      abs(milliseconds - other.milliseconds(at: at)) <= tolerance
    }
  }

  /// What a reading has brought to light, in milliseconds.
  enum News: Equatable {
    /// Redis's clock was set by so much since it was read last. It is not followed.
    case stepped(Int64)
    /// The own count had stood still for so long. It is made up for.
    case stoodStill(Int64)
  }

  private var base: Base?
  /// Said once, to be said again.
  private var candidate: Base?
  /// When it was read first.
  private var heardAt: BootTime?
  /// Longer than the dashboard takes to notice a step.
  private static let confirmation = Duration.seconds(4)
  /// So long a difference that was never said is waited for.
  static let patience = Duration.seconds(10)
  /// Much longer than a dashboard takes to say a new difference.
  private static let silence = Duration.seconds(30)
  /// Beyond this it is a step and no drift.
  private static let tolerance: Int64 = 1000
  /// What lies beyond is no time: anybody may write a number into Redis. Sums of such numbers do not overflow.
  private static let plausible: ClosedRange<Int64> = -(1 << 53)...(1 << 53)

  /// Takes in a reading.
  /// - Parameters:
  ///   - redis: Redis's clock, milliseconds since 1970.
  ///   - ahead: what the dashboard says of it; nil: it says nothing (yet, or Redis came back empty).
  ///   - isAttended: a dashboard is there that would have said by now what has changed.
  ///   - asked: when the question was sent; how long the answer took is not held against the clock.
  mutating func hear(redis: Int64, ahead: Int64?, isAttended: Bool = false, asked: BootTime, now: BootTime = .now) -> News? {
    guard FleetClock.plausible.contains(redis) else { return nil }
    let ahead = ahead.flatMap { FleetClock.plausible.contains($0) ? $0 : nil }
    let tolerance = FleetClock.tolerance + FleetClock.milliseconds(now - asked)
    let said = Base(milliseconds: redis - (ahead ?? base?.ahead ?? 0), at: now, ahead: ahead ?? base?.ahead)
    if heardAt == nil { heardAt = now }
    // The first word of a dashboard goes over what was only assumed.
    guard let base, base.ahead != nil || ahead == nil, !said.agrees(with: base, within: tolerance) else {
      self.base = said
      candidate = nil
      return nil
    }
    let step = said.milliseconds - base.milliseconds(at: now)
    let isTold = said.ahead != base.ahead
    let isRepeated = candidate.map { $0.ahead == said.ahead && said.agrees(with: $0, within: tolerance) } ?? false
    guard let candidate, isRepeated, isTold || isAttended else {
      self.candidate = said
      return isTold || isRepeated ? nil : .stepped(step)
    }
    guard now - candidate.at >= (isTold ? FleetClock.confirmation : FleetClock.silence) else { return nil }
    self.base = said
    self.candidate = nil
    return isTold ? nil : .stoodStill(step)
  }

  /// Nil until Redis and a dashboard said it once, or Redis alone for a while.
  func milliseconds(at now: BootTime = .now) -> Int64? {
    guard let base, let heardAt, base.ahead != nil || now - heardAt >= FleetClock.patience else { return nil }
    return base.milliseconds(at: now)
  }

  /// No dashboard has said yet how far Redis's clock is ahead.
  var awaitsDashboard: Bool { base?.ahead == nil }

  /// Redis's clock is not where it was expected; whether a dashboard is there tells why.
  var isInDoubt: Bool { candidate != nil }

  private static func milliseconds(_ duration: Duration) -> Int64 {
    let (seconds, attoseconds) = duration.components
    return seconds * 1000 + attoseconds / 1_000_000_000_000_000
  }
}
