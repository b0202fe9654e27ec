// The two queues of a loop against the simplest thing that could be right, over many random histories.

import Testing

@testable import HTTP

@Suite struct QueueTests {
  @Test(arguments: 0..<12)
  func theOutputQueueGivesEveryByteOnceAndInOrder(seed: Int) {
    var random = SeededGenerator(state: UInt64(seed) &+ 1)
    var queue = OutputQueue()
    var expected: [UInt8] = []
    var sent: [UInt8] = []
    // Never the same byte at the same distance from a piece's start, and cheap: a debug build makes megabytes of it.
    let pattern = (0..<41_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
    let room = WriteBuffer(capacity: 16)
    for _ in 0..<120 {
      if Bool.random(using: &random) {
        let size = [0, 1, 5, 300, 16_383, 16_384, 40_000].randomElement(using: &random) ?? 1
        let start = Int.random(in: 0..<1000, using: &random)
        let piece = Array(pattern[start..<(start + size)])
        let skip = queue.isEmpty && size > 0 ? Int.random(in: 0..<size, using: &random) : 0
        queue.append(piece, skipping: skip)
        expected += piece[skip...]
      } else if !queue.isEmpty {
        let some = queue.withNext(gatheringIn: room) { Array($0) }
        #expect(!some.isEmpty)
        let taken = Int.random(in: 0...some.count, using: &random)
        queue.drop(taken)
        sent += some[..<taken]
      }
      if queue.count != expected.count - sent.count { Issue.record("the count is wrong") }
    }
    while !queue.isEmpty {
      let some = queue.withNext(gatheringIn: room) { Array($0) }
      guard !some.isEmpty else { break }
      queue.drop(some.count)
      sent += some
    }
    #expect(sent == expected)
  }

  @Test func theTimerQueueGivesWhatIsDueInItsOrder() {
    var random = SeededGenerator(state: 7)
    var queue = TimerQueue()
    var alarms = [Alarm](repeating: Alarm(), count: 1000)
    var times: [UInt64] = []
    for slot in alarms.indices {
      let time = UInt64.random(in: 0..<500, using: &random)
      times.append(time)
      queue.set(&alarms[slot], of: Ticket(slot: UInt32(slot), generation: 1), to: time)
    }
    var taken: [UInt64] = []
    for now in stride(from: UInt64(0), through: 500, by: 20) {
      while let (at, ticket) = queue.popDue(now) {
        let (slot, time) = (Int(ticket.slot), times[Int(ticket.slot)])
        #expect(time <= now && at == time)
        #expect(queue.cameUp(at: at, &alarms[slot], of: ticket, now: now))
        taken.append(time)
      }
      #expect(queue.next.map { $0 > now } ?? true)
    }
    #expect(taken == times.sorted())
    #expect(queue.next == nil)
  }

  /// Whatever its deadline does: it is met once, in time, and never before.
  @Test func anAlarmGoesOffAtItsDeadlineHoweverOftenItWasMoved() {
    var random = SeededGenerator(state: 11)
    let ticket = Ticket(slot: 3, generation: 9)
    for _ in 0..<200 {
      var (queue, alarm) = (TimerQueue(), Alarm())
      var deadline = UInt64.max
      for now in UInt64(1)...400 {
        var wentOff = false
        while let (at, _) = queue.popDue(now) {
          if queue.cameUp(at: at, &alarm, of: ticket, now: now) {
            #expect(!wentOff)
            wentOff = true
          }
        }
        #expect(wentOff == (deadline <= now))
        if wentOff || Int.random(in: 0..<4, using: &random) == 0 {
          deadline = Bool.random(using: &random) ? .max : now + UInt64.random(in: 1...60, using: &random)
          queue.set(&alarm, of: ticket, to: deadline)
        }
      }
    }
  }

  /// Found by review: each request on a kept connection left an entry in the queue for as long as the connection lived.
  @Test func aConnectionThatIsUsedForHoursKeepsFewEntries() {
    var (queue, alarm) = (TimerQueue(), Alarm())
    let ticket = Ticket(slot: 0, generation: 1)
    // A request every second: 10 s for its head, nothing while it is handled, then 60 s for the next one.
    for now in UInt64(0)..<10_000 {
      while let (at, _) = queue.popDue(now) { #expect(!queue.cameUp(at: at, &alarm, of: ticket, now: now)) }
      queue.set(&alarm, of: ticket, to: now + 10)
      queue.set(&alarm, of: ticket, to: .max)
      queue.set(&alarm, of: ticket, to: now + 60)
      #expect(queue.count <= 8, "at \(now)")
    }
  }
}

/// xorshift64*: the same history for the same seed.
private struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_F491_4F6C_DD1D
  }
}
