// Evidence that was made up: a good one, and one for every promise that could be broken. A check that finds nothing would prove nothing.
import Shared
import Testing

@testable import Chaos

@Suite struct PromiseCheckTests {
  private static let seed: UInt64 = 5
  private static let agents = 2
  private static let number: Int =
    (0..<1000).first {
      let task = PostedTask(seed: seed, number: $0, agents: agents)
      return task.kind == .short && task.agent == 0
    } ?? 0
  private static let run = "host-0-01"

  /// One task that went well: accepted, started once by runner 100, ended once.
  private static var good: Evidence {
    var evidence = Evidence(seed: seed, agents: agents, redisForgets: false, databaseGoesBack: false)
    evidence.ledger.posts[number] = PostRecord(number: number, at: 1000, answeredAt: 1010, outcome: .accepted([run]))
    evidence.ledger.seen[run] = Sighting(verdict: "succeeded", verdictAt: 2000)
    evidence.rows[run] = row(.succeeded, exitCode: 0)
    evidence.starts[run] = [StartLine("\(run) 100 \(number)")].compactMap { $0 }
    evidence.ends[run] = 1
    return evidence
  }

  private static func row(_ state: RunState, exitCode: Int? = nil, signal: String? = nil) -> RunRow {
    RunRow(run: run, agent: "host-0", taskname: "echo; : chaos \(number); true", state: state, exitCode: exitCode, signal: signal)
  }

  private func found(_ change: (inout Evidence) -> Void) -> [String] {
    var evidence = Self.good
    change(&evidence)
    return PromiseCheck(evidence).violations.map(\.text)
  }

