// Nothing comes sooner than it may, or much later.
import Shared
import Testing

@testable import Chaos

@Suite struct TimesTests {
  @Test func nothingExpiresBeforeItsTime() {
    func expired(after: Int, _ outcome: PostRecord.Outcome? = nil) -> [String] {
      var evidence = Evidence.madeUp()
      evidence.add("host-0-01", .expiring, .expired, at: 1000, verdictAt: 1000 + after) { $0.expires == 3 }
      return evidence.violations
    }
    #expect(expired(after: 3000) == [])
    #expect(expired(after: 3000 - PromiseCheck.clockTolerance) == [])
    #expect(expired(after: 1900).count == 1 && expired(after: 1900)[0].contains("had 3 s to be started"))
  }

  @Test func nothingTimesOutBeforeItsTime() {
    func timedOut(_ kind: PostedTask.Kind, after: Int) -> Int {
      var evidence = Evidence.madeUp()
      evidence.add("host-0-01", kind, .timedOut, runners: [70], at: 1000, verdictAt: 1000 + after) { ($0.timeout ?? 0) > 0.6 }
      return evidence.violations.count { $0.contains("timed out") }
    }
    for kind in [PostedTask.Kind.limited, .scattered] {
      #expect(timedOut(kind, after: 5000) == 0)
      #expect(timedOut(kind, after: 500) == 1)
    }
  }

  @Test func nothingIsStartedLongAfterItsTime() {
    func started(after: Int, isSure: Bool = true) -> Int {
      var evidence = Evidence.madeUp()
      evidence.add("host-0-01", .expiring, .succeeded, exitCode: 0, ends: 1, verdictAt: 90_000) { $0.expires == 2 }
      guard let number = evidence.ledger.numbers["host-0-01"] else { return -1 }
      // Posted at 1000, answered at 1010; this machine was up for 100 s when the harness's clock began.
      let up = Double(1010 + after + 100_000) / 1000
      evidence.starts["host-0-01"] = [StartLine("host-0-01 70 \(number) \(up)", uptimeAhead: 100_000)].compactMap { $0 }
      if !isSure {
        evidence.ledger.posts[number] = PostRecord(number: number, at: 1000, answeredAt: 1010, outcome: .unanswered("cut"))
      }
      return evidence.violations.count
    }
    #expect(started(after: 1000) == 0)
    #expect(started(after: 2000 + PromiseCheck.latestStart) == 0)
    #expect(started(after: 2500 + PromiseCheck.latestStart) == 1)
    // It may have been accepted much later.
    #expect(started(after: 2500 + PromiseCheck.latestStart, isSure: false) == 0)
  }
}
