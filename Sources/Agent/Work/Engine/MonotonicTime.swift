// The clocks for everything that is measured or waited for. Wall time (`WallTime`) is only stored and shown.
//
// `MonotonicTime` stands still while the host sleeps, as epoll's timeouts, the runners' deadlines and the commands themselves do: for what
// happens on this host. `BootTime` goes on: for what others' clocks go on with meanwhile, the age of the lease and the clock for deadlines.
// They are types of their own, so that a moment of the one is never compared with one of the other.
// When adding something that is measured, also: ask which of the two it is after a night in which the host slept.

import Glibc

protocol KernelClock: Sendable {
  static var id: clockid_t { get }
}

enum MonotonicClock: KernelClock {
  static var id: clockid_t { CLOCK_MONOTONIC }
}

enum BootTimeClock: KernelClock {
  static var id: clockid_t { CLOCK_BOOTTIME }
}

typealias MonotonicTime = KernelTime<MonotonicClock>
typealias BootTime = KernelTime<BootTimeClock>

/// A moment of one of the kernel's clocks.
struct KernelTime<Clock: KernelClock>: Comparable, Sendable {
  var nanoseconds: UInt64

  static var now: KernelTime {
    var time = timespec()
    clock_gettime(Clock.id, &time)
    return KernelTime(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
  }

  static var distantPast: KernelTime { KernelTime(nanoseconds: 0) }
  static var never: KernelTime { KernelTime(nanoseconds: .max) }

  static func < (left: KernelTime, right: KernelTime) -> Bool { left.nanoseconds < right.nanoseconds }

  /// Saturates at both ends.
  static func + (time: KernelTime, duration: Duration) -> KernelTime {
    let (seconds, attoseconds) = duration.components
    let amount = Double(seconds) * 1e9 + Double(attoseconds) / 1e9
    if amount < 0 { return KernelTime(nanoseconds: time.nanoseconds - min(time.nanoseconds, UInt64(min(-amount, 1e18)))) }
    let (sum, overflow) = time.nanoseconds.addingReportingOverflow(UInt64(min(amount, 9e18)))
    return overflow ? .never : KernelTime(nanoseconds: sum)
  }

  /// How long from the right moment to the left one; zero where that lies ahead.
  static func - (left: KernelTime, right: KernelTime) -> Duration {
    .nanoseconds(Int64(clamping: left.nanoseconds - min(left.nanoseconds, right.nanoseconds)))
  }
}
