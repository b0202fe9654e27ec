// The pipe between a task that writes a body and the event loop that sends it.
//
// The task appends framed pieces and suspends while more than the high-water mark waits; the loop takes what is there and
// says how much the kernel took. Either side may end it: `finish` and `abort` come from the task, `cut` from the loop.
// All state is behind one lock that is never held across a suspension or a system call.

import Synchronization

final class StreamChannel: Sendable {
  enum Ending: Sendable {
    /// The body is complete.
    case complete
    /// The writer failed: the client must not take what it got for the whole.
    case aborted
  }

  struct Batch {
    var pieces: [[UInt8]]
    var ending: Ending?
  }

  private struct State: Sendable {
    var pieces: [[UInt8]] = []
    var queued = 0
    var ending: Ending?
    var cut = false
    var draining = false
    var announced = false
    var waiters: [(id: Int, continuation: CheckedContinuation<Void, any Error>)] = []
    var nextWaiter = 0
  }

  private let state = Mutex(State())
  private let highWater: Int
  private let announce: @Sendable (StreamChannel) -> Void

  /// - Parameter announce: tells the loop that `take` has something new; called once until the next `take`.
  init(highWater: Int, announce: @escaping @Sendable (StreamChannel) -> Void) {
    self.highWater = highWater
    self.announce = announce
  }

  var isDraining: Bool { state.withLock { $0.draining } }
  var isCut: Bool { state.withLock { $0.cut } }

  // MARK: The task's side

  func write(_ pieces: [[UInt8]]) async throws {
    let (tell, wait) = try state.withLock { state -> (Bool, Bool) in
      if state.cut { throw BodyWriter.Failure.clientGone }
      try Task.checkCancellation()
      for piece in pieces {
        state.pieces.append(piece)
        state.queued += piece.count
      }
      defer { state.announced = true }
      return (!state.announced, state.queued > highWater)
    }
    if tell { announce(self) }
    if wait { try await waitForRoom() }
  }

  func end(_ ending: Ending, last: [UInt8] = []) {
    let tell = state.withLock { state -> Bool in
      guard state.ending == nil, !state.cut else { return false }
      if !last.isEmpty {
        state.pieces.append(last)
        state.queued += last.count
      }
      state.ending = ending
      defer { state.announced = true }
      return !state.announced
    }
    if tell { announce(self) }
  }

  private func waitForRoom() async throws {
    let id = state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let now: Result<Void, any Error>? = state.withLock { state in
          if state.cut { return .failure(BodyWriter.Failure.clientGone) }
          if state.queued <= highWater / 4 { return .success(()) }
          // Cancelled before we came here: the handler below found no waiter, so this is where it is noticed.
          if Task.isCancelled { return .failure(CancellationError()) }
          state.waiters.append((id, continuation))
          return nil
        }
        if let now { continuation.resume(with: now) }
      }
    } onCancel: {
      let waiter = state.withLock { state in
        state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0).continuation }
      }
      waiter?.resume(throwing: CancellationError())
    }
  }

  // MARK: The loop's side

  func take() -> Batch {
    state.withLock { state in
      let batch = Batch(pieces: state.pieces, ending: state.ending)
      state.pieces = []
      state.announced = false
      return batch
    }
  }

  /// `count` bytes have left for the kernel.
  func sent(_ count: Int) {
    let waiters = state.withLock { state -> [CheckedContinuation<Void, any Error>] in
      state.queued -= count
      guard state.queued <= highWater / 4, !state.waiters.isEmpty else { return [] }
      defer { state.waiters = [] }
      return state.waiters.map(\.continuation)
    }
    for waiter in waiters { waiter.resume() }
  }

  /// The client is gone or was cut: every present and later write fails.
  func cut() {
    let waiters = state.withLock { state -> [CheckedContinuation<Void, any Error>] in
      state.cut = true
      state.pieces = []
      defer { state.waiters = [] }
      return state.waiters.map(\.continuation)
    }
    for waiter in waiters { waiter.resume(throwing: BodyWriter.Failure.clientGone) }
  }

  func drain() { state.withLock { $0.draining = true } }
}