  @Test func nothingIsFoundWhereNothingIsWrong() {
    #expect(found { _ in } == [])
    // An unanswered post may have been taken or not.
    #expect(
      found {
        $0.ledger.posts[Self.number] = PostRecord(number: Self.number, at: 1, answeredAt: 2, outcome: .unanswered("cut"))
      } == [])
  }

  @Test func whatIsBrokenIsFound() {
    let run = Self.run
    #expect(found { $0.rows = [:] }.contains { $0.contains("does not know it") })
    #expect(found { $0.rows[run] = Self.row(.running) }.contains { $0.contains("still running") })
    #expect(
      found { $0.starts[run] = ($0.starts[run] ?? []) + ($0.starts[run] ?? []) }.contains { $0.contains("started 2 times") })
    #expect(found { $0.starts = [:] }.contains { $0.contains("never started") })
    #expect(found { $0.ends = [:] }.contains { $0.contains("did not come to its end") })
    #expect(found { $0.outputFaults[run] = "its output is short" }.contains { $0.contains("its output is short") })
    #expect(found { $0.rows[run] = Self.row(.cancelled) }.contains { $0.contains("and was started") })
    #expect(found { $0.rows[run] = Self.row(.failed, exitCode: 3) }.contains { $0.contains("cannot be") })
    #expect(found { $0.rows[run] = Self.row(.killed, signal: "TERM") }.contains { $0.contains("cannot be") })
    #expect(found { $0.rows[run] = Self.row(.lost) }.contains { $0.contains("nobody killed its runner") })
    #expect(found { $0.ledger.killRefused[run] = "404 unknown_run" }.contains { $0.contains("kill it was refused") })
    #expect(found { $0.ledger.killRefused[run] = "409 already_ended" } == [])
    #expect(found { $0.ends[run] = 2 }.contains { $0.contains("ended more often") })
    #expect(
      found {
        $0.ledger.posts[Self.number] = PostRecord(number: Self.number, at: 1, answeredAt: 2, outcome: .refused(503))
      }.contains { $0.contains("refused (503)") })
    #expect(
      found {
        $0.ledger.posts = [:]; $0.rows = [:]; $0.ledger.seen = [:]
      }.contains { $0.contains("never posted") })
    #expect(found { $0.oddLines = ["half a li"] }.count == 1)
    #expect(found { $0.surprises = ["agent 1 ended by itself"] }.count == 1)
    #expect(found { $0.leftBehind = [ProcessEntry(pid: 9, commandLine: "sleep 600")] }.count == 1)
    #expect(
      found {
        $0.ledger.posts[Self.number] = PostRecord(number: Self.number, at: 1, answeredAt: 2, outcome: .accepted([run, "x"]))
      }
      .contains { $0.contains("of 1 agents") })
  }

  @Test func aVerdictThatChangesIsFound() {
    let run = Self.run
    #expect(found { $0.ledger.seen[run]?.contradictions = [("lost", 2500)] }.contains { $0.contains("and later lost") })
    #expect(found { $0.ledger.seen[run]?.verdict = "lost" }.contains { $0.contains("was lost, and is succeeded") })
    #expect(found { $0.ledger.seen[run]?.reopenedAt = [2500] }.contains { $0.contains("open again") })
    // A copy of the database that did not have the verdict yet was put back between the two.
    let back = Deeds.Restore(copiedAt: 1900, restoredAt: 2400)
    #expect(
      found {
        $0.ledger.seen[run]?.reopenedAt = [2500]
        $0.deeds.restores = [back]
      } == [])
  }

  @Test func aLostRunIsExplainedByItsOwnRunnersEndOnly() {
    func lost(runner: Int32, agent: Int, at: Int = 1500, named: Bool = true) -> [String] {
      found {
        $0.rows[Self.run] = Self.row(.lost)
        $0.ledger.seen[Self.run]?.verdict = "lost"
        $0.ends = [:]
        if !named { $0.starts = [:] }
        $0.deeds.runnerKills = [Deeds.RunnerKill(agent: agent, pid: runner, at: at)]
      }
    }
    #expect(lost(runner: 100, agent: 0) == [])
    #expect(lost(runner: 101, agent: 0).count == 1)
    #expect(lost(runner: 100, agent: 1).count == 1)
    // Killed before it was posted, or after it was lost.
    for at in [999, 2001] { #expect(lost(runner: 100, agent: 0, at: at).count == 1) }
    // It did not come so far as to name its runner: any of that agent's, in its time.
    #expect(lost(runner: 101, agent: 0, named: false) == [])
    for at in [999, 2001] { #expect(lost(runner: 101, agent: 0, at: at, named: false).count == 1) }
  }

  @Test func whatWasPostedBetweenACopyAndItsReturnMayBeForgottenButNotStartedTwice() {
    func after(_ restore: Deeds.Restore, _ change: (inout Evidence) -> Void = { _ in }) -> [String] {
      found {
        $0.deeds.restores = [restore]
        $0.rows = [:]
        $0.ledger.seen = [:]
        change(&$0)
      }
    }
    #expect(after(Deeds.Restore(copiedAt: 900, restoredAt: 3000)) == [])
    #expect(!after(Deeds.Restore(copiedAt: 1500, restoredAt: 3000)).isEmpty)
    let run = Self.run
    #expect(
      after(Deeds.Restore(copiedAt: 900, restoredAt: 3000)) { $0.starts[run] = ($0.starts[run] ?? []) + ($0.starts[run] ?? []) }
        .count == 1)
  }

  @Test func aRunThatMayBeRetriedIsStartedOnceForEachAttemptAndNoMoreThanItMay() throws {
    let number = try #require((0..<1000).first { PostedTask(seed: Self.seed, number: $0, agents: Self.agents).retries > 0 })
    func starts(_ count: Int, attempt: Int) throws -> Int {
      let run = "host-0-07"
      let json = try JSONReader.parse(
        #"{"auuid":"\#(run)","uuid":"host-0","taskname":": chaos \#(number);","state":"succeeded","attempt":\#(attempt),"exitCode":0}"#
      )
      var evidence = Evidence(seed: Self.seed, agents: Self.agents, redisForgets: false, databaseGoesBack: false)
      evidence.ledger.posts[number] = PostRecord(number: number, at: 1, answeredAt: 2, outcome: .unanswered("cut"))
      evidence.rows[run] = RunRow(json)
      evidence.starts[run] = (0..<count).compactMap { StartLine("\(run) \(100 + $0) \(number)") }
      evidence.ends[run] = count
      return PromiseCheck(evidence).violations.count
    }
    #expect(try starts(2, attempt: 2) == 0)
    #expect(try starts(1, attempt: 3) == 0)
    #expect(try starts(3, attempt: 2) == 1)
    #expect(try starts(5, attempt: 5) == 2)
  }

  /// Found by chaos: the store that was put back knows such a run by its first attempt's words alone.
  @Test func ofARunThatTheRestoredDatabaseNeverAcceptedTheAttemptsAreNotJudged() throws {
    let number = try #require((0..<1000).first { PostedTask(seed: Self.seed, number: $0, agents: Self.agents).retries > 0 })
    func found(restored: Bool) throws -> Int {
      let run = "host-0-08"
      let json = try JSONReader.parse(
        #"{"auuid":"\#(run)","uuid":"host-0","taskname":"(unknown)","state":"failed","attempt":1,"exitCode":1}"#)
      var evidence = Evidence(seed: Self.seed, agents: 1, redisForgets: false, databaseGoesBack: true)
      evidence.ledger.posts[number] = PostRecord(number: number, at: 1000, answeredAt: 1010, outcome: .accepted([run]))
      evidence.ledger.seen[run] = Sighting(verdict: "succeeded", verdictAt: 2000, contradictions: [("failed", 3000)])
      evidence.rows[run] = RunRow(json)
      evidence.starts[run] = (0..<2).compactMap { StartLine("\(run) \(100 + $0) \(number)") }
      evidence.ends[run] = 2
      if restored { evidence.deeds.restores = [Deeds.Restore(copiedAt: 900, restoredAt: 2500)] }
      return PromiseCheck(evidence).violations.count
    }
    #expect(try found(restored: true) == 0)
    #expect(try found(restored: false) > 0)
  }

  @Test func plainTasksAreAsDurableAsTheirRedis() {
    func plain(forgets: Bool, starts: Int) -> PromiseCheck {
      var evidence = Evidence(seed: 1, agents: 1, redisForgets: forgets, databaseGoesBack: false)
      evidence.ledger.plain[4] = PlainRecord(at: 1000, answered: true)
      for index in 0..<starts { evidence.starts["host-0-\(index)"] = [StartLine("host-0-\(index) 1 plain 4")].compactMap { $0 } }
      return PromiseCheck(evidence)
    }
    for count in 0...2 {
      #expect(plain(forgets: true, starts: count).violations.isEmpty)
      #expect(plain(forgets: false, starts: count).violations.isEmpty == (count == 1))
    }
    #expect(plain(forgets: true, starts: 2).plainTwice == 1 && plain(forgets: true, starts: 0).plainNever == 1)
  }

  @Test func aLoadThatIsNotTakenIsFound() {
    func accepted(_ count: Int, fewest: Int) -> [String] {
      found { $0.postings = [Posting(when: "afterwards", wanted: 300, accepted: count, fewest: fewest)] }
    }
    #expect(accepted(300, fewest: 300) == [])
    #expect(accepted(299, fewest: 300) == ["only 299 of 300 runs were accepted afterwards"])
    // While things are killed: half, and of a load that is faster than it could be kept up no more than five a second.
    #expect(Posting.fewest(of: 300, within: 120) == 150)
    #expect(Posting.fewest(of: 3000, within: 120) == 600)
    #expect(Posting.fewest(of: 100_000, within: 60) == 300)
  }

  @Test func whatDoesNotEndByItselfHasToBeKilled() {
    func endless(_ state: RunState, exitCode: Int? = nil, started: Bool = true, asked: Bool = true) -> [String] {
      var evidence = Evidence.madeUp()
      evidence.add("host-0-01", .endless, state, exitCode: exitCode, runners: started ? [70] : [], ends: exitCode == nil ? 0 : 1)
      if asked { evidence.ledger.killAsked["host-0-01"] = 1500 }
      return evidence.violations
    }
    #expect(endless(.killed) == [] && endless(.cancelled, started: false) == [])
    #expect(endless(.cancelled).contains { $0.contains("and was started") })
    #expect(endless(.succeeded, exitCode: 0).contains { $0.contains("cannot be") })
    #expect(endless(.timedOut).contains { $0.contains("cannot be") })
    #expect(endless(.killed, asked: false).contains { $0.contains("cannot be") })
    // A kill that does nothing at all.
    #expect(endless(.running).contains { $0.contains("is still running") })
  }

  @Test func onlyWhatWasForgottenMayBeUnknownToAKill() {
    func refused(_ outcome: PostRecord.Outcome, restored: Bool) -> Int {
      var evidence = Evidence.madeUp()
      evidence.add("host-0-01", .short, .succeeded, exitCode: 0, runners: [70], ends: 1)
      for number in evidence.ledger.posts.keys {
        evidence.ledger.posts[number] = PostRecord(number: number, at: 1000, answeredAt: 1010, outcome: outcome)
      }
      evidence.ledger.killRefused["host-0-01"] = "404 unknown_run"
      if restored { evidence.deeds.restores = [Deeds.Restore(copiedAt: 900, restoredAt: 1200)] }
      return evidence.violations.count
    }
    for outcome in [PostRecord.Outcome.accepted(["host-0-01"]), .unanswered("cut")] {
      #expect(refused(outcome, restored: false) == 1)
      #expect(refused(outcome, restored: true) == 0)
    }
  }

  @Test func ofARunThatOnlyItsAgentKnowsTheLineTellsWhatItHadToDo() {
    func unknown(_ state: RunState, exitCode: Int, ends: Int = 1, kind: PostedTask.Kind = .short) -> [String] {
      var evidence = Evidence.madeUp()
      evidence.add("host-0-01", kind, state, exitCode: exitCode, runners: [70], ends: ends, isUnknown: true)
      evidence.ledger.numbers = [:]
      evidence.deeds.restores = [Deeds.Restore(copiedAt: 900, restoredAt: 1200)]
      return evidence.violations
    }
    #expect(unknown(.succeeded, exitCode: 0) == [])
    #expect(unknown(.failed, exitCode: 3).contains { $0.contains("cannot be") })
    #expect(unknown(.succeeded, exitCode: 0, ends: 0).contains { $0.contains("did not come to its end") })
    // Its first attempt may be all that is known.
    #expect(unknown(.failed, exitCode: 1, kind: .retrying) == [])
    #expect(unknown(.failed, exitCode: 7, kind: .retrying).contains { $0.contains("cannot be") })
  }

  @Test func whatFailsByItselfDoesSoAtItsEnd() {
    for kind in [PostedTask.Kind.failing, .suicidal] {
      var evidence = Evidence.madeUp()
      evidence.add("host-0-01", kind, .failed, runners: [70])
      #expect(evidence.violations.contains { $0.contains("did not come to its end") }, "\(kind)")
    }
  }

  @Test func aProgramThatGrowsWithWhatItDoesIsFound() {
    func grown(_ program: Program, descriptors: Int = 0, residentKiB: Int = 0) -> Int {
      found {
        let before = Holding(descriptors: 30, residentKiB: 20_000)
        let after = Holding(descriptors: 30 + descriptors, residentKiB: 20_000 + residentKiB)
        $0.growth = [Growth(program: program, before: before, after: after)]
      }.count
    }
    for (program, mostKiB) in [(Program.dashboard, Growth.mostKiBOfDashboard), (.agent(1), Growth.mostKiBOfAgent)] {
      #expect(grown(program, descriptors: Growth.mostDescriptors, residentKiB: mostKiB) == 0)
      #expect(grown(program, descriptors: Growth.mostDescriptors + 1) == 1)
      #expect(grown(program, residentKiB: mostKiB + 1) == 1)
      #expect(grown(program, descriptors: -9, residentKiB: -9000) == 0)
    }
  }
}
