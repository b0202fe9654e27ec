// The clock for deadlines: never a step, whatever the wall clock does, in this process and over restarts of it.
import Synchronization
import Testing

@testable import Shared

@Suite struct DeadlineClockTests {
  private final class Uptime: Sendable {
    private let value: Mutex<Int64>
    init(_ start: Int64) { value = Mutex(start) }
    func pass(_ milliseconds: Int64) { value.withLock { $0 += milliseconds } }
    var now: Int64 { value.withLock { $0 } }
  }

  private func clock(_ uptime: Uptime, continuing anchor: ClockAnchor? = nil, boot: String = "one", wall: Int64) -> DeadlineClock
  {
    DeadlineClock(continuing: anchor, boot: boot, wall: WallTime(milliseconds: wall), uptime: { uptime.now })
  }

  @Test func itBeginsWithTheWallClockAndIsCarriedByTheKernels() {
    let uptime = Uptime(500)
    let clock = clock(uptime, wall: 1_000_000)
    #expect(clock.now == 1_000_000)
    uptime.pass(1234)
    #expect(clock.now == 1_001_234)
  }

  @Test(arguments: [0, 5_000_000, -5_000_000] as [Int64])
  func aRestartOnTheSameBootGoesOnExactlyWhateverTheWallClockSays(step: Int64) {
    let uptime = Uptime(500)
    let first = clock(uptime, wall: 1_000_000)
    uptime.pass(2000)
    let anchor = first.anchor
    // An hour without the program, in which somebody set the clock.
    uptime.pass(3_600_000)
    let second = clock(uptime, continuing: anchor, wall: 1_000_000 + 2000 + 3_600_000 + step)
    #expect(second.now == 1_000_000 + 2000 + 3_600_000)
  }

  @Test func afterAnotherBootTheWallClockIsBelievedButNeverBackwards() {
    let anchor = ClockAnchor(milliseconds: 1_000_000, uptime: 900, boot: "one")
    #expect(clock(Uptime(5), continuing: anchor, boot: "two", wall: 1_500_000).now == 1_500_000)
    #expect(clock(Uptime(5), continuing: anchor, boot: "two", wall: 200_000).now == 1_000_000)
    // A copy of the store on a host whose boot cannot be told, or that claims to have just begun.
    #expect(clock(Uptime(5), continuing: anchor, boot: "one", wall: 200_000).now == 1_000_000)
    let nameless = ClockAnchor(milliseconds: 1_000_000, uptime: 900, boot: "")
    #expect(clock(Uptime(2000), continuing: nameless, boot: "", wall: 1_500_000).now == 1_500_000)
  }

  @Test func itsAnchorIsReadAsItIsWritten() {
    let anchor = ClockAnchor(milliseconds: -5, uptime: 77, boot: "a:b")
    #expect(ClockAnchor("\(anchor)") == anchor)
    for text in ["", "1:2", "x:2:boot", "1::boot"] { #expect(ClockAnchor(text) == nil, "\(text)") }
  }

  @Test func theKernelSaysWhichBootThisIs() {
    #expect(DeadlineClock.currentBoot().count == 36)
    let before = DeadlineClock.sinceBoot()
    #expect(before > 0 && DeadlineClock.sinceBoot() >= before)
  }
}
