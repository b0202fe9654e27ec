// News: nothing is missed between subscribing and waiting, and nothing is kept for those who left.

import Shared
import Testing

@testable import Dashboard

@Suite struct RunWatchTests {
  private let ids = ULIDGenerator()
  private func run(_ agent: String) -> RunID { RunID(agent: AgentID(agent), task: ids.next()) }

  @Test func newsBeforeTheWaitAreNotMissed() async throws {
    let watch = RunWatch()
    let run = run("a")
    let news = watch.subscribe(run: run)
    watch.publish([RunNews(run, .state(.running)), RunNews(run, .output(upTo: 3)), RunNews(run, .state(.failed))])
    let batch = try await news.next()
    #expect(batch.states == [run: .failed] && batch.grown == [run])
    #expect(news.takeNow() == nil)
  }

  @Test func whatIsToldLateTakesNoVerdictBack() async throws {
    let watch = RunWatch()
    let (run, other) = (run("a"), run("b"))
    let news = watch.subscribeAll()
    // Whoever accepted it, or asked for its end, tells of it when the collector already has.
    watch.publish([RunNews(run, .state(.succeeded)), RunNews(other, .state(.running))])
    watch.publish([RunNews(run, .state(.sent)), RunNews(other, .state(.queued))])
    // A run that goes on with its next attempt is open again: it had no verdict.
    #expect(try await news.next().states == [run: .succeeded, other: .queued])
  }

  @Test func aWaiterIsWokenByItsOwnNewsOnly() async throws {
    let watch = RunWatch()
    let (mine, other) = (run("a"), run("b"))
    let news = watch.subscribe(task: mine.task)
    async let batch = news.next(until: .now + .seconds(20))
    for _ in 0..<50 {
      watch.publish([RunNews(other, .state(.running))])
      await Task.yield()
    }
    watch.publish([RunNews(mine, .state(.succeeded))])
    #expect(try await batch.states == [mine: .succeeded])
  }

  @Test func aDeadlineEndsTheWait() async throws {
    let news = RunWatch().subscribe(run: run("a"))
    #expect(try await news.next(until: .now + .milliseconds(30)).isEmpty)
    #expect(try await news.next(until: .now - .seconds(1)).isEmpty)
    // Also one that passes between the question and the wait.
    for microseconds in 0..<2000 { #expect(try await news.next(until: .now + .microseconds(microseconds % 40)).isEmpty) }
  }

  @Test func cancellingTheTaskEndsTheWait() async throws {
    let watch = RunWatch()
    let news = watch.subscribeAll()
    let waiter = Task { try await news.next() }
    waiter.cancel()
    await #expect(throws: CancellationError.self) { try await waiter.value }
    watch.publish([RunNews(run("a"), .state(.running))])
    #expect(news.takeNow()?.states.count == 1, "the subscription itself lives on")
  }

  @Test func aCancelledSubscriptionIsForgottenAndWakesItsWaiter() async throws {
    let watch = RunWatch()
    let news = watch.subscribeAll()
    async let batch = news.next()
    await Task.yield()
    news.cancel()
    #expect(try await batch.isEmpty)
    #expect(watch.count == 0)
  }

  @Test func aSlowListenerCostsBoundedMemory() async throws {
    let watch = RunWatch()
    let news = watch.subscribeAll()
    for _ in 0...RunWatch.largestBacklog { watch.publish([RunNews(run("a"), .state(.running))]) }
    let batch = try await news.next()
    #expect(batch.missedSome && batch.states.count <= 1)
  }
}
