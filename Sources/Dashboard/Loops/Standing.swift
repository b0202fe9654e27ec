// Whether this dashboard is the one that writes (DESIGN section 3, "One dashboard writes"), and with which fence.
// `StandingKeeper` moves it; the API and every loop read it. Until Redis was reached for the first time it is `starting`: tasks are accepted
// (they are queued, and an unmarked run was never sent), nothing is marked or sent.
import Shared
import Synchronization

final class Standing: Sendable {
  enum State: Sendable, Equatable {
    /// Redis has not been reached yet: accepting, not sending.
    case starting
    case writing(Fence)
    /// Another dashboard writes; the sentence says which.
    case standby(String)
    case draining
  }

  private struct Guarded {
    var state = State.starting
    var waiters: [Int: CheckedContinuation<Fence?, Never>] = [:]
    var next = 0
  }
  private let guarded = Mutex(Guarded())

  var state: State { guarded.withLock { $0.state } }

  /// The fence under which scripts may be run now; nil while nothing may be sent.
  var fence: Fence? {
    if case .writing(let fence) = state { fence } else { nil }
  }

  func move(to next: State) {
    let (waiters, fence) = guarded.withLock { guarded -> ([CheckedContinuation<Fence?, Never>], Fence?) in
      guard guarded.state != .draining else { return ([], nil) }
      guarded.state = next
      let waiters = Array(guarded.waiters.values)
      switch next {
      case .writing(let fence):
        guarded.waiters = [:]
        return (waiters, fence)
      case .draining:
        guarded.waiters = [:]
        return (waiters, nil)
      case .starting, .standby: return ([], nil)
      }
    }
    for waiter in waiters { waiter.resume(returning: fence) }
  }

  /// Waits until this dashboard writes. Nil when it is about to stop instead, or the task is cancelled.
  func untilWriting() async -> Fence? {
    let id = guarded.withLock { guarded in
      guarded.next += 1
      return guarded.next
    }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let answer: Fence?? = guarded.withLock {
          switch $0.state {
          case .writing(let fence): return .some(fence)
          case .draining: return .some(nil)
          case .starting, .standby:
            // The handler may have run before this waiter was there.
            guard !Task.isCancelled else { return .some(nil) }
            $0.waiters[id] = continuation
            return nil
          }
        }
        if let answer { continuation.resume(returning: answer) }
      }
    } onCancel: {
      guarded.withLock { $0.waiters.removeValue(forKey: id) }?.resume(returning: nil)
    }
  }
}
