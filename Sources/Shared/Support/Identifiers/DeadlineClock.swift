// The one clock for deadlines that are kept in the store: milliseconds since 1970 that never step. It is read from the wall clock once and
// from then on carried by the kernel's count since boot, so that somebody who sets the host's clock by hours ends nothing too early and
// nothing too late (docs/decisions/0014).
// Across processes of one boot it goes on exactly, from the anchor that the store keeps. Only the wall clock can tell how long a host was
// switched off: after another boot it is believed, but never backwards.
// When keeping a new deadline in the store, also: write it by this clock, and compare it with this clock. Times for people stay `WallTime`.

import Glibc

/// Where a deadline clock stood at one moment of one boot.
public struct ClockAnchor: Sendable, Equatable {
  public var milliseconds: Int64
  /// Milliseconds since boot, suspended time included.
  public var uptime: Int64
  public var boot: String

  public init(milliseconds: Int64, uptime: Int64, boot: String) {
    self.milliseconds = milliseconds
    self.uptime = uptime
    self.boot = boot
  }
}

/// `milliseconds:uptime:boot`, as the store keeps it.
extension ClockAnchor: LosslessStringConvertible {
  public var description: String { "\(milliseconds):\(uptime):\(boot)" }

  public init?(_ text: String) {
    let parts = text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count == 3, let milliseconds = Int64(parts[0]), let uptime = Int64(parts[1]) else { return nil }
    self.init(milliseconds: milliseconds, uptime: uptime, boot: String(parts[2]))
  }
}

public struct DeadlineClock: Sendable {
  private let base: ClockAnchor
  private let uptime: @Sendable () -> Int64

  /// - Parameters:
  ///   - anchor: what an earlier process left; nil for none.
  ///   - boot: the id of this boot.
  ///   - uptime: milliseconds since boot; must not step.
  public init(
    continuing anchor: ClockAnchor?, boot: String, wall: WallTime = .now(),
    uptime: @escaping @Sendable () -> Int64 = { DeadlineClock.sinceBoot() }
  ) {
    let now = uptime()
    var milliseconds = wall.milliseconds
    if let anchor {
      let isSameBoot = !boot.isEmpty && anchor.boot == boot && now >= anchor.uptime
      milliseconds = isSameBoot ? anchor.milliseconds + (now - anchor.uptime) : max(milliseconds, anchor.milliseconds)
    }
    base = ClockAnchor(milliseconds: milliseconds, uptime: now, boot: boot)
    self.uptime = uptime
  }

  /// Milliseconds since 1970.
  public var now: Int64 { base.milliseconds + (uptime() - base.uptime) }

  /// To be kept for the next process.
  public var anchor: ClockAnchor {
    let uptime = uptime()
    return ClockAnchor(milliseconds: base.milliseconds + (uptime - base.uptime), uptime: uptime, boot: base.boot)
  }

  /// How far Redis's clock is ahead of it, as `muster:clock` says it; nil for what no two clocks can be apart.
  public static func ahead(_ text: String) -> Int64? {
    Int64(text).flatMap { $0.magnitude < Bounds.whole.upperBound ? $0 : nil }
  }

  /// The id of this boot; empty where the kernel does not tell.
  public static func currentBoot() -> String {
    guard let bytes = try? Files.read("/proc/sys/kernel/random/boot_id") else { return "" }
    return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
  }

  /// The kernel's count since boot, in milliseconds.
  public static func sinceBoot() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }
}
