// What everybody may reach of a connection: messages to its owner thread, and what the owner has published.
// Invariants: the owner is woken only when it sleeps; messages are taken in the order in which they were posted; once finished,
// a mailbox takes no more messages, and whoever posts one is told so. Without an owner (`setUpFault`) nobody waits in it. Watchers are told
// outside the lock: whoever is cancelled while it waits holds a lock of the runtime and wants this one (`onTermination`), and telling it wants
// that one. Only one thread at a time publishes, so they hear everything in order all the same.
import CHiredis
import Glibc
import Synchronization

typealias Outcome = Result<RedisValue, RedisError>

enum Message: Sendable {
  case submit(Submission)
  /// The task behind a call or a waiter is no longer interested.
  case cancel(id: UInt64)
  case wait(Waiter)
  case resolved(attempt: Int, Result<Resolution, RedisFault>)
  /// Sentinels mean this one now, and it says that it is a master; nil: nothing new.
  case master(attempt: Int, RedisConfiguration.Address?)
  case close(CheckedContinuation<Void, Never>?)
}

/// Where an attempt goes to.
struct Resolution: Sendable {
  var server: RedisConfiguration.Address
  var addresses: [SocketAddress]
  /// In which order to ask the Sentinels next time.
  var sentinelOrder: [Int] = []
}

/// A call on its way to the owner.
struct Submission: Sendable {
  let id: UInt64
  let commands: [RedisCommand]
  let timeout: Duration
  let deadline: MonotonicTime
  /// How long the server may be silent while this call is the oldest one without its reply.
  let patience: Duration
  /// Whether it waits on the server by intention: it then has the connection to itself.
  let isBlocking: Bool
  let continuation: CheckedContinuation<[Outcome], Never>
}

/// Somebody who waits for a connection.
struct Waiter: Sendable {
  let id: UInt64
  let deadline: MonotonicTime?
  /// Whether the first failed attempt ends the wait.
  let untilFirstFailure: Bool
  let continuation: CheckedContinuation<RedisFault?, Never>
}

final class Mailbox: Sendable {
  fileprivate struct State {
    var messages: [Message] = []
    var ownerSleeps = false
    var isFinished = false
    /// Why there is no owner, which is tried again.
    var setUpFault: RedisFault?
    var connection = ConnectionState.connecting
    /// Why calls are refused at once; nil while they are taken.
    var refusal: RedisFault? = .connecting
    var epoch = 0
    var server: RedisConfiguration.Address?
    var watchers: [UInt64: AsyncStream<ConnectionState>.Continuation] = [:]
  }

  private let state = Mutex(State())
  private let lastID = Atomic<UInt64>(0)
  private let eventDescriptor = Atomic<Int32>(-1)
  private let makeDescriptor: @Sendable () -> Int32

  /// - Parameter makeDescriptor: an eventfd, or -1 and errno.
  init(makeDescriptor: @escaping @Sendable () -> Int32 = { chiredis_eventfd() }) { self.makeDescriptor = makeDescriptor }

  deinit { if wakeDescriptor >= 0 { close(wakeDescriptor) } }

  /// -1 as long as none could be had.
  var wakeDescriptor: Int32 { eventDescriptor.load(ordering: .acquiring) }

  func nextID() -> UInt64 { lastID.add(1, ordering: .relaxed).newValue }

  // MARK: For everybody

  var connection: ConnectionState { state.withLock { $0.connection } }
  var epoch: Int { state.withLock { $0.epoch } }
  var server: RedisConfiguration.Address? { state.withLock { $0.server } }

  /// False where nobody would handle it: once finished, and without an owner.
  func post(_ message: Message) -> Bool {
    let (taken, wake) = state.withLock { state in
      guard !state.isFinished, state.setUpFault == nil else { return (false, false) }
      return (true, state.add(message))
    }
    if wake { wakeOwner() }
    return taken
  }

  /// Posts a call, unless calls are refused now; then says why.
  func submit(_ submission: Submission) -> RedisFault? {
    let (refusal, wake) = state.withLock { state in
      if let refusal = state.refusal { return (RedisFault?.some(refusal), false) }
      return (nil, state.add(.submit(submission)))
    }
    if wake { wakeOwner() }
    return refusal
  }

