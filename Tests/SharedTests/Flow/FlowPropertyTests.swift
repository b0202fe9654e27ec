// Properties under random events, by seed, for what the explorer does not reach: expiry, batches of many ids, words in any order.
import Testing

@testable import Shared

@Suite struct FlowPropertyTests {
  private struct Dice {
    private var state: UInt64
    init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }
    mutating func roll(_ sides: Int) -> Int {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Int(state % UInt64(sides))
    }
  }

  private let words: [AgentWord] = [
    .taken, .running, .unknown, .tombstone(.cancelled), .tombstone(.expired), .ended(.succeeded), .ended(.failed),
    .ended(.killed),
    .ended(.cancelled), .ended(.expired), .ended(.rejected), .ended(.lost),
  ]

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func whateverIsSaidAVerdictIsFinalAndNothingIsCalledNeverStartedWithoutATombstone(seed: UInt64) {
    var dice = Dice(seed: seed)
    var verdicts: Set<RunState> = []
    for _ in 0..<300 {
      var run = RunKnowledge(state: .queued)
      for _ in 0..<30 {
        let before = run
        switch dice.roll(8) {
        case 0: if run.wantsEnd == nil { run.wantsEnd = dice.roll(2) == 0 ? .cancelled : .expired }
        case 1: _ = run.journalChanged()
        case 2: run.storeWasRestored()
        case 3:
          let now = RunCircumstances(
            agentLives: dice.roll(2) == 0, compared: dice.roll(2) == 0, silent: dice.roll(2) == 0, room: dice.roll(2) == 0)
          carryOut(run.due(now), on: &run, now)
        default:
          let word = words[dice.roll(words.count)]
          let hearing = run.hear(word)
          if hearing == .tombstoneFirst {
            #expect(run == before, "a word that waits for its tombstone changed something")
            if dice.roll(2) == 0 { run.tomb = .cancelled }
          }
          if case .ended(let state) = hearing { #expect(state == run.state && before.isOpen) }
        }
        guard before.isOpen else {
          #expect(run.state == before.state, "a verdict changed")
          continue
        }
        if run.state != before.state { #expect(before.state.accepts(run.state), "\(before.state) to \(run.state)") }
        if run.state.saysNeverStarted { #expect(run.tomb != nil) }
        if !run.isOpen { verdicts.insert(run.state) }
      }
    }
    #expect(verdicts.count >= 6, "the dice reached too little")
  }

  private func carryOut(_ duty: RunDuty?, on run: inout RunKnowledge, _ now: RunCircumstances) {
    switch duty {
    case .mark:
      #expect(now.compared && now.agentLives && now.room && run.wantsEnd == nil)
      run.state = .sent
      run.markedHere = true
    case .send:
      #expect(now.compared && run.maybeSent && !run.closing)
      run.wasSent()
    case .tombstone: run.tomb = .cancelled
    case .endAlone(let verdict):
      #expect(now.compared && !run.maybeSent && verdict.saysNeverStarted)
      run.state = verdict
    case .compare: #expect(!now.compared)
    case .askToCancel, .askToClose, .reconcile: #expect(now.agentLives)
    case nil: break
    }
  }

  /// Rule `first`.
  /// A journal that takes batches in any order, again and again, takes each id once; a tombstone that came first keeps it out for good.
  @Test(arguments: 1...10 as ClosedRange<UInt64>)
  func inBatchesWithRepetitionsTheFirstRecordOfEachIdDecides(seed: UInt64) {
    var dice = Dice(seed: seed)
    let journal = Nonce(1)
    let ids = (0..<40).map { ULID(high: 1, low: UInt64($0)) }
    let forgotten = ids[4]
    var records: [ULID: AttemptRecord] = [:]
    var first: [ULID: AttemptRecord] = [:]
    for _ in 0..<60 {
      let batch = (0..<dice.roll(12)).map { _ in ids[dice.roll(ids.count)] }
      for id in batch {
        let known = AttemptKnowledge(record: records[id] ?? .none)
        if dice.roll(3) == 0 {
          let reply = AttemptFlow.control(.cancel, cause: .expired, known, task: id, withRunner: false, forgotten: forgotten)
          switch reply {
          case .tombstone(let cause): records[id] = .tombstone(cause)
          case .lost: records[id] = .ended
          default: #expect(known.record != .none)
          }
        } else {
          let meant = dice.roll(4) == 0 ? Nonce(2) : journal
          switch AttemptFlow.take(known, task: id, meantFor: meant, journal: journal, forgotten: forgotten) {
          case .take:
            #expect(id > forgotten && meant == journal)
            records[id] = .taken
          case .lost:
            #expect(id <= forgotten)
            records[id] = .ended
          case .confirmAway: #expect(known.record != .none)
          case .leaveAlone: #expect(meant != journal)
          }
        }
        if let record = records[id] {
          if let was = first[id] { #expect(record == was, "a second record counted") } else { first[id] = record }
        }
      }
    }
    #expect(Set(first.values.map { "\($0)" }).count == 3, "the dice reached too little")
  }
}
