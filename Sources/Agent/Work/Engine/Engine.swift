// The one thread on which the agent's work happens: it runs the jobs of the `Worker` actor, tells it when a descriptor (a runner's socket
// or pidfd) has something, and wakes it at the times it asked for. So starting a run needs no hop between threads, and no lock.
//
// Invariants: jobs, descriptor handlers and timers run on this thread only, one at a time. When there is nothing to do it sleeps in
// epoll without a timeout, or until the earliest timer.

import CEpoll
import Glibc
import Synchronization

final class Engine: SerialExecutor {
  /// Made in the `Worker`'s isolation and called on this thread: never anywhere else, so it need not be Sendable.
  typealias Handler = () -> Void

  private struct Shared {
    var jobs: [UnownedJob] = []
    var isStopping = false
    /// The thread has ended.
    var isGone = false
    /// The thread is in epoll, or about to be, and has to be woken.
    var sleeps = false
  }

  private struct Timer {
    var at: MonotonicTime
    var id: UInt64
    var handler: Handler
  }

  /// What only the engine's thread touches.
  private struct Own {
    var watched: [Int32: Handler] = [:]
    var timers: [Timer] = []
    var nextTimer: UInt64 = 0
  }

  private let shared = Mutex(Shared())
  // Touched by the engine's thread alone: every access goes through `own(_:)`, which checks that.
  nonisolated(unsafe) private var state = Own()
  private let thread = Mutex<pthread_t?>(nil)
  private let epoll: Int32
  private let waker: Int32

  /// - Throws: `AgentWorkError` where descriptors or a thread are missing.
  init() throws(AgentWorkError) {
    epoll = cepoll_create()
    waker = cepoll_eventfd()
    guard epoll >= 0, waker >= 0, cepoll_add(epoll, waker, cepoll_in, 0) == 0 else {
      throw .system("open the engine's descriptors", errno)
    }
    let code = WorkThread.start(name: "work") { [self] in loop() }
    guard code == 0 else { throw .system("start the engine's thread", code) }
  }

  deinit {
    close(epoll)
    close(waker)
  }

  /// Ends the thread once its present work is done.
  func stop() {
    shared.withLock { $0.isStopping = true }
    wake()
  }

  // MARK: Jobs

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    let (mustWake, isLate) = shared.withLock { shared in
      shared.jobs.append(job)
      let isLate = shared.isGone
      shared.isGone = false
      defer { shared.sleeps = false }
      return (shared.sleeps, isLate)
    }
    if mustWake { wake() }
    // Somebody's last words: the thread comes back for as long as there are any.
    if isLate { _ = WorkThread.start(name: "work") { [self] in loop() } }
  }

  func checkIsolated() { precondition(isCurrent, "work's state was touched from another thread") }
  func isIsolatingCurrentContext() -> Bool? { isCurrent }

  private var isCurrent: Bool { thread.withLock { $0.map { pthread_equal($0, pthread_self()) != 0 } ?? false } }

  private func own<Result>(_ body: (inout Own) -> Result) -> Result {
    checkIsolated()
    return body(&state)
  }

  private func wake() {
    var one: UInt64 = 1
    _ = write(waker, &one, 8)
  }

  // MARK: Descriptors and timers; on the engine's thread only

  /// Calls the handler whenever the descriptor is readable, hung up or in error, until `forget`.
  /// - Returns: false where that cannot be had; then there is nothing to forget.
  func watch(_ descriptor: Int32, _ handler: @escaping Handler) -> Bool {
    guard cepoll_add(epoll, descriptor, cepoll_in, UInt64(descriptor) + 1) == 0 else { return false }
    own { $0.watched[descriptor] = handler }
    return true
  }

  /// Before the descriptor is closed.
  func forget(_ descriptor: Int32) {
    own { $0.watched[descriptor] = nil }
    _ = cepoll_remove(epoll, descriptor)
  }

  /// Calls the handler once at that time.
  @discardableResult
  func at(_ time: MonotonicTime, _ handler: @escaping Handler) -> UInt64 {
    own { own in
      own.nextTimer += 1
      own.timers.append(Timer(at: time, id: own.nextTimer, handler: handler))
      return own.nextTimer
    }
  }

  func cancel(timer: UInt64) { own { $0.timers.removeAll { $0.id == timer } } }

  // MARK: The loop

  private func loop() {
    thread.withLock { $0 = pthread_self() }
    var events = [epoll_event](repeating: epoll_event(), count: 64)
    while true {
      runJobs()
      runTimers()
      let next = state.timers.map(\.at).min()
      let (mayStop, mustRun) = shared.withLock { shared in
        shared.sleeps = shared.jobs.isEmpty
        shared.isGone = shared.isStopping && shared.jobs.isEmpty
        return (shared.isGone, !shared.jobs.isEmpty)
      }
      if mayStop { return }
      var timeout: Int32 = -1
      if let next {
        // A time that has passed since the timers ran: a negative timeout would wait for ever.
        let wait = max(next - .now, .zero)
        timeout = Int32(
          clamping: (wait.components.seconds * 1000) + (wait.components.attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
        )
      }
      let count = epoll_wait(epoll, &events, Int32(events.count), mustRun ? 0 : timeout)
      shared.withLock { $0.sleeps = false }
      guard count > 0 else { continue }
      for index in 0..<Int(count) {
        let token = cepoll_token(&events[index])
        if token == 0 {
          var drained: UInt64 = 0
          _ = read(waker, &drained, 8)
        } else {
          state.watched[Int32(truncatingIfNeeded: token - 1)]?()
        }
      }
    }
  }

  @discardableResult
  private func runJobs() -> Bool {
    let jobs = shared.withLock { shared in
      let jobs = shared.jobs
      shared.jobs.removeAll(keepingCapacity: jobs.count <= 1024)
      return jobs
    }
    let executor = asUnownedSerialExecutor()
    for job in jobs { job.runSynchronously(on: executor) }
    return !jobs.isEmpty
  }

  private func runTimers() {
    guard !state.timers.isEmpty else { return }
    let now = MonotonicTime.now
    while let index = state.timers.firstIndex(where: { $0.at <= now }) {
      let timer = state.timers.remove(at: index)
      timer.handler()
    }
  }
}
