import Shared
import Testing

/// A generator whose numbers are known: SplitMix64.
private struct Known: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }
}

@Suite struct BackoffTests {
  @Test func theBoundDoublesUpToTheCapAndStartsAgainAfterASuccess() {
    var backoff = Backoff(base: .seconds(2), cap: .seconds(20))
    var bounds: [Duration] = []
    for _ in 0..<6 {
      bounds.append(backoff.bound)
      _ = backoff.next()
    }
    #expect(bounds == [2, 4, 8, 16, 20, 20].map(Duration.seconds))
    backoff.reset()
    #expect(backoff.bound == .seconds(2))
  }

  @Test func waitsFillTheWholeRangeAndNeverLeaveIt() {
    var generator = Known(state: 1)
    var lowest = Duration.seconds(100)
    var highest = Duration.zero
    for _ in 0..<1000 {
      var backoff = Backoff(base: .seconds(2), cap: .seconds(60))
      _ = backoff.next(using: &generator)
      let wait = backoff.next(using: &generator)
      #expect(wait >= .zero && wait <= .seconds(4))
      lowest = min(lowest, wait)
      highest = max(highest, wait)
    }
    #expect(lowest < .milliseconds(100) && highest > .milliseconds(3900))
  }

  @Test func itNeverOverflows() {
    var backoff = Backoff(base: .seconds(1), cap: .seconds(Int64.max / 4))
    for _ in 0..<10_000 { _ = backoff.next() }
    #expect(backoff.bound == .seconds(Int64.max / 4))
    var none = Backoff(base: .zero)
    for _ in 0..<10 {
      let wait = none.next()
      #expect(wait == .zero)
    }
  }
}

@Suite struct BreakerTests {
  private typealias Clocked = Breaker<ContinuousClock.Instant>

  @Test func itOpensAfterEnoughFailuresInARowTriesOnceAndClosesOnSuccess() {
    let start = ContinuousClock.now
    var breaker = Clocked(threshold: 3, rest: .seconds(10))
    var passes = false
    breaker.failed(at: start)
    breaker.failed(at: start)
    breaker.succeeded()
    breaker.failed(at: start)
    breaker.failed(at: start)
    passes = breaker.allows(at: start)
    #expect(passes)
    breaker.failed(at: start)
    passes = breaker.allows(at: start)
    #expect(!passes)
    passes = breaker.allows(at: start + .seconds(9.9))
    #expect(!passes)
    passes = breaker.allows(at: start + .seconds(10))
    #expect(passes, "one trial")
    passes = breaker.allows(at: start + .seconds(10))
    #expect(!passes, "and only one")
    breaker.failed(at: start + .seconds(11))
    passes = breaker.allows(at: start + .seconds(20.9))
    #expect(!passes)
    passes = breaker.allows(at: start + .seconds(21))
    #expect(passes)
    breaker.succeeded()
    #expect(breaker.state == .closed(failures: 0))
    passes = breaker.allows(at: start + .seconds(21))
    #expect(passes)
  }

  @Test func aTrialThatIsNeverJudgedDoesNotBlockForEver() {
    let start = ContinuousClock.now
    var breaker = Clocked(threshold: 1, rest: .seconds(10))
    var passes = false
    breaker.failed(at: start)
    breaker.failed(at: start + .seconds(5))
    #expect(breaker.state == .open(until: start + .seconds(10)), "late news does not prolong the rest")
    passes = breaker.allows(at: start + .seconds(10))
    #expect(passes)
    passes = breaker.allows(at: start + .seconds(19))
    #expect(!passes)
    passes = breaker.allows(at: start + .seconds(20))
    #expect(passes)
  }
}
