// A few threads of our own for calls that block: reading SQLite must not hold up Swift's cooperative pool. Idle threads sleep.

import Dispatch
import Glibc
import Synchronization

/// Runs jobs in the order in which they came, at most `count` at a time. The threads live until `stop()`.
final class WorkerThreads: Sendable {
  private struct State {
    var jobs: [@Sendable () -> Void] = []
    var head = 0
    var idle = 0
    var stopped = false

    mutating func take() -> (@Sendable () -> Void)? {
      guard head < jobs.count else { return nil }
      let job = jobs[head]
      head += 1
      if head == jobs.count {
        jobs.removeAll(keepingCapacity: true)
        head = 0
      } else if head >= 256, head * 2 > jobs.count {
        jobs.removeFirst(head)
        head = 0
      }
      return job
    }
  }
  private let state = Mutex(State())
  private let wake = DispatchSemaphore(value: 0)
  private let count: Int

  init(count: Int) {
    self.count = count
    for _ in 0..<count { startThread { [self] in work() } }
  }

  /// Runs `body` on one of the threads.
  /// - Throws: what `body` throws; `StoreError.closed` after `stop()`.
  func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
      let accepted = submit { continuation.resume(with: Result { try body() }) }
      if !accepted { continuation.resume(throwing: StoreError.closed) }
    }
  }

  /// What was submitted before is still done.
  func stop() {
    state.withLock { $0.stopped = true }
    for _ in 0..<count { wake.signal() }
  }

  private func submit(_ job: @escaping @Sendable () -> Void) -> Bool {
    let (accepted, rouse) = state.withLock { state -> (Bool, Bool) in
      guard !state.stopped else { return (false, false) }
      state.jobs.append(job)
      guard state.idle > 0 else { return (true, false) }
      state.idle -= 1
      return (true, true)
    }
    if rouse { wake.signal() }
    return accepted
  }

  private func work() {
    while true {
      let (job, over) = state.withLock { state -> ((@Sendable () -> Void)?, Bool) in
        if let job = state.take() { return (job, false) }
        if state.stopped { return (nil, true) }
        state.idle += 1
        return (nil, false)
      }
      if let job { job() } else if over { return } else { wake.wait() }
    }
  }
}

/// Starts a thread that runs `body` and ends with it.
func startThread(_ body: @escaping @Sendable () -> Void) {
  final class Start: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
  let start = Unmanaged.passRetained(Start(body))
  var thread = pthread_t()
  let failure = pthread_create(
    &thread, nil,
    { argument in
      guard let argument else { return nil }
      Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
      return nil
    }, start.toOpaque())
  if failure == 0 {
    pthread_detach(thread)
  } else {
    // No thread to be had (EAGAIN): Dispatch finds one.
    start.release()
    DispatchQueue(label: "muster").async(execute: body)
  }
}
