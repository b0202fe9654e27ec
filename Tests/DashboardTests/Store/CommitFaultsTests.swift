// Of the harness's fault in the store: what it tells is decided by its seed alone, and what it reports as failed is done.
import Testing

@testable import Dashboard

#if DEBUG
  @Suite struct CommitFaultsTests {
    private func told(_ text: String, _ count: Int = 2000) -> [Int]? {
      guard var faults = CommitFaults(text) else { return nil }
      return (1...count).filter { _ in faults.isDue() }
    }

    @Test func withoutAWordThereAreNone() {
      for text in ["", "seed=4", "commit=0,seed=1", "commit=x", "commit"] { #expect(told(text) == nil) }
      #expect(CommitFaults(nil) == nil)
    }

    @Test func theSameSeedGivesTheSameFaultsAndNoneAtTheStart() throws {
      let some = try #require(told("commit=0.1,seed=7"))
      #expect(some == told("commit=0.1,seed=7") && some != told("commit=0.1,seed=8"))
      #expect((120...280).contains(some.count) && some.allSatisfy { $0 > 20 })
      #expect(told("commit=1,seed=7") == Array(21...2000))
    }
  }
#endif
