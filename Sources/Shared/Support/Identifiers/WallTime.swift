// Wall time for people and for storage. Anything that is measured or waited for uses a monotonic clock instead
// (DESIGN, section 3: "wall clocks are for people").

import Glibc

/// A moment in UTC, in whole milliseconds. In JSON: RFC 3339 with milliseconds (API.md, Conventions).
public struct WallTime: Sendable, Hashable, Comparable {
  /// Since 1970-01-01T00:00:00Z, leap seconds not counted; negative before.
  public var milliseconds: Int64

  public init(milliseconds: Int64) {
    self.milliseconds = milliseconds
  }

  public static func now() -> WallTime {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return WallTime(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
  }

  public static func < (left: WallTime, right: WallTime) -> Bool { left.milliseconds < right.milliseconds }

  /// The moment that is `duration` later; parts of a millisecond are dropped. Saturates at the type's bounds.
  public static func + (time: WallTime, duration: Duration) -> WallTime {
    let (seconds, attoseconds) = duration.components
    let (whole, tooBig) = seconds.multipliedReportingOverflow(by: 1000)
    let (sum, tooBigNow) = time.milliseconds.addingReportingOverflow(whole)
    guard !tooBig, !tooBigNow else { return WallTime(milliseconds: seconds < 0 ? .min : .max) }
    let (exact, overflow) = sum.addingReportingOverflow(attoseconds / 1_000_000_000_000_000)
    return WallTime(milliseconds: overflow ? (seconds < 0 ? .min : .max) : exact)
  }

  public static func - (time: WallTime, duration: Duration) -> WallTime { time + (.zero - duration) }

  /// How much later the left moment is.
  public static func - (left: WallTime, right: WallTime) -> Duration {
    .milliseconds(left.milliseconds) - .milliseconds(right.milliseconds)
  }
}

// MARK: RFC 3339

extension WallTime: LosslessStringConvertible {
  /// `2025-11-21T13:45:00.123Z`: always UTC, always milliseconds. Years beyond 0000 to 9999 are held at those bounds.
  public var description: String {
    let bounded = min(max(milliseconds, Self.firstMillisecond), Self.lastMillisecond)
    var rest = bounded
    let (days, inDay) = Self.floorDivide(rest, by: 86_400_000)
    let (year, month, day) = Self.civil(fromDays: days)
    rest = inDay
    return String(unsafeUninitializedCapacity: 24) { buffer in
      var position = 0
      func digits(_ value: Int64, _ count: Int, then separator: UInt8) {
        var value = value
        for index in stride(from: position + count - 1, through: position, by: -1) {
          buffer[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value % 10)
          value /= 10
        }
        buffer[position + count] = separator
        position += count + 1
      }
      digits(year, 4, then: UInt8(ascii: "-"))
      digits(month, 2, then: UInt8(ascii: "-"))
      digits(day, 2, then: UInt8(ascii: "T"))
      digits(rest / 3_600_000, 2, then: UInt8(ascii: ":"))
      digits(rest / 60_000 % 60, 2, then: UInt8(ascii: ":"))
      digits(rest / 1000 % 60, 2, then: UInt8(ascii: "."))
      digits(rest % 1000, 3, then: UInt8(ascii: "Z"))
      return 24
    }
  }

  /// Reads RFC 3339: any offset, any number of fraction digits (beyond milliseconds they are dropped), `T` and `Z` in
  /// either case, a space for `T`. A leap second is the first moment of the next minute. `nil` for anything else.
  public init?(_ text: String) {
    var text = text
    let parsed: Int64? = text.withUTF8 { bytes in
      var parser = RFC3339Parser(bytes: bytes)
      return parser.milliseconds()
    }
    guard let parsed else { return nil }
    self.init(milliseconds: parsed)
  }

  private static let firstMillisecond: Int64 = -62_167_219_200_000
  private static let lastMillisecond: Int64 = 253_402_300_799_999

  private static func floorDivide(_ value: Int64, by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
  }

  /// The proleptic Gregorian date of a day, counted from 1970-01-01. Years are taken to begin in March, so that the
  /// leap day is the last one; 146,097 days make one cycle of 400 years.
  private static func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let (cycle, dayOfCycle) = floorDivide(days + 719_468, by: 146_097)
    let yearOfCycle = (dayOfCycle - dayOfCycle / 1460 + dayOfCycle / 36_524 - dayOfCycle / 146_096) / 365
    let dayOfYear = dayOfCycle - (365 * yearOfCycle + yearOfCycle / 4 - yearOfCycle / 100)
    let marchMonth = (5 * dayOfYear + 2) / 153
    let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
    let year = cycle * 400 + yearOfCycle + (month <= 2 ? 1 : 0)
    return (year, month, dayOfYear - (153 * marchMonth + 2) / 5 + 1)
  }

  fileprivate static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
    let (cycle, yearOfCycle) = floorDivide(month <= 2 ? year - 1 : year, by: 400)
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return cycle * 146_097 + yearOfCycle * 365 + yearOfCycle / 4 - yearOfCycle / 100 + dayOfYear - 719_468
  }
}

private struct RFC3339Parser {
  let bytes: UnsafeBufferPointer<UInt8>
  private var position = 0

  init(bytes: UnsafeBufferPointer<UInt8>) {
    self.bytes = bytes
  }

  mutating func milliseconds() -> Int64? {
    guard let year = digits(4), take("-"), let month = digits(2), take("-"), let day = digits(2),
      take("T") || take("t") || take(" "),
      let hour = digits(2), take(":"), let minute = digits(2), take(":"), let second = digits(2),
      (1...12).contains(month), day >= 1, day <= Self.length(ofMonth: month, in: year), hour < 24, minute < 60, second <= 60
    else { return nil }
    guard let fraction = fraction(), let offsetMinutes = offset(), position == bytes.count else { return nil }
    let minutes = (WallTime.days(year: year, month: month, day: day) * 24 + hour) * 60 + minute - offsetMinutes
    return (minutes * 60 + second) * 1000 + (second == 60 ? 0 : fraction)
  }

  private mutating func fraction() -> Int64? {
    guard take(".") else { return 0 }
    let start = position
    var value: Int64 = 0
    while let digit = digits(1) {
      if position - start <= 3 { value = value * 10 + digit }
    }
    let count = position - start
    guard count > 0 else { return nil }
    for _ in min(count, 3)..<3 { value *= 10 }
    return value
  }

  private mutating func offset() -> Int64? {
    if take("Z") || take("z") { return 0 }
    let sign: Int64
    if take("+") { sign = 1 } else if take("-") { sign = -1 } else { return nil }
    guard let hours = digits(2), take(":"), let minutes = digits(2), hours < 24, minutes < 60 else { return nil }
    return sign * (hours * 60 + minutes)
  }

  private mutating func digits(_ count: Int) -> Int64? {
    guard position + count <= bytes.count else { return nil }
    var value: Int64 = 0
    for byte in bytes[position..<position + count] {
      guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
      value = value * 10 + Int64(byte - UInt8(ascii: "0"))
    }
    position += count
    return value
  }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private static func length(ofMonth month: Int64, in year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }
}

extension WallTime: Codable {
  public init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let time = WallTime(text) else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "\"\(text)\" is no RFC 3339 time"))
    }
    self = time
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
