// The clock for deadlines on an agent: steps of Redis's clock do not reach it, whoever notices them first.
import Testing

@testable import Agent

@Suite struct FleetClockTests {
  private let start = BootTime(nanoseconds: 1_000_000_000_000)
  private static let hours: Int64 = 5 * 3_600_000

  /// A clock that heard once, at the start, that Redis's clock says a million and is 300 ahead.
  private func settled() -> FleetClock {
    var clock = FleetClock()
    _ = clock.hear(redis: 1_000_000, ahead: 300, asked: start, now: start)
    return clock
  }

  private func hear(
    _ clock: inout FleetClock, after seconds: Int64, step: Int64, ahead: Int64?, isAttended: Bool = false
  ) -> FleetClock.News? {
    let now = start + .seconds(seconds)
    return clock.hear(
      redis: 1_000_000 + seconds * 1000 + step, ahead: ahead, isAttended: isAttended, asked: now, now: now)
  }

  /// Rule `oneClock`.
  @Test func itIsRedissClockLessWhatTheDashboardSaysThatItIsAhead() {
    let clock = settled()
    #expect(clock.milliseconds(at: start) == 999_700)
    #expect(clock.milliseconds(at: start + .seconds(2)) == 1_001_700)
    #expect(FleetClock().milliseconds(at: start) == nil)
  }

  @Test(arguments: [hours, -hours])
  func aStepOfRedissClockIsToldAndNotFollowed(step: Int64) {
    var clock = settled()
    #expect(hear(&clock, after: 5, step: step, ahead: 300) == .stepped(step))
    #expect(clock.milliseconds(at: start + .seconds(5)) == 1_004_700)
    #expect(hear(&clock, after: 6, step: step, ahead: 300) == nil, "told once")
    #expect(clock.isInDoubt)
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

  /// This process has just come, Redis came back empty and its clock is ahead: nothing may be called expired by that.
  @Test func beforeADashboardHasSaidItsDifferenceNothingIsBelievedForAWhile() {
    var clock = FleetClock()
    #expect(clock.awaitsDashboard)
    #expect(hear(&clock, after: 0, step: Self.hours, ahead: nil) == nil)
    #expect(clock.milliseconds(at: start) == nil && clock.awaitsDashboard)
    #expect(hear(&clock, after: 2, step: Self.hours, ahead: Self.hours) == nil)
    #expect(clock.milliseconds(at: start + .seconds(2)) == 1_002_000 && !clock.awaitsDashboard)
    // No dashboard is there at all: then Redis's clock is all there is.
    var alone = FleetClock()
    _ = hear(&alone, after: 0, step: 0, ahead: nil)
    #expect(alone.milliseconds(at: start + FleetClock.patience) == 1_010_000)
    #expect(hear(&alone, after: 20, step: 0, ahead: 300) == nil)
    #expect(alone.milliseconds(at: start + .seconds(20)) == 1_019_700)
  }

  /// The host is a virtual machine that was halted for hours: Redis's clock went on, and a dashboard that is there sees no step.
  @Test func anOwnCountThatStoodStillIsMadeUpForOnceADashboardWouldHaveSaidThatItWasAStep() {
    var clock = settled()
    #expect(hear(&clock, after: 5, step: Self.hours, ahead: 300, isAttended: true) == .stepped(Self.hours))
    for seconds in stride(from: 10, to: 35, by: 5) as StrideTo<Int64> {
      #expect(hear(&clock, after: seconds, step: Self.hours, ahead: 300, isAttended: true) == nil)
      #expect(clock.milliseconds(at: start + .seconds(seconds)) == 999_700 + seconds * 1000)
    }
    #expect(hear(&clock, after: 35, step: Self.hours, ahead: 300, isAttended: true) == .stoodStill(Self.hours))
    #expect(clock.milliseconds(at: start + .seconds(35)) == 1_034_700 + Self.hours)
    #expect(!clock.isInDoubt)
  }

  /// Then nobody would have said that it was a step; nor does a time without one count that came before.
  @Test func withoutADashboardNothingIsMadeUpFor() {
    var clock = settled()
    for seconds in stride(from: 5, to: 600, by: 5) as StrideTo<Int64> {
      let news = hear(&clock, after: seconds, step: Self.hours, ahead: 300)
      #expect(news == (seconds == 5 ? .stepped(Self.hours) : nil))
    }
    #expect(hear(&clock, after: 600, step: Self.hours, ahead: 300, isAttended: true) == nil)
    #expect(clock.milliseconds(at: start + .seconds(600)) == 1_599_700)
    // It comes, and says what has happened.
    #expect(hear(&clock, after: 605, step: Self.hours, ahead: 300 + Self.hours, isAttended: true) == nil)
    #expect(clock.milliseconds(at: start + .seconds(605)) == 1_604_700 && !clock.isInDoubt)
  }

  @Test(arguments: [Int64.min, .min + 1, -(1 << 53) - 1, (1 << 53) + 1, .max])
  func aNumberThatIsNoTimeIsPassedOver(number: Int64) {
    var clock = FleetClock()
    #expect(clock.hear(redis: number, ahead: number, asked: start, now: start) == nil)
    #expect(clock.milliseconds(at: .never) == nil)
    var known = settled()
    #expect(known.hear(redis: number, ahead: 300, asked: start, now: start + .seconds(5)) == nil)
    #expect(hear(&known, after: 5, step: 0, ahead: number) == nil)
    #expect(known.milliseconds(at: start + .seconds(5)) == 1_004_700)
    // The largest and the smallest that may be times do not overflow.
    _ = known.hear(redis: 1 << 53, ahead: -(1 << 53), asked: .distantPast, now: .never)
    _ = known.hear(redis: -(1 << 53), ahead: 1 << 53, asked: .distantPast, now: .never)
    #expect(known.milliseconds(at: .never) != nil)
  }

  @Test func slowAnswersAndDriftAreNoSteps() {
    var clock = settled()
    let now = start + .seconds(9)
    #expect(clock.hear(redis: 1_000_000 + 5500, ahead: 300, asked: start + .seconds(5), now: now) == nil)
    #expect(clock.milliseconds(at: now) == 1_005_200)
  }
}
