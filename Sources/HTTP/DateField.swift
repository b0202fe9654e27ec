// The `Date` field, written once a second per loop (RFC 9110, 5.6.7: IMF-fixdate).

import Glibc

struct DateField {
  private var second = time_t.min
  /// `Date: Sun, 06 Nov 1994 08:49:37 GMT` with its line end.
  private(set) var line: [UInt8] = []

  mutating func update() {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME_COARSE, &now)
    guard now.tv_sec != second else { return }
    second = now.tv_sec
    line = Array("Date: \(Self.text(second))\r\n".utf8)
  }

  /// The date of `seconds` since 1970, in English whatever the locale.
  static func text(_ seconds: time_t) -> String {
    var seconds = seconds
    var parts = tm()
    gmtime_r(&seconds, &parts)
    let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(Int(parts.tm_year) + 1900) "
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
  }
}
