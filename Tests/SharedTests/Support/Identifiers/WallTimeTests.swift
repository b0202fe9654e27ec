import Shared
import Testing

@Suite struct WallTimeTests {
  static let known: [(milliseconds: Int64, text: String)] = [
    (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
    (951_868_799_999, "2000-02-29T23:59:59.999Z"), (951_868_800_000, "2000-03-01T00:00:00.000Z"),
    (1_763_732_700_123, "2025-11-21T13:45:00.123Z"), (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    (4_107_542_399_999, "2100-02-28T23:59:59.999Z"), (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
    (253_402_300_799_999, "9999-12-31T23:59:59.999Z"), (-2_208_988_800_000, "1900-01-01T00:00:00.000Z"),
  ]

  @Test(arguments: known)
  func aMomentHasOneText(_ milliseconds: Int64, _ text: String) {
    #expect(WallTime(milliseconds: milliseconds).description == text)
    #expect(WallTime(text)?.milliseconds == milliseconds)
  }

  @Test func everyDayOfFourCenturiesReadsBack() {
    var previous = ""
    for day in Int64(-60_000)..<90_000 {
      let time = WallTime(milliseconds: day * 86_400_000 + 12_345)
      let text = time.description
      guard WallTime(text) == time, text > previous || day == -60_000 else {
        Issue.record("\(text)")
        return
      }
      previous = text
    }
  }

  static let otherForms: [(text: String, milliseconds: Int64)] = [
    ("1970-01-01T00:00:00Z", 0), ("1970-01-01t00:00:00z", 0), ("1970-01-01 00:00:00Z", 0), ("1970-01-01T00:00:00.5Z", 500),
    ("1970-01-01T00:00:00.123999999Z", 123), ("1970-01-01T01:00:00+01:00", 0), ("1969-12-31T23:30:00-00:30", 0),
    ("1970-01-01T00:00:60Z", 60_000), ("1970-01-01T00:00:60.9Z", 60_000), ("1970-01-01T00:00:00.01Z", 10),
    ("1970-01-01T00:00:00-00:00", 0),
  ]

  @Test(arguments: otherForms)
  func otherFormsOfRFC3339AreRead(_ text: String, _ milliseconds: Int64) {
    #expect(WallTime(text)?.milliseconds == milliseconds)
  }

  static let refused = [
    "", "now", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01T00:00Z", "1970-1-1T00:00:00Z", "1970-13-01T00:00:00Z",
    "1970-00-01T00:00:00Z", "1970-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "1970-01-32T00:00:00Z", "1970-01-00T00:00:00Z",
    "1970-01-01T24:00:00Z", "1970-01-01T00:60:00Z", "1970-01-01T00:00:61Z", "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00Zx",
    "1970-01-01T00:00:00+1:00", "1970-01-01T00:00:00+24:00", "+1970-01-01T00:00:00Z", "1970-01-01T00:00:00 Z",
    "１970-01-01T00:00:00Z",
  ]

  @Test(arguments: refused)
  func anythingElseIsRefused(_ text: String) {
    #expect(WallTime(text) == nil)
  }

  @Test func arithmeticIsExactAndSaturates() {
    let time = WallTime(milliseconds: 1000)
    #expect(time + .milliseconds(5) == WallTime(milliseconds: 1005))
    #expect(time - .seconds(2) == WallTime(milliseconds: -1000))
    #expect(time - WallTime(milliseconds: 400) == .milliseconds(600))
    #expect((time + .seconds(Int64.max)).milliseconds == .max)
    #expect((time - .seconds(Int64.max)).milliseconds == .min)
  }

  @Test func nowIsNow() {
    let first = WallTime.now()
    #expect(first.milliseconds > 1_700_000_000_000)
    #expect(WallTime.now() - first < .seconds(60))
  }
}
