import Testing

@testable import Shared

/// The dashboard's decisions about a run that may be started again, each test a rule of `RunFlow+Attempts`.
@Suite struct RunAttemptsTests {
  private let twice = Retries(count: 2)

  private func now(lives: Bool = true, compared: Bool = true, silent: Bool = false) -> RunCircumstances {
    RunCircumstances(agentLives: lives, compared: compared, silent: silent, room: true)
  }
  private func running(_ attempt: Int = 1, _ retries: Retries? = nil, doubtful: Bool = false) -> RunKnowledge {
    RunKnowledge(
      state: .running, reported: true, attempt: attempt, retries: retries ?? twice, lastVerdict: attempt > 1 ? .failed : nil,
      doubtful: doubtful)
  }

  @Test func withoutBeingAskedForThereIsNoNextAttempt() {
    for verdict in RunState.allCases where verdict.isVerdict {
      var run = RunKnowledge(state: .running, reported: true, tomb: .cancelled)
      #expect(run.hear(.ended(verdict)) == .ended(verdict))
      #expect(run.attempt == 1)
    }
  }

  @Test(arguments: [(RunState.failed, true), (.timedOut, true), (.lost, false), (.succeeded, false), (.killed, false)])
  func onlyTheVerdictsThatWereNamedAreRetried(_ verdict: RunState, _ again: Bool) {
    var run = running()
    #expect(run.hear(.ended(verdict)) == (again ? .nextAttempt(after: verdict) : .ended(verdict)))
    #expect(run.attempt == (again ? 2 : 1) && run.state == (again ? .queued : verdict))
    #expect(run.lastVerdict == (again ? verdict : nil) && run.held == again)
  }

  @Test func lostIsRetriedWhereItWasNamed() {
    var run = running(1, Retries(count: 1, on: [.lost]))
    #expect(run.hear(.ended(.lost)) == .nextAttempt(after: .lost))
    #expect(run.hear(.ended(.failed)) == .ended(.failed))
  }

  @Test func theLastAttemptsVerdictIsTheRuns() {
    var run = running(3)
    #expect(run.hear(.ended(.failed)) == .ended(.failed))
    #expect(run.attempt == 3)
  }

  @Test func theNextAttemptIsMarkedAfterItsDelayAndThenLikeAnyOther() {
    var run = running()
    _ = run.hear(.ended(.failed))
    #expect(run.due(now()) == nil)
    run.delayIsOver()
    #expect(run.due(now(compared: false)) == .compare)
    #expect(run.due(now()) == .mark)
    #expect(run.due(now(lives: false)) == nil)
  }

  @Test func whoWantsTheEndGetsItWithTheVerdictOfTheAttemptThatRan() {
    var run = running(2)
    run.wantsEnd = .cancelled
    #expect(run.hear(.ended(.failed)) == .ended(.failed))
    #expect(run.attempt == 2)
  }

  @Test func betweenAttemptsTheEndNeedsNoAgent() {
    var run = running()
    _ = run.hear(.ended(.timedOut))
    run.wantsEnd = .cancelled
    #expect(run.due(now(lives: false)) == .tombstone(.cancelled))
    run.tomb = .cancelled
    #expect(run.due(now(lives: false)) == .endAlone(.timedOut))
    run.endAlone(.timedOut)
    #expect(run.attempt == 1 && run.state == .timedOut && !run.held)
  }

  @Test(arguments: [AgentWord.ended(.cancelled), .ended(.rejected), .tombstone(.cancelled)])
  func aLaterAttemptThatNeverStartedLeavesTheLastStartedOnesVerdict(_ word: AgentWord) {
    var run = RunKnowledge(state: .sent, attempt: 2, retries: twice, lastVerdict: .failed)
    #expect(run.hear(word) == .tombstoneFirst)
    run.tomb = .cancelled
    #expect(run.hear(word) == .ended(.failed))
    #expect(run.attempt == 1 && run.state == .failed)
  }

  @Test func aWordAboutAnEarlierAttemptIsRefused() {
    var run = running(2)
    let before = run
    for word in [AgentWord.taken, .running, .ended(.succeeded), .unknown, .tombstone(.cancelled)] {
      #expect(run.hear(word, of: 1) == .refused)
    }
    #expect(run == before)
  }

  @Test func aWordAboutALaterAttemptMovesARestoredStoreForward() {
    var run = running()
    #expect(run.hear(.running, of: 3) == .moved)
    #expect(run.attempt == 3 && run.state == .running && run.lastVerdict == nil)
    #expect(run.hear(.ended(.failed)) == .ended(.failed), "the third is the last")
    var other = running()
    #expect(other.hear(.ended(.failed), of: 2) == .nextAttempt(after: .failed))
    #expect(other.attempt == 3 && other.lastVerdict == .failed)
  }

