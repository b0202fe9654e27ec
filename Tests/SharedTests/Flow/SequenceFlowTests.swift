import Testing

@testable import Shared

@Suite struct SequenceFlowTests {
  private let a = Nonce(1), b = Nonce(2)

  @Test func aReplayedBatchIsDroppedUnread() {
    var committed = CommittedSequence()
    #expect(committed.judge(incarnation: a, first: 1, count: 3, oldest: 1) == .apply(from: 0))
    #expect(committed.judge(incarnation: a, first: 1, count: 3, oldest: 1) == .stale)
    #expect(committed.sequence == 3)
  }

  @Test func anOverlappingBatchIsAppliedFromWhereItIsNew() {
    var committed = CommittedSequence(incarnation: a, sequence: 3)
    #expect(committed.judge(incarnation: a, first: 2, count: 4, oldest: 2) == .apply(from: 2))
    #expect(committed.sequence == 5)
  }

  @Test func aGapIsNotCommitted() {
    var committed = CommittedSequence(incarnation: a, sequence: 3)
    #expect(committed.judge(incarnation: a, first: 5, count: 1, oldest: 2) == .gap)
    #expect(committed.sequence == 3)
  }

  /// Rule `former`. A Redis that has fallen back shows again what a dead process said: heard as news, an "unknown" from before the taking would
  /// make a run that is there one that was forgotten (found by the explorer: redis=1 agent=1).
  @Test func whatAFormerProcessOfTheSameJournalSaidIsNotHeardAgain() {
    var committed = CommittedSequence()
    let other = Nonce(77)
    #expect(committed.judge(incarnation: a, first: 1, count: 2, oldest: 1) == .apply(from: 0))
    #expect(committed.judge(incarnation: b, first: 1, count: 1, oldest: 1) == .apply(from: 0))
    var restarted = CommittedSequence(incarnations: committed.incarnations, sequence: committed.sequence)
    #expect(restarted == committed)
    #expect(restarted.judge(incarnation: a, first: 2, count: 1, oldest: 2) == .stale)
    #expect(restarted.judge(incarnation: b, first: 2, count: 1, oldest: 1) == .apply(from: 0))
    // Another journal's process may have been cut off and come back.
    #expect(restarted.judge(incarnation: other, first: 1, count: 1, oldest: 1, sameJournal: false) == .apply(from: 0))
    #expect(restarted.judge(incarnation: b, first: 3, count: 1, oldest: 3, sameJournal: false) == .apply(from: 0))
    #expect(restarted.former.isEmpty)
    for n in 0..<20 as Range<UInt64> { _ = restarted.judge(incarnation: Nonce(100 + n), first: 1, count: 1, oldest: 1) }
    #expect(restarted.former.count == CommittedSequence.formerKept && restarted.former.first == Nonce(118))
  }

  @Test func aRestoredReceiverDoesNotWaitForWhatIsGone() {
    var committed = CommittedSequence(incarnation: a, sequence: 3)
    #expect(committed.judge(incarnation: a, first: 10, count: 2, oldest: 10) == .apply(from: 0))
    #expect(committed.sequence == 11)
    // ... but for what is still kept it does.
    var other = CommittedSequence(incarnation: a, sequence: 3)
    #expect(other.judge(incarnation: a, first: 12, count: 2, oldest: 10) == .gap)
  }

  @Test func aNewIncarnationBeginsWithTheOldestThatItKeeps() {
    var committed = CommittedSequence(incarnation: a, sequence: 30)
    #expect(committed.judge(incarnation: b, first: 2, count: 1, oldest: 1) == .gap)
    #expect(committed.judge(incarnation: b, first: 1, count: 2, oldest: 1) == .apply(from: 0))
    #expect(committed == CommittedSequence(incarnation: b, sequence: 2, former: [a]))
  }

  @Test func whatIsAcknowledgedLeavesTheWindowAndTheRestIsSentAgainAfterGoingBack() {
    var window = SendWindow<Int>()
    for item in 1...5 { window.append(item) }
    #expect(Array(window.pending(limit: 3).items) == [1, 2, 3])
    window.sent(from: 1, count: 3)
    #expect(window.pending(limit: 10).first == 4)
    #expect(Array(window.acknowledge(2)) == [1, 2])
    window.goBack()
    #expect(window.pending(limit: 10).first == 3)
    #expect(Array(window.pending(limit: 10).items) == [3, 4, 5])
    #expect(window.oldest == 3)
    #expect(Array(window.acknowledge(99)) == [3, 4, 5])
    #expect(window.count == 0 && window.next == 6 && window.cursor == 6)
    #expect(window.acknowledge(99).isEmpty && window.next == 6)
  }

  /// It went back, sends the first ones again, and hears meanwhile that everything had arrived the first time.
  @Test func anAcknowledgementThatOvertakesABatchUnderWayMovesNothingBack() {
    var window = SendWindow<Int>()
    for item in 1...600 { window.append(item) }
    window.sent(from: 1, count: 600)
    window.goBack()
    let (first, items) = window.pending(limit: 200)
    #expect(first == 1 && items.count == 200)
    #expect(window.acknowledge(600).count == 600)
    window.sent(from: first, count: items.count)
    #expect(window.cursor == 601 && window.unsent == 0)
    // Overtaken in its middle; and with more said since.
    for item in 601...1000 { window.append(item) }
    let (second, more) = window.pending(limit: 200)
    _ = window.acknowledge(700)
    window.sent(from: second, count: more.count)
    #expect(window.cursor == 801 && window.unsent == 200)
  }

  @Test func whatFollowsOnAnItemThatHasToGoAgainGoesAgainWithIt() {
    var window = SendWindow<Int>()
    for item in 1...3 { window.append(item) }
    window.sent(from: 2, count: 1)
    #expect(window.cursor == 1)
    window.sent(from: 1, count: 1)
    window.sent(from: 2, count: 1)
    #expect(window.cursor == 3)
  }

  /// Rule `sequence`.
  @Test func everyLossAndRepetitionStillCommitsEveryItemOnceAndInOrder() {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<300 {
      var window = SendWindow<Int>()
      var committed = CommittedSequence()
      var received: [Int] = []
      var next = 1
      var steps = 0
      // Handed to the stream; that it was is not heard yet.
      var underWay: [(first: UInt64, count: Int)] = []
      while received.count < 40 && steps < 20_000 {
        steps += 1
        if let batch = underWay.first, Bool.random(using: &random) {
          window.sent(from: batch.first, count: batch.count)
          underWay.removeFirst()
        }
        switch Int.random(in: 0..<6, using: &random) {
        case 0:
          if next <= 40 {
            window.append(next)
            next += 1
          }
        case 1: window.goBack()
        case 2: _ = window.acknowledge(committed.sequence)
        default:
          let (first, items) = window.pending(limit: Int.random(in: 1...5, using: &random))
          guard !items.isEmpty else { continue }
          let batch = Array(items)
          underWay.append((first, batch.count))
          if Bool.random(using: &random) { continue }  // lost on the way
          for _ in 0...Int.random(in: 0...1, using: &random) {
            if case .apply(let from) = committed.judge(incarnation: a, first: first, count: batch.count, oldest: window.oldest) {
              received += batch[from...]
            }
          }
        }
      }
      #expect(received == Array(1...40))
    }
  }
}
