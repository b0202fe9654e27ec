// A clock that is set takes no history with it: the border moves no faster than time passes.
import Testing

@testable import Dashboard

@Suite struct RetentionBorderTests {
  private static let day: Int64 = 86_400_000
  private let now: Int64 = 20_000 * day
  private let days = 30 * day

  private func moved(_ kept: Int64?, _ passed: Int64, oldest: Int64?, wall: Int64) -> Int64 {
    RetentionBorder.moved(from: kept, by: passed, oldest: oldest, days: days, wall: wall)
  }

  @Test func itFollowsTheCalendarWhereTimeJustPasses() {
    var border = now - days
    for hour in 1...48 {
      border = moved(border, 3_600_000, oldest: border, wall: now + Int64(hour) * 3_600_000)
    }
    #expect(border == now + 2 * Self.day - days)
  }

  @Test func aJumpForwardMovesItByTheTimeThatPassedAndNoMore() {
    let border = moved(now - days, 60_000, oldest: now - 29 * Self.day, wall: now + 365 * Self.day)
    #expect(border == now - days + 60_000)
    // Also where the only task was made a minute ago.
    #expect(moved(now - days, 60_000, oldest: now - 60_000, wall: now + 365 * Self.day) == now - days + 60_000)
  }

  @Test func aJumpBackKeepsMore() {
    #expect(moved(now - days, 60_000, oldest: now - 29 * Self.day, wall: now - 7 * Self.day) == now - 37 * Self.day)
  }

  @Test func timesWithoutATaskAreSkippedAndTheOldestTaskStillKeepsItsWholeTime() {
    // The first tasks were made under a clock that was ten years behind; they are gone, and the border stands there.
    let border = moved(now - 3650 * Self.day, 60_000, oldest: now, wall: now + Self.day)
    #expect(border == now - days)
    #expect(moved(nil, 0, oldest: now - 29 * Self.day, wall: now) == now - 59 * Self.day)
    #expect(moved(nil, 0, oldest: nil, wall: now) == now - days)
  }
}