  @Test func thereIsNoAttemptBeyondThoseAskedFor() {
    var run = running()
    let before = run
    #expect(run.hear(.running, of: 4) == .refused)
    #expect(run == before)
  }

  @Test func aDenialOfALaterAttemptSaysNothing() {
    var run = running()
    let before = run
    #expect(run.hear(.unknown, of: 2) == .noted)
    #expect(run == before)
  }

  @Test func afterARestoreALaterAttemptIsAQuestionBeforeItIsSent() {
    var run = running(1, doubtful: true)
    #expect(run.hear(.ended(.failed)) == .nextAttempt(after: .failed))
    #expect(run.state == .sent && run.held)
    #expect(run.due(now(silent: true)) == .reconcile)
    #expect(run.hear(.unknown) == .noted)
    #expect(run.due(now(silent: true)) == nil, "denied, but its delay is not over")
    run.delayIsOver()
    #expect(run.due(now()) == .send)
  }

  @Test func afterARestoreARunIsNotFinalBeforeItsLaterAttemptIsKnownNotToBe() {
    var run = running(1, doubtful: true)
    run.wantsEnd = .cancelled
    #expect(run.hear(.ended(.failed)) == .nextAttempt(after: .failed))
    #expect(run.due(now()) == .askToCancel(.cancelled))
    run.tomb = .cancelled
    #expect(run.hear(.tombstone(.cancelled)) == .ended(.failed))
    #expect(run.attempt == 1)
  }

  @Test func aForgottenEarlierVerdictIsAskedForAgain() {
    var run = running()
    _ = run.hear(.taken, of: 2)
    run.wantsEnd = .cancelled
    run.tomb = .cancelled
    #expect(run.hear(.ended(.cancelled)) == .moved)
    #expect(run.attempt == 1 && run.due(now()) == .askToCancel(.cancelled))
    run.doubtful = false
    #expect(run.hear(.ended(.failed)) == .ended(.failed))
  }

  @Test func aLaterAttemptThatWasEndedUnseenEndsTheRunWithTheOneBeforeIt() {
    var run = running()
    #expect(run.hear(.tombstone(.cancelled), of: 3) == .moved)
    #expect(run.attempt == 2 && run.wantsEnd == .cancelled && run.state == .sent)
    #expect(run.due(now()) == .askToCancel(.cancelled))
  }

  @Test func anotherJournalsTombstoneIsLostAndRetriedThereWhereThatWasAskedFor() {
    var run = running(1, Retries(count: 2, on: [.lost]))
    let changed = run.journalChanged()
    #expect(changed)
    #expect(run.hear(.tombstone(.cancelled)) == .nextAttempt(after: .lost))
    #expect(run.state == .queued && !run.closing)
    let again = run.journalChanged()
    #expect(!again, "what was not sent is no matter of any journal")
  }

  @Test func afterARestoreAndAnotherJournalALaterAttemptIsAMatterOfTheOldOneToo() {
    var run = running(1, Retries(count: 2, on: [.lost]), doubtful: true)
    _ = run.journalChanged()
    #expect(run.hear(.tombstone(.cancelled)) == .nextAttempt(after: .lost))
    #expect(run.closing && run.due(now()) == .askToClose)
    #expect(run.hear(.tombstone(.cancelled)) == .nextAttempt(after: .lost))
    #expect(run.hear(.tombstone(.cancelled)) == .ended(.lost))
  }

  @Test func delaysDoubleUpToTheirCapAndAreNeverShorterThanAskedFor() {
    let retries = Retries(count: 100, delay: .seconds(2))
    #expect((2...6).map { retries.wait(before: $0, random: 0) } == [2, 4, 8, 16, 32].map { .seconds($0) })
    #expect(retries.wait(before: 2, random: 1) == .seconds(2.5))
    #expect(retries.wait(before: 101, random: 0) == Retries.longestDelay)
    #expect(retries.longestWait(before: 101) == Retries.longestDelay * 1.25)
    #expect(Retries(count: 1, delay: .zero).wait(before: 2, random: 1) == .zero)
  }

  @Test func theStoredFormOfRetryOnComesBack() {
    for on in [Set<RunState>(), [.failed], [.failed, .lost], Set(Retries.allowed)] {
      #expect(Retries.verdicts(Retries(count: 1, on: on).text) == on)
    }
    #expect(Retries.verdicts("failed,killed,nonsense") == [.failed])
  }
}