  /// The present state, then each change. A slow reader misses old ones first.
  func states() -> AsyncStream<ConnectionState> {
    let (stream, continuation) = AsyncStream.makeStream(of: ConnectionState.self, bufferingPolicy: .bufferingNewest(16))
    let id = nextID()
    continuation.onTermination = { [weak self] _ in self?.state.withLock { _ = $0.watchers.removeValue(forKey: id) } }
    let isFinished = state.withLock { state in
      continuation.yield(state.connection)
      if !state.isFinished { state.watchers[id] = continuation }
      return state.isFinished
    }
    if isFinished { continuation.finish() }
    return stream
  }

  private func wakeOwner() { _ = eventfd_write(wakeDescriptor, 1) }

  // MARK: For whoever makes the owner

  /// Why there is no owner now; nil: there is one, or there will never be one again.
  var setUpFault: RedisFault? { state.withLock { $0.isFinished ? nil : $0.setUpFault } }

  /// What an owner needs. One caller at a time.
  /// - Returns: why it cannot be had.
  func prepare() -> RedisFault? {
    guard wakeDescriptor < 0 else { return nil }
    let descriptor = makeDescriptor()
    guard descriptor >= 0 else { return .system(operation: "eventfd", errno: errno) }
    eventDescriptor.store(descriptor, ordering: .releasing)
    return nil
  }

  /// An owner is about to run. False once finished.
  func claim() -> Bool {
    state.withLock { state in
      guard !state.isFinished else { return false }
      state.setUpFault = nil
      return true
    }
  }

  /// Finishes it unless an owner is there, who then has to do it. Returns whether it is finished.
  func finishWithoutOwner() -> Bool {
    let (isFinished, watchers) = state.withLock { state -> (Bool, [AsyncStream<ConnectionState>.Continuation]) in
      guard !state.isFinished, state.setUpFault != nil else { return (state.isFinished, []) }
      return (true, state.finish(.closed).watchers)
    }
    tell(watchers, .closed)
    return isFinished
  }

  /// There is none after all. Returns the messages that nobody will handle.
  func disclaim(_ fault: RedisFault, retryWithin: Duration) -> [Message] {
    publish(.down(fault, retryWithin: retryWithin), refusal: fault)
    return state.withLock { state in
      state.setUpFault = fault
      defer { state.messages = [] }
      return state.messages
    }
  }

  // MARK: For the owner

  /// Moves all messages into `messages`, which must be empty.
  func take(into messages: inout [Message]) {
    state.withLock { state in
      state.ownerSleeps = false
      swap(&state.messages, &messages)
    }
  }

  /// True if nothing waits: the next message will then wake the owner.
  func prepareToSleep() -> Bool {
    state.withLock { state in
      state.ownerSleeps = state.messages.isEmpty
      return state.ownerSleeps
    }
  }

  func drainWakeups() {
    var count: eventfd_t = 0
    _ = eventfd_read(wakeDescriptor, &count)
  }

  /// Shows a new state; `refusal` nil: calls are taken. Nothing is shown, and nothing taken, once finished: nobody would answer.
  func publish(_ connection: ConnectionState, refusal: RedisFault?, server: RedisConfiguration.Address? = nil) {
    let watchers = state.withLock { state -> [AsyncStream<ConnectionState>.Continuation] in
      guard !state.isFinished else { return [] }
      state.connection = connection
      if let server { state.server = server }
      state.refusal = refusal
      if case .connected(let epoch) = connection { state.epoch = epoch }
      return Array(state.watchers.values)
    }
    for watcher in watchers { watcher.yield(connection) }
  }

  /// The last publication; returns the messages that nobody will handle any more.
  func finish(_ fault: RedisFault) -> [Message] {
    let (rest, watchers) = state.withLock { $0.finish(fault) }
    tell(watchers, fault)
    return rest
  }

  private func tell(_ watchers: [AsyncStream<ConnectionState>.Continuation], _ fault: RedisFault) {
    for watcher in watchers {
      watcher.yield(.closed(fault))
      watcher.finish()
    }
  }
}

extension Mailbox.State {
  mutating func finish(
    _ fault: RedisFault
  ) -> (messages: [Message], watchers: [AsyncStream<ConnectionState>.Continuation]) {
    defer { (messages, watchers) = ([], [:]) }
    isFinished = true
    connection = .closed(fault)
    refusal = fault
    return (messages, Array(watchers.values))
  }

  /// True where the owner has to be woken.
  mutating func add(_ message: Message) -> Bool {
    messages.append(message)
    defer { ownerSleeps = false }
    return ownerSleeps
  }
}
