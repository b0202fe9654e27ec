// The server: a listener, some event loops, and their common beginning and end.

import Glibc
import Synchronization

/// An HTTP/1.1 server. It listens from `init` on; `run` serves until `shutdown`, `beginShutdown`, or the task is cancelled.
public final class Server: Sendable {
  private struct State: Sendable {
    var started = false
    var running = 0
    var stopped = false
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  private let listener: Listener
  private let shared: ServerShared
  private let state = Mutex(State())

  /// Binds and listens, and prepares the loops; nothing is answered before `run`.
  /// - Parameters:
  ///   - host: an address or a name; the first of its addresses that can be bound.
  ///   - port: 0 for a free one, told by `port`.
  ///   - loops: threads that serve, at least 1; by default one per core, at most 4.
  /// - Throws: `ServerError` with the errno, as when the port is taken.
  public init(
    host: String = "127.0.0.1", port: Int, limits: ServerLimits = ServerLimits(), loops: Int? = nil, router: Router
  ) throws(ServerError) {
    let number = max(1, loops ?? min(4, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    var handles: [LoopHandle] = []
    for _ in 0..<number { handles.append(try LoopHandle()) }
    listener = try Listener(host: host, port: port)
    shared = ServerShared(router: router, limits: limits, handles: handles)
  }

  /// The port that is listened on.
  public var port: Int { listener.port }
  /// The host as it was given.
  public var host: String { listener.host }
  /// Open connections over all loops, right now.
  public var connections: Int { shared.open.load(ordering: .relaxed) }
  /// Whether the shutdown has begun.
  public var isDraining: Bool { shared.draining.load(ordering: .acquiring) }

  /// Serves until the server has been shut down; returns when the last loop has ended. Can be called once.
  public func run() async throws {
    let first = state.withLock { state in
      defer { state.started = true }
      return !state.started
    }
    precondition(first, "a server runs once")
    if isDraining { return stop() }
    try startLoops()
    await withTaskCancellationHandler {
      await untilStopped()
    } onCancel: {
      beginShutdown()
    }
  }

  /// Begins the shutdown and returns at once: no new connections, idle ones are closed, answers under way are finished
  /// within `ServerLimits.drain`.
  public func beginShutdown() {
    let wasDraining = shared.draining.exchange(true, ordering: .acquiringAndReleasing)
    if wasDraining { return }
    let started = state.withLock { $0.started }
    if !started {
      listener.close()
      return stop()
    }
    // The first loop stops accepting and then tells the others, so that none of them is dealt a connection after its end.
    shared.handles[0].mailbox.post(.drain)
  }

  /// Begins the shutdown and returns when the last connection is closed.
  public func shutdown() async {
    beginShutdown()
    await untilStopped()
  }

  private func startLoops() throws {
    for (index, handle) in shared.handles.enumerated() {
      state.withLock { $0.running += 1 }
      do {
        try LoopThread.start { [self] in
          EventLoop(handle: handle, shared: shared, listener: index == 0 ? listener : nil).run()
          loopEnded()
        }
      } catch {
        state.withLock { $0.running -= 1 }
        beginShutdown()
        throw error
      }
    }
  }

  private func loopEnded() {
    let last = state.withLock { state in
      state.running -= 1
      return state.running == 0
    }
    if last { stop() }
  }

  private func stop() {
    let waiters = state.withLock { state in
      state.stopped = true
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.resume() }
  }

  private func untilStopped() async {
    await withCheckedContinuation { continuation in
      let done = state.withLock { state in
        if !state.stopped { state.waiters.append(continuation) }
        return state.stopped
      }
      if done { continuation.resume() }
    }
  }
}
