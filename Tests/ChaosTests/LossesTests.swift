// What is lost is explained by a killed runner, and each of those explains one loss.
import Glibc
import Shared
import Testing

@testable import Chaos

@Suite struct LossesTests {
  private func found(redisForgets: Bool = false, _ make: (inout Evidence) -> Void) -> [String] {
    var evidence = Evidence.madeUp(redisForgets: redisForgets)
    make(&evidence)
    return evidence.violations
  }

  @Test func aKilledRunnerExplainsOneLossWithoutALineAndNoSecondOne() {
    func lost(_ kills: KeyValuePairs<Int32, Int>) -> [String] {
      found {
        $0.add("host-0-01", .short, .lost)
        $0.add("host-0-02", .short, .lost)
        $0.kill(kills)
      }
    }
    #expect(lost([70: 1500, 71: 1600]) == [])
    #expect(lost([70: 1500]).count == 1 && lost([70: 1500])[0].contains("explains another loss"))
    #expect(lost([:]).count == 2 && lost([:])[0].contains("nobody killed its runner"))
  }

  @Test func aRunnerThatOtherLinesNameExplainsALossWithoutOne() {
    // It served that one before.
    #expect(
      found {
        $0.add("host-0-01", .short, .succeeded, exitCode: 0, runners: [70], ends: 1)
        $0.add("host-0-02", .short, .lost)
        $0.kill([70: 1500])
      } == [])
  }

  @Test func aLossThatNamesItsRunnerHasThatOneForItself() {
    func lost(_ kills: KeyValuePairs<Int32, Int>) -> Int {
      found {
        $0.add("host-0-01", .short, .lost, runners: [70])
        $0.add("host-0-02", .short, .lost)
        $0.kill(kills)
      }.count
    }
    #expect(lost([70: 1500]) == 1)
    #expect(lost([70: 1500, 71: 1500]) == 0)
    #expect(lost([71: 1500, 72: 1500]) == 1)
  }

  @Test func eachLossHasAKillOfItsOwnTime() {
    func lost(_ kills: KeyValuePairs<Int32, Int>) -> Int {
      found {
        $0.add("host-0-01", .short, .lost, at: 1000, verdictAt: 4000)
        $0.add("host-0-02", .short, .lost, at: 1000, verdictAt: 2000)
        $0.add("host-0-03", .short, .lost, at: 3000, verdictAt: 4000)
        $0.kill(kills)
      }.count
    }
    // Whichever of them is looked at first: the long one takes what the two others do not need.
    #expect(lost([70: 1500, 71: 1600, 72: 3500]) == 0)
    #expect(lost([70: 1500, 71: 3400, 72: 3500]) == 0)
    #expect(lost([70: 1500, 71: 1600, 72: 1700]) == 1)
  }

  @Test func aShellThatAskedTooLateNamesNobody() {
    func lost(_ runner: Int32, _ kills: KeyValuePairs<Int32, Int>) -> Int {
      found {
        $0.add("host-0-01", .short, .lost, runners: [runner])
        $0.inheritors.formUnion(ProcessTable.ancestors)
        $0.kill(kills)
      }.count
    }
    for inheritor in [1, getppid()] {
      #expect(lost(inheritor, [70: 1500]) == 0)
      #expect(lost(inheritor, [:]) == 1)
    }
  }

  @Test func anEarlierAttemptIsLostForAReasonAsWell() {
    func lost(_ attempts: [RunState], runners: [Int32], kills: KeyValuePairs<Int32, Int>) -> [String] {
      found {
        let rows = attempts.enumerated().map {
          AttemptRow(attempt: $0.offset + 1, state: $0.element, exitCode: $0.element == .failed ? 1 : 0)
        }
        $0.add("host-0-01", .retrying, .succeeded, exitCode: 0, attempts: rows, runners: runners, ends: attempts.count)
        $0.kill(kills)
      }
    }
    #expect(lost([.lost, .succeeded], runners: [70, 71], kills: [70: 1500]) == [])
    #expect(lost([.lost, .succeeded], runners: [70, 71], kills: [71: 1500]).count == 1)
    #expect(lost([.lost, .succeeded], runners: [70, 71], kills: [71: 1500]).allSatisfy { $0.contains("lost its attempt 1") })
    // Of three attempts two left a line: which one did not, nobody knows.
    #expect(lost([.failed, .lost, .succeeded], runners: [70, 71], kills: [72: 1500]) == [])
    #expect(lost([.failed, .lost, .succeeded], runners: [70, 71], kills: [:]).count == 1)
  }

  @Test func ofARunThatOnlyItsAgentKnowsTheLineTellsWhenItWasPosted() {
    func lost(killedAt: Int) -> Int {
      found {
        $0.add("host-0-01", .short, .lost, runners: [70], isUnknown: true)
        $0.ledger.numbers = [:]
        $0.deeds.restores = [Deeds.Restore(copiedAt: 900, restoredAt: 1200)]
        $0.kill([70: killedAt])
      }.count
    }
    #expect(lost(killedAt: 1500) == 0)
    #expect(lost(killedAt: 999) == 1)
  }

  @Test func aPlainTaskThatWasNeverStartedIsExplainedByAKillOfItsOwn() {
    let restore = Deeds.Restore(copiedAt: 900, restoredAt: 3000)
    func never(_ numbers: [Int], restored: Bool = true, kills: KeyValuePairs<Int32, Int>) -> Int {
      found {
        for number in numbers { $0.ledger.plain[number] = PlainRecord(at: 1000, answered: true) }
        if restored { $0.deeds.restores = [restore] }
        $0.kill(kills)
      }.count
    }
    #expect(never([4], kills: [70: 1500]) == 0)
    #expect(never([4, 6], kills: [70: 1500]) == 1)
    #expect(never([4, 6], kills: [70: 1500, 71: 1600]) == 0)
    // Another agent's, killed before it was put there, or with a history that nobody took away.
    #expect(never([5], kills: [70: 1500]) == 1)
    #expect(never([4], kills: [70: 999]) == 1)
    #expect(never([4], restored: false, kills: [70: 1500]) == 1)
    // The history has it.
    func lost(kills: KeyValuePairs<Int32, Int>) -> PromiseCheck {
      var evidence = Evidence.madeUp()
      evidence.ledger.plain[4] = PlainRecord(at: 1000, answered: true)
      evidence.rows["host-0-09"] = RunRow(run: "host-0-09", agent: "host-0", taskname: Load.plainName(4), state: .lost)
      evidence.kill(kills)
      return PromiseCheck(evidence)
    }
    #expect(lost(kills: [70: 1500]).violations.isEmpty && lost(kills: [70: 1500]).plainNever == 0)
    #expect(lost(kills: [70: 999]).violations.count == 2 && lost(kills: [70: 999]).plainNever == 1)
  }

  @Test func asManyAsPossibleAreAssigned() {
    func assigned(_ candidates: [[Int]]) -> Int { Assignment(candidates).assigned.count }
    #expect(assigned([]) == 0)
    #expect(assigned([[], [1]]) == 1)
    #expect(assigned([[1, 2], [1], [2, 3]]) == 3)
    #expect(assigned([[1, 2], [1, 2], [1, 2]]) == 2)
    #expect(assigned([[1, 2, 3, 4], [1], [1, 2], [1, 2, 3]]) == 4)
  }
}
