// The clock for deadlines on an agent: steps of Redis's clock do not reach it, whoever notices them first.
import Testing

@testable import Agent

@Suite struct FleetClockTests {
  private let start = MonotonicTime(nanoseconds: 1_000_000_000_000)
  private static let hours: Int64 = 5 * 3_600_000

  /// A clock that heard once, at the start, that Redis's clock says a million and is 300 ahead.
  private func settled() -> FleetClock {
    var clock = FleetClock()
    _ = clock.hear(redis: 1_000_000, ahead: 300, asked: start, now: start)
    return clock
  }

  private func hear(_ clock: inout FleetClock, after seconds: Int64, step: Int64, ahead: Int64?) -> Int64? {
    let now = start + .seconds(seconds)
    return clock.hear(redis: 1_000_000 + seconds * 1000 + step, ahead: ahead, asked: now, now: now)
  }

  @Test func itIsRedissClockLessWhatTheDashboardSaysThatItIsAhead() {
    let clock = settled()
    #expect(clock.milliseconds(at: start) == 999_700)
    #expect(clock.milliseconds(at: start + .seconds(2)) == 1_001_700)
    #expect(FleetClock().milliseconds(at: start) == nil)
  }

  @Test(arguments: [hours, -hours])
  func aStepOfRedissClockIsToldAndNotFollowed(step: Int64) {
    var clock = settled()
    #expect(hear(&clock, after: 5, step: step, ahead: 300) == step)
    #expect(clock.milliseconds(at: start + .seconds(5)) == 1_004_700)
    // The dashboard says the new difference: nothing moves.
    #expect(hear(&clock, after: 10, step: step, ahead: 300 + step) == nil)
    #expect(clock.milliseconds(at: start + .seconds(10)) == 1_009_700)
    // Redis came back empty, and with it the difference is gone for a moment.
    #expect(hear(&clock, after: 15, step: step, ahead: nil) == nil)
    #expect(clock.milliseconds(at: start + .seconds(15)) == 1_014_700)
  }

  @Test func aWrongFirstReadingIsCorrectedOnceTwoAgree() {
    // Redis was set forward right before this agent came, and the dashboard had not said so yet.
    var clock = FleetClock()
    _ = clock.hear(redis: 1_000_000 + Self.hours, ahead: 300, asked: start, now: start)
    #expect(hear(&clock, after: 5, step: Self.hours, ahead: 300 + Self.hours) == nil)
    #expect(clock.milliseconds(at: start + .seconds(5)) == 1_004_700 + Self.hours)
    #expect(hear(&clock, after: 10, step: Self.hours, ahead: 300 + Self.hours) == nil)
    #expect(clock.milliseconds(at: start + .seconds(10)) == 1_009_700)
  }

  @Test func oneReadingThatMixesBothSidesOfAStepChangesNothing() {
    var clock = settled()
    // The time from before the step, the difference from after it.
    #expect(hear(&clock, after: 5, step: 0, ahead: 300 + Self.hours) == nil)
    #expect(hear(&clock, after: 10, step: Self.hours, ahead: 300 + Self.hours) == nil)
    #expect(clock.milliseconds(at: start + .seconds(10)) == 1_009_700)
  }

  @Test func twoReadingsAtOnceAreOneReading() {
    var clock = settled()
    // Right after a step, twice, with a difference that is as old as the step: an agent that registers again reads at once.
    for _ in 0..<2 { #expect(hear(&clock, after: 5, step: Self.hours, ahead: 301) == nil) }
    #expect(clock.milliseconds(at: start + .seconds(5)) == 1_004_700)
  }

  @Test func slowAnswersAndDriftAreNoSteps() {
    var clock = settled()
    let now = start + .seconds(9)
    #expect(clock.hear(redis: 1_000_000 + 5500, ahead: 300, asked: start + .seconds(5), now: now) == nil)
    #expect(clock.milliseconds(at: now) == 1_005_200)
  }
}
