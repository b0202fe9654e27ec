import Testing

@testable import Shared

/// The agent's decisions, each test named for the rule of DESIGN section 3 that it holds.
@Suite struct AttemptFlowTests {
  private let own = Nonce(1), other = Nonce(2)
  private let id = ULID("01ARZ3NDEKTSV4RRFFQ69G5FAV")!
  private let older = ULID("01ARZ3NDEKTSV4RRFFQ69G5FAA")!

  private func take(_ record: AttemptRecord, meantFor: JournalID? = Nonce(1), forgotten: ULID? = nil) -> Taking {
    AttemptFlow.take(AttemptKnowledge(record: record), task: id, meantFor: meantFor, journal: own, forgotten: forgotten)
  }

  @Test func anIdIsTakenOnceAndForGood() {
    #expect(take(.none) == .take)
    #expect(take(.taken) == .confirmAway)
    #expect(take(.ended) == .confirmAway)
    #expect(take(.tombstone(.cancelled)) == .confirmAway)
  }

  @Test func anEnvelopeForAnotherJournalIsLeftAloneAndAPlainTaskIsForAnyJournal() {
    #expect(take(.none, meantFor: other) == .leaveAlone)
    #expect(take(.none, meantFor: nil) == .take)
  }

  @Test func anUnknownIdNotNewerThanWhatWasForgottenIsLost() {
    #expect(take(.none, forgotten: id) == .lost)
    #expect(take(.none, forgotten: older) == .take)
    #expect(take(.ended, forgotten: id) == .confirmAway)
  }

  @Test func nothingStartsBeforeItsConfirmOrTwiceOrOnAnotherBoot() {
    #expect(AttemptFlow.mayStart(AttemptKnowledge(record: .taken, confirmed: true)))
    #expect(!AttemptFlow.mayStart(AttemptKnowledge(record: .taken)))
    #expect(!AttemptFlow.mayStart(AttemptKnowledge(record: .taken, confirmed: true, handedOff: true)))
    #expect(!AttemptFlow.mayStart(AttemptKnowledge(record: .taken, takenThisBoot: false, confirmed: true)))
    #expect(!AttemptFlow.mayStart(AttemptKnowledge(record: .tombstone(.cancelled), confirmed: true)))
  }

  /// Rules `tombSure`, `sure`.
  @Test func nothingIsReportedBeforeItsConfirm() {
    #expect(!AttemptFlow.mayReport(AttemptKnowledge(record: .tombstone(.cancelled))))
    #expect(AttemptFlow.mayReport(AttemptKnowledge(record: .tombstone(.cancelled), confirmed: true)))
    #expect(AttemptFlow.mayReport(AttemptKnowledge(record: .taken, handedOff: true)))
    #expect(!AttemptFlow.mayReport(AttemptKnowledge(record: .none, confirmed: true)))
  }

  /// Rule `gone`.
  @Test func whatBecameOfAHandOffIsToldByRunnerThenExitRecordThenOutputFile() {
    let taken = AttemptKnowledge(record: .taken, handedOff: true)
    func judge(_ lives: Bool, _ exit: Bool, _ file: Bool) -> Judgement {
      AttemptFlow.judge(taken, AttemptTraces(runnerLives: lives, exitRecord: exit, outputFile: file))
    }
    #expect(judge(true, true, true) == .adopt)
    #expect(judge(false, true, true) == .ended)
    #expect(judge(false, false, true) == .lost)
    #expect(judge(false, false, false) == .handOverAgain)
  }

  /// Rule `taking`.
  @Test func onAnotherBootAnAttemptWithoutAnOutputFileIsLostAndNotStartedAgain() {
    let taken = AttemptKnowledge(record: .taken, takenThisBoot: false, handedOff: true)
    #expect(AttemptFlow.judge(taken, AttemptTraces(runnerLives: false, exitRecord: false, outputFile: false)) == .lost)
    #expect(AttemptFlow.judge(taken, AttemptTraces(runnerLives: false, exitRecord: true, outputFile: true)) == .ended)
  }

