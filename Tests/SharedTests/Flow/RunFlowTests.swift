import Testing

@testable import Shared

/// The dashboard's decisions, each test named for the rule of DESIGN section 3 that it holds.
@Suite struct RunFlowTests {
  private func now(lives: Bool = true, compared: Bool = true, silent: Bool = false, room: Bool = true) -> RunCircumstances {
    RunCircumstances(agentLives: lives, compared: compared, silent: silent, room: room)
  }

  /// Rules `before`, `alive`.
  @Test func aQueuedRunIsMarkedOnlyAfterTheComparisonAndOnlyForALivingAgentWithRoom() {
    let run = RunKnowledge(state: .queued)
    #expect(run.due(now()) == .mark)
    #expect(run.due(now(compared: false)) == .compare)
    #expect(run.due(now(lives: false)) == nil)
    #expect(run.due(now(room: false)) == nil)
  }

  @Test func aMarkedRunIsSentOnceAndThenOnlyAskedAbout() {
    var run = RunKnowledge(state: .sent, markedHere: true)
    #expect(run.due(now()) == .send)
    run.wasSent()
    #expect(run.due(now()) == nil)
    #expect(run.due(now(silent: true)) == .reconcile)
  }

  /// Rule `mark`.
  @Test func aRunMarkedByADeadProcessIsAQuestionBeforeItIsSentAgain() {
    #expect(RunKnowledge(state: .sent).due(now(silent: true)) == .reconcile)
  }

  /// Rule `reported`.
  @Test func aDeniedRunIsSentAgainUnlessItWasEverReported() {
    var fresh = RunKnowledge(state: .sent)
    #expect(fresh.hear(.unknown) == .noted)
    #expect(fresh.due(now()) == .send)

    var reported = RunKnowledge(state: .running, reported: true)
    #expect(reported.hear(.unknown) == .moved)
    #expect(reported.closing)
    #expect(reported.due(now()) == .askToClose)
  }

  @Test func aDenialFromAFormerJournalChangesNothing() {
    var run = RunKnowledge(state: .sent)
    #expect(run.hear(.unknown, current: false) == .noted)
    #expect(!run.denied)
  }

  /// Rule `tombFirst`.
  @Test func aRunNeverSentEndsAloneButOnlyAfterComparisonAndTombstone() {
    var run = RunKnowledge(state: .queued, wantsEnd: .cancelled)
    #expect(run.due(now(compared: false)) == .compare)
    #expect(run.due(now(lives: false)) == .tombstone(.cancelled))
    run.tomb = .cancelled
    #expect(run.due(now(lives: false)) == .endAlone(.cancelled))
    // What stands there was final before the database was put back.
    run.wantsEnd = .expired
    #expect(run.due(now(lives: false)) == .endAlone(.cancelled))
    run.tomb = .expired
    #expect(run.due(now(lives: false)) == .endAlone(.expired))
  }

  /// Rules `word`, `noDenial`.
  @Test func aRunThatMayHaveBeenSentIsEndedByTheAgentsWordAlone() {
    var run = RunKnowledge(state: .sent, wantsEnd: .cancelled)
    #expect(run.due(now()) == .askToCancel(.cancelled))
    #expect(run.due(now(lives: false)) == nil)
    // A denial does not allow an end in the store alone.
    #expect(run.hear(.unknown) == .noted)
    #expect(run.due(now()) == .askToCancel(.cancelled))
  }

  @Test(arguments: [RunState.cancelled, .expired, .rejected])
  func aWordThatNothingStartedWaitsForItsTombstone(_ verdict: RunState) {
    var run = RunKnowledge(state: .sent)
    #expect(run.hear(.ended(verdict)) == .tombstoneFirst)
    #expect(run.state == .sent)
    run.tomb = .cancelled
    #expect(run.hear(.ended(verdict)) == .ended(verdict))
  }

