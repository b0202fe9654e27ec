// Runs with retries, attempt by attempt.
import Shared
import Testing

@testable import Chaos

@Suite struct AttemptsTests {
  private func found(
    _ attempts: [RunState], exitCode: Int = 1, starts: Int, ends: Int, _ change: (inout Evidence) -> Void = { _ in }
  ) -> [String] {
    var evidence = Evidence.madeUp()
    let rows = attempts.enumerated().map {
      AttemptRow(attempt: $0.offset + 1, state: $0.element, exitCode: $0.element == .failed ? exitCode : nil)
    }
    evidence.add(
      "host-0-01", .retrying, attempts.last ?? .succeeded, exitCode: attempts.last == .failed ? exitCode : 0, attempts: rows,
      runners: (0..<starts).map { 70 + Int32($0) }, ends: ends)
    evidence.kill([70: 1500, 71: 1500, 72: 1500, 73: 1500])
    change(&evidence)
    return evidence.violations
  }

  @Test func whatRetriesMayLookLike() {
    #expect(found([.failed, .succeeded], starts: 2, ends: 2) == [])
    #expect(found([.lost, .succeeded], starts: 2, ends: 1) == [])
    #expect(found([.lost, .failed, .succeeded], starts: 2, ends: 2) == [])
    #expect(found([.failed, .lost, .lost, .succeeded], starts: 4, ends: 2) == [])
    // It was asked to be killed while it waited for its second attempt.
    #expect(found([.failed], starts: 1, ends: 1) { $0.ledger.killAsked["host-0-01"] = 1200 } == [])
    #expect(
      found([.unknown, .succeeded], starts: 2, ends: 2) { $0.deeds.restores = [.init(copiedAt: 900, restoredAt: 1500)] } == [])
  }

  @Test func whatIsWrongWithAnAttemptIsFound() {
    #expect(found([.failed, .succeeded], starts: 1, ends: 1).contains { $0.contains("it was started 1 times") })
    #expect(found([.failed, .succeeded], starts: 2, ends: 1).contains { $0.contains("came to its end 1 times") })
    #expect(found([.failed, .failed, .succeeded], starts: 3, ends: 3).contains { $0.contains("only its first start fails") })
    #expect(found([.lost, .succeeded], starts: 1, ends: 1).contains { $0.contains("and its first start fails") })
    #expect(found([.failed, .succeeded], exitCode: 7, starts: 2, ends: 2).contains { $0.contains("another exit code") })
    #expect(found([.succeeded, .succeeded], starts: 2, ends: 2).contains { $0.contains("went on after attempt 1") })
    #expect(found([.unknown, .succeeded], starts: 2, ends: 2).contains { $0.contains("went on after attempt 1") })
    #expect(
      found([.failed, .succeeded], starts: 2, ends: 2) { $0.attempts["host-0-01"]?.removeFirst() }
        .contains { $0.contains("its attempts are succeeded") })
  }
}