  /// Rule `word`.
  @Test func cancellingIsAnsweredByTheJournalAlone() {
    func reply(_ kind: ControlMessage.Kind, _ record: AttemptRecord, withRunner: Bool = false, boot: Bool = true) -> ControlReply
    {
      AttemptFlow.control(
        kind, cause: .cancelled, AttemptKnowledge(record: record, takenThisBoot: boot), task: id, withRunner: withRunner,
        forgotten: older)
    }
    #expect(reply(.cancel, .none) == .tombstone(.cancelled))
    #expect(reply(.cancel, .taken) == .endUnstarted(.cancelled))
    #expect(reply(.cancel, .taken, boot: false) == .nothing)
    #expect(reply(.cancel, .taken, withRunner: true) == .kill)
    #expect(reply(.cancel, .ended) == .report)
    #expect(reply(.close, .none) == .tombstone(.cancelled))
    #expect(reply(.close, .taken, withRunner: true) == .report)
    #expect(reply(.reconcile, .none) == .sayUnknown)
    #expect(reply(.reconcile, .ended) == .report)
  }

  /// Rule `horizon`.
  @Test func aQuestionAboutAForgottenIdIsAnsweredLost() {
    for kind in [ControlMessage.Kind.cancel, .close, .reconcile] {
      #expect(
        AttemptFlow.control(kind, cause: nil, AttemptKnowledge(), task: older, withRunner: false, forgotten: id) == .lost)
    }
  }

  @Test func aJournalThatLacksTheRecordThatRedisHoldsIsFoundOut() {
    let nonces: [UInt64: Nonce] = [1: Nonce(11), 2: Nonce(12)]
    func lacks(_ position: JournalPosition?) -> Bool { AttemptFlow.lacks(position, journal: own) { nonces[$0] } }
    #expect(!lacks(nil))
    #expect(!lacks(JournalPosition(journal: own, count: 2, nonce: Nonce(12))))
    #expect(lacks(JournalPosition(journal: own, count: 3, nonce: Nonce(13))))
    #expect(lacks(JournalPosition(journal: own, count: 2, nonce: Nonce(99))), "it was rolled back and has written on")
    #expect(!lacks(JournalPosition(journal: other, count: 9, nonce: Nonce(9))))
  }

  @Test func whatIsWithARunnerIsKilledForAUserButDoesNotExpire() {
    let taken = AttemptKnowledge(record: .taken, confirmed: true, handedOff: true)
    func control(_ cause: EndCause?, withRunner: Bool) -> ControlReply {
      AttemptFlow.control(.cancel, cause: cause, taken, task: id, withRunner: withRunner, forgotten: nil)
    }
    #expect(control(.cancelled, withRunner: true) == .kill)
    #expect(control(nil, withRunner: true) == .kill)
    #expect(control(.expired, withRunner: true) == .report)
    #expect(control(.expired, withRunner: false) == .endUnstarted(.expired))
  }
}

@Suite struct LeaseContactTests {
  @Test func whoCanLookAtItsLeaseLooksBeforeItStartsAnythingAndWhoIsMerelyCutOffGoesOn() {
    let lease = Duration.seconds(15)
    let table: [(LeaseContact, Bool)] = [
      (.cutOff, true), (.reconnected, false), (.connected(sinceRenewal: .zero), true),
      (.connected(sinceRenewal: .milliseconds(14_999)), true), (.connected(sinceRenewal: lease), false),
      (.connected(sinceRenewal: .seconds(3600)), false),
    ]
    for (contact, expected) in table {
      #expect(AttemptFlow.mayStart(hasLease: true, contact, lease: lease) == expected, "\(contact)")
      #expect(!AttemptFlow.mayStart(hasLease: false, contact, lease: lease))
    }
  }
}