  /// Rule `tomb`: also a journal that was asked by a restored copy says no other verdict than the one that was told before.
  @Test(arguments: [EndCause.cancelled, .expired])
  func theJournalsTombstoneBecomesTheVerdictThatStandsInRedis(_ cause: EndCause) {
    for said in [EndCause.cancelled, .expired] {
      var run = RunKnowledge(state: .sent, wantsEnd: said, tomb: cause)
      #expect(run.hear(.tombstone(said)) == .ended(cause == .expired ? .expired : .cancelled))
    }
  }

  @Test func afterAChangeOfIdentityTheNewJournalTombstonesAndOnlyThenItIsLost() {
    var run = RunKnowledge(state: .running, reported: true)
    let becameAMatterOfTheNewJournal = run.journalChanged()
    #expect(becameAMatterOfTheNewJournal)
    #expect(run.state == .running)
    #expect(run.due(now()) == .askToClose)
    #expect(run.hear(.tombstone(.cancelled)) == .ended(.lost))
  }

  @Test func aChangeOfIdentityDoesNotTouchWhatWasNeverSent() {
    var run = RunKnowledge(state: .queued)
    let changed = run.journalChanged()
    #expect(!changed)
    #expect(run.due(now()) == .mark)
  }

  /// Rule `anyOpen`.
  @Test func aVerdictAcceptsNoLaterWord() {
    for verdict in RunState.allCases where verdict.isVerdict {
      var run = RunKnowledge(state: verdict)
      #expect(run.hear(.running) == .refused)
      #expect(run.hear(.ended(.succeeded)) == .refused)
      #expect(run.state == verdict)
      #expect(run.due(now(silent: true)) == nil)
    }
  }

  /// Rule `anyOpen`.
  @Test func aVerdictMayOvertakeEveryOpenState() {
    for open in RunState.open {
      var run = RunKnowledge(state: open)
      #expect(run.hear(.ended(.succeeded)) == .ended(.succeeded))
    }
  }

  /// Rule `heed`.
  @Test func aSendRefusedByATombstoneIsCancelled() {
    var run = RunKnowledge(state: .sent, markedHere: true)
    run.sendRefused()
    #expect(run.due(now()) == .askToCancel(.cancelled))
  }

  @Test func inARestoredStoreAQueuedRunCountsAsSent() {
    var run = RunKnowledge(state: .queued, wantsEnd: .cancelled)
    run.storeWasRestored()
    #expect(run.due(now()) == .askToCancel(.cancelled))
  }

  @Test func theTransitionTableLetsNothingLeaveAVerdict() {
    for from in RunState.allCases {
      for to in RunState.allCases where from.isVerdict { #expect(!from.accepts(to)) }
      if !from.isVerdict { for to in RunState.allCases where to.isVerdict { #expect(from.accepts(to)) } }
    }
  }

  /// Rule `silence`.
  @Test func silenceMakesARunUnknownOnlyWhereItMayBeOutAndNeverAVerdict() {
    for state in RunState.allCases {
      var run = RunKnowledge(state: state)
      let lapsed = run.agentLapsed()
      #expect(lapsed == (state == .sent || state == .running), "\(state)")
      #expect(run.state == (lapsed ? .unknown : state))
    }
    var run = RunKnowledge(state: .unknown, reported: true)
    #expect(run.hear(.running) == .moved)
    #expect(run.state == .running)
    run = RunKnowledge(state: .unknown)
    #expect(run.hear(.taken) == .moved)
    #expect(run.state == .sent)
  }

  @Test func whatWasStartedInTimeDoesNotExpireButAUsersWishStays() {
    var run = RunKnowledge(state: .sent, wantsEnd: .expired)
    #expect(run.hear(.running) == .moved)
    #expect(run.wantsEnd == nil)
    run = RunKnowledge(state: .sent, wantsEnd: .cancelled)
    #expect(run.hear(.running) == .moved)
    #expect(run.wantsEnd == .cancelled)
  }
}
