import Testing

@testable import Shared

/// What the dashboard knows of an agent, each test named for the rule of DESIGN section 3 that it holds.
@Suite struct AgentFlowTests {
  @Test func theFirstJournalIsNoChangeAndEveryOtherOneIs() {
    var agent = AgentKnowledge()
    let changes = [1, 1, 2, 2, 1].map { agent.speaks(with: Nonce($0)) }
    #expect(changes == [false, false, true, false, true], "one that comes back is a change, too")
    #expect(agent.journal == Nonce(1))
  }

  @Test func aHigherNumberThanTheStoresOwnTellsARestoredCopy() {
    var agent = AgentKnowledge(number: SendNumber(fence: 2, count: 5))
    let same = agent.learns(SendNumber(fence: 2, count: 5))
    let older = agent.learns(SendNumber(fence: 1, count: 9))
    let newer = agent.learns(SendNumber(fence: 2, count: 6))
    #expect([same, older, newer] == [false, false, true])
    #expect(agent.number == SendNumber(fence: 2, count: 6))
  }

  /// Rule `pair`: two lives of a copy would give out the same numbers otherwise, and the second could not tell that it is one.
  @Test func theComparisonRaisesTheNumberToThePresentFence() {
    var agent = AgentKnowledge(number: SendNumber(fence: 2, count: 5))
    let restored = agent.compares(SendNumber(fence: 2, count: 5), under: 4)
    #expect(!restored && agent.number == SendNumber(fence: 4))
    let mark = agent.nextMark()
    #expect(mark.number == SendNumber(fence: 4, count: 1))
    let again = agent.compares(SendNumber(fence: 6, count: 1), under: 5)
    #expect(again && agent.number == SendNumber(fence: 6, count: 1), "whatever it is raised to, a higher one was known")
  }

  /// Rule `meant`.
  @Test func aMarkNamesTheJournalOfItsMaking() {
    var agent = AgentKnowledge(journal: Nonce(1))
    let before = agent.nextMark()
    _ = agent.speaks(with: Nonce(2))
    let after = agent.nextMark()
    #expect(before.journal == Nonce(1) && after.journal == Nonce(2))
  }

  @Test func aMessageIsHeededOnlyFromTheNewestDashboardAndWithTheOwnAddress() {
    let own = AgentAddress(journal: Nonce(1), incarnation: Nonce(2))
    #expect(AttemptFlow.heeds(own, fence: 3, at: own, highest: 3))
    #expect(AttemptFlow.heeds(nil, fence: nil, at: own, highest: 3))
    #expect(!AttemptFlow.heeds(own, fence: 2, at: own, highest: 3))
    for other in [
      AgentAddress(journal: Nonce(1), incarnation: Nonce(9)), AgentAddress(journal: Nonce(9), incarnation: Nonce(2)),
    ] {
      #expect(!AttemptFlow.heeds(other, fence: 3, at: own, highest: 3))
    }
  }
}
