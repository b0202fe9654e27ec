// Makes ULIDs that never go back: not within a millisecond, not when the clock is set back, not after a restart that
// starts from what the store already holds (DESIGN section 3: "A dashboard's ULIDs never go back").

import Synchronization

public final class ULIDGenerator: Sendable {
  private let last: Mutex<ULID>
  private let clock: @Sendable () -> WallTime

  /// - Parameters:
  ///   - floor: every id will be above this one; the newest id that is known.
  ///   - clock: where the time of a new id comes from.
  public init(floor: ULID = .min, clock: @escaping @Sendable () -> WallTime = { .now() }) {
    last = Mutex(floor)
    self.clock = clock
  }

  /// The next id: of the present millisecond when that is above the last one's, else one above the last.
  public func next() -> ULID {
    last.withLock { last in
      let now = clock().milliseconds
      if now > last.timestampMilliseconds, now < 1 << 48 {
        // The top random bit stays 0: room for 2^79 ids within the millisecond before the time would be carried into.
        let random = UInt64.random(in: .min ... .max)
        last = ULID(high: UInt64(now) << 16 | random & 0x7FFF, low: .random(in: .min ... .max))
      } else {
        // There is an id after the last one unless the floor was the very largest, of the year 10889.
        last = last.successor ?? last
      }
      return last
    }
  }

  /// Makes every later id be above `floor` as well.
  public func raise(to floor: ULID) {
    last.withLock { $0 = Swift.max($0, floor) }
  }
}
