// The clock for everything that is measured or waited for. Wall time (`WallTime`) is only stored and shown.

import Glibc

/// Nanoseconds of CLOCK_MONOTONIC.
struct MonotonicTime: Comparable, Sendable {
  var nanoseconds: UInt64

  static var now: MonotonicTime {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return MonotonicTime(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
  }

  static let distantPast = MonotonicTime(nanoseconds: 0)
  static let never = MonotonicTime(nanoseconds: .max)

  static func < (left: MonotonicTime, right: MonotonicTime) -> Bool { left.nanoseconds < right.nanoseconds }

  /// Saturates at both ends.
  static func + (time: MonotonicTime, duration: Duration) -> MonotonicTime {
    let (seconds, attoseconds) = duration.components
    let amount = Double(seconds) * 1e9 + Double(attoseconds) / 1e9
    if amount < 0 { return MonotonicTime(nanoseconds: time.nanoseconds - min(time.nanoseconds, UInt64(min(-amount, 1e18)))) }
    let (sum, overflow) = time.nanoseconds.addingReportingOverflow(UInt64(min(amount, 9e18)))
    return overflow ? .never : MonotonicTime(nanoseconds: sum)
  }

  /// How long from the right moment to the left one; zero where that lies ahead.
  static func - (left: MonotonicTime, right: MonotonicTime) -> Duration {
    .nanoseconds(Int64(clamping: left.nanoseconds - min(left.nanoseconds, right.nanoseconds)))
  }
}
