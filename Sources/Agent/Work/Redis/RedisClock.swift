// Redis's clock as the agent knows it: what it said last, carried on by the own monotonic clock. A step of it re-bases.

struct RedisClock {
  private var base: (milliseconds: Int64, at: MonotonicTime)?

  /// - Returns: by how many milliseconds Redis's clock has moved against ours, where that is more than the asking took.
  mutating func hear(_ milliseconds: Int64, asked: MonotonicTime, now: MonotonicTime = .now) -> Int64? {
    let expected = self.milliseconds(at: now)
    base = (milliseconds, now)
    guard let expected else { return nil }
    let step = milliseconds - expected
    let asking = (now - asked).components
    return abs(step) > 1000 + asking.seconds * 1000 ? step : nil
  }

  /// Nil until Redis said it once.
  func milliseconds(at now: MonotonicTime = .now) -> Int64? {
    guard let base else { return nil }
    let passed = (now - base.at).components
    return base.milliseconds + passed.seconds * 1000 + passed.attoseconds / 1_000_000_000_000_000
  }
}
