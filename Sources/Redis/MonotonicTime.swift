// A point on CLOCK_MONOTONIC, in nanoseconds: what every deadline of a connection is measured with.
// Additions saturate, so that "a very long time" never wraps into the past.
import Glibc

struct MonotonicTime: Comparable, Sendable {
  var nanoseconds: Int64

  static var now: MonotonicTime {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return MonotonicTime(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }

  static func < (left: MonotonicTime, right: MonotonicTime) -> Bool { left.nanoseconds < right.nanoseconds }

  static func + (time: MonotonicTime, duration: Duration) -> MonotonicTime {
    let (sum, overflow) = time.nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
    return MonotonicTime(nanoseconds: overflow ? .max : sum)
  }

  static func - (later: MonotonicTime, earlier: MonotonicTime) -> Duration {
    .nanoseconds(later.nanoseconds - earlier.nanoseconds)
  }

  /// Milliseconds for `poll`, rounded up so that a deadline has passed when the call returns; 0 once it has.
  func pollTimeout(from now: MonotonicTime) -> Int32 {
    guard self > now else { return 0 }
    let distance = nanoseconds - now.nanoseconds
    return Int32(clamping: distance / 1_000_000 + (distance % 1_000_000 == 0 ? 0 : 1))
  }
}

extension Duration {
  /// This duration in nanoseconds, cut to what fits.
  var wholeNanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow else { return seconds < 0 ? .min : .max }
    let (sum, carry) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
    return carry ? (seconds < 0 ? .min : .max) : sum
  }
}
