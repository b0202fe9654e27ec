// News about runs inside this process, published after the commit that made them true: `?wait`, `?follow` and the page's event stream
// listen here instead of asking the store again and again.
//
// How to listen without missing anything: subscribe, then read the store, then wait for news. News are hints to read again; several about
// one run are merged, so that what waits for a slow listener is bounded by the number of runs it listens to (and by `largestBacklog`).

import Shared
import Synchronization

/// Something new about one run.
struct RunNews: Sendable, Equatable {
  enum Kind: Sendable, Equatable {
    /// It was accepted, or its state changed; a verdict where `isVerdict`.
    case state(RunState)
    /// The store holds output up to this offset (in everything that the command wrote).
    case output(upTo: Int64)
  }
  var run: RunID
  var kind: Kind

  init(_ run: RunID, _ kind: Kind) {
    self.run = run
    self.kind = kind
  }
}

final class RunWatch: Sendable {
  /// Different runs that may wait for one listener; beyond that it is only told that it missed some.
  static let largestBacklog = 20_000

  fileprivate enum Topic: Hashable, Sendable {
    case run(RunID)
    case task(ULID)
    case everything
  }
  private let listeners = Mutex<[Topic: [ObjectIdentifier: Subscription]]>([:])

  init() {}

  /// Tells everyone who listens. Call after the commit; cheap where nobody does.
  func publish(_ news: [RunNews]) {
    guard !news.isEmpty else { return }
    let told = listeners.withLock { listeners -> [(Subscription, RunNews)] in
      guard !listeners.isEmpty else { return [] }
      var told: [(Subscription, RunNews)] = []
      for item in news {
        for topic in [Topic.run(item.run), .task(item.run.task), .everything] {
          guard let subscriptions = listeners[topic] else { continue }
          for subscription in subscriptions.values { told.append((subscription, item)) }
        }
      }
      return told
    }
    for (subscription, item) in told { subscription.take(item) }
  }

  /// News about one run, until the subscription is cancelled.
  func subscribe(run: RunID) -> Subscription { subscribe(.run(run)) }
  /// News about every run of a task.
  func subscribe(task: ULID) -> Subscription { subscribe(.task(task)) }
  /// News about every run there is.
  func subscribeAll() -> Subscription { subscribe(.everything) }

  /// Listeners there are now, for tests and for `health`.
  var count: Int { listeners.withLock { $0.values.reduce(0) { $0 + $1.count } } }

  private func subscribe(_ topic: Topic) -> Subscription {
    let subscription = Subscription { [weak self] id in
      self?.listeners.withLock { listeners in
        listeners[topic]?[id] = nil
        if listeners[topic]?.isEmpty ?? false { listeners[topic] = nil }
      }
    }
    listeners.withLock { $0[topic, default: [:]][ObjectIdentifier(subscription)] = subscription }
    return subscription
  }
}

/// One listener's place. `cancel()` it when done (`defer`).
final class Subscription: Sendable {
  /// What came since the last look, merged by run.
  struct Batch: Sendable {
    var states: [RunID: RunState] = [:]
    var grown: Set<RunID> = []
    /// More was new than could be kept: read everything again.
    var missedSome = false
    var isEmpty: Bool { states.isEmpty && grown.isEmpty && !missedSome }
  }

  private struct State {
    var batch = Batch()
    var waiter: CheckedContinuation<Batch, Never>?
    var ended = false
  }
  private let state = Mutex(State())
  private let leave: @Sendable (ObjectIdentifier) -> Void

  fileprivate init(leave: @escaping @Sendable (ObjectIdentifier) -> Void) { self.leave = leave }

  /// Waits for news; returns at once where some wait already. Empty when `deadline` has passed or the subscription was cancelled.
  /// One caller at a time.
  /// - Throws: `CancellationError` when the task is cancelled.
  func next(until deadline: ContinuousClock.Instant? = nil) async throws -> Batch {
    try Task.checkCancellation()
    if let batch = takeNow() { return batch }
    guard let deadline else { return try await wait() }
    // Rouses the waiting below at its deadline; cancelled when something came before.
    let timer = Task { [weak self] in
      try await Task.sleep(until: deadline, clock: .continuous)
      self?.rouse()
    }
    defer { timer.cancel() }
    return try await wait(until: deadline)
  }

  /// What is new, without waiting. Nil when nothing is.
  func takeNow() -> Batch? {
    state.withLock { state in
      if state.batch.isEmpty { return state.ended ? Batch() : nil }
      defer { state.batch = Batch() }
      return state.batch
    }
  }

  /// Ends the subscription; whoever waits gets an empty batch.
  func cancel() {
    leave(ObjectIdentifier(self))
    state.withLock { $0.ended = true }
    rouse()
  }

  private func wait(until deadline: ContinuousClock.Instant? = nil) async throws -> Batch {
    let batch = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let ready = state.withLock { state -> Batch? in
          // Who rouses at the deadline may have done so already, and found nobody.
          if !state.batch.isEmpty || state.ended || Task.isCancelled || deadline.map({ $0 <= .now }) ?? false {
            defer { state.batch = Batch() }
            return state.batch
          }
          state.waiter = continuation
          return nil
        }
        if let ready { continuation.resume(returning: ready) }
      }
    } onCancel: {
      rouse()
    }
    try Task.checkCancellation()
    return batch
  }

  private func rouse() {
    let (waiter, batch) = state.withLock { state in
      defer {
        if state.waiter != nil { state.batch = Batch() }
        state.waiter = nil
      }
      return (state.waiter, state.batch)
    }
    waiter?.resume(returning: batch)
  }

  fileprivate func take(_ news: RunNews) {
    let waiter = state.withLock { state -> (CheckedContinuation<Batch, Never>, Batch)? in
      guard !state.ended else { return nil }
      switch news.kind {
      // Two who tell of one run need not come in the order of their commits; but a run's verdict is its last word.
      case .state(let next) where next.isVerdict || state.batch.states[news.run]?.isVerdict != true:
        state.batch.states[news.run] = next
      case .state: break
      case .output: state.batch.grown.insert(news.run)
      }
      if state.batch.states.count + state.batch.grown.count > RunWatch.largestBacklog {
        state.batch = Batch()
        state.batch.missedSome = true
      }
      guard let waiter = state.waiter else { return nil }
      defer {
        state.waiter = nil
        state.batch = Batch()
      }
      return (waiter, state.batch)
    }
    waiter?.0.resume(returning: waiter?.1 ?? Batch())
  }
}
