// One connection to one server for any number of concurrent callers. All of its work is done by one owner thread
// (`ConnectionOwner`); this is the handle, and dropping the last one closes the connection.

/// A connection that makes itself again whenever it is lost.
///
/// Calls made at the same time share one pipeline: whatever is queued leaves in one write. While the connection is down they
/// fail at once with `RedisError.notSent`; `connected(within:)` waits for it, `states()` tells of every change. No call is
/// ever repeated on its own.
public final class RedisConnection: Sendable {
  public let configuration: RedisConfiguration
  private let mailbox: Mailbox

  /// Begins to connect. Where not even a thread or a descriptor can be had, it is down, and that is tried again like anything else.
  public convenience init(_ configuration: RedisConfiguration) { self.init(configuration, mailbox: Mailbox()) }

  init(_ configuration: RedisConfiguration, mailbox: Mailbox) {
    self.configuration = configuration
    self.mailbox = mailbox
    if Self.setUp(configuration, mailbox, failures: 0) { return }
    Task { [weak mailbox] in
      var failures = 1
      while mailbox?.setUpFault != nil {
        // Nothing tells when others have let go of descriptors or threads. Nobody cancels this task; closing ends it.
        try? await Task.sleep(for: configuration.backoff.delay(afterFailures: failures))
        guard let mailbox, mailbox.setUpFault != nil else { return }
        if Self.setUp(configuration, mailbox, failures: failures) { return }
        failures += 1
      }
    }
  }

  /// - Returns: false where it has to be tried again.
  private static func setUp(_ configuration: RedisConfiguration, _ mailbox: Mailbox, failures: Int) -> Bool {
    guard mailbox.claim() else { return true }
    var fault = mailbox.prepare()
    if fault == nil {
      let code = BackgroundThread.start(name: "redis") { ConnectionOwner(configuration: configuration, mailbox: mailbox).run() }
      if code != 0 { fault = .system(operation: "pthread_create", errno: code) }
    }
    guard let fault else { return true }
    var isClosing = false
    for message in mailbox.disclaim(fault, retryWithin: configuration.backoff.delay(afterFailures: failures)) {
      switch message {
      case .wait(let waiter): waiter.continuation.resume(returning: fault)
      case .submit(let call): call.continuation.resume(returning: call.commands.map { _ in .failure(.notSent(fault)) })
      case .close(let continuation):
        isClosing = true
        continuation?.resume()
      case .cancel, .resolved, .master: break
      }
    }
    if isClosing { _ = mailbox.finish(.closed) }
    return isClosing
  }

  deinit { end(nil) }

  private func end(_ continuation: CheckedContinuation<Void, Never>?) {
    while !mailbox.post(.close(continuation)) {
      if mailbox.finishWithoutOwner() {
        continuation?.resume()
        return
      }
    }
  }

  // MARK: Commands

  /// Sends one command and waits for its reply; an error reply is thrown as `RedisError.reply`.
  /// - Parameter timeout: from now to the reply; the configuration's `commandTimeout` where nil.
  public func send(_ command: RedisCommand, timeout: Duration? = nil) async throws(RedisError) -> RedisValue {
    try await single(command, timeout: timeout ?? configuration.commandTimeout, isBlocking: false)
  }

  /// Sends a command that may wait on the server for up to `limit` (`BLPOP`, `XREAD BLOCK` …; the command itself has to say so too).
  /// It has the connection to itself: other calls wait until it returns.
  ///
  /// Cancelling the task ends the call at once; as the server could still answer, the connection is dropped and made anew, and
  /// calls made meanwhile wait for that. An element that the server popped in that very moment is lost: do not block on
  /// anything that may not be.
  public func blocking(_ command: RedisCommand, for limit: Duration) async throws(RedisError) -> RedisValue {
    try await single(command, timeout: limit + configuration.commandTimeout, isBlocking: true)
  }

  /// Runs a script, whose error replies are thrown as `RedisError.reply`.
  public func run(
    _ script: RedisScript, keys: [any RedisArgument], _ arguments: [any RedisArgument] = [], timeout: Duration? = nil
  ) async throws(RedisError) -> RedisValue {
    try await send(script.call(keys: keys, arguments), timeout: timeout)
  }

  /// Sends commands (and script calls) together, with nothing of others between them, and returns their replies; error replies are
  /// values. Where any reply is missing, throws the first such error: use `outcomes` to learn of each.
  public func pipeline(_ commands: [RedisCommand], timeout: Duration? = nil) async throws(RedisError) -> [RedisValue] {
    var values: [RedisValue] = []
    values.reserveCapacity(commands.count)
    for outcome in await outcomes(of: commands, timeout: timeout) { values.append(try outcome.get()) }
    return values
  }

  /// As `pipeline`, but what became of each command: its reply, or why there is none. When a connection dies half way, the replies
  /// that came are known, what was sent is `outcomeUnknown`, and what was not is `notSent`.
  public func outcomes(of commands: [RedisCommand], timeout: Duration? = nil) async -> [Result<RedisValue, RedisError>] {
    await submit(commands, timeout: timeout ?? configuration.commandTimeout, isBlocking: false)
  }

  private func single(_ command: RedisCommand, timeout: Duration, isBlocking: Bool) async throws(RedisError) -> RedisValue {
    guard let outcome = await submit([command], timeout: timeout, isBlocking: isBlocking).first else { throw .notSent(.closed) }
    let value = try outcome.get()
    if case .error(let error) = value { throw .reply(error) }
    return value
  }

  func submit(_ commands: [RedisCommand], timeout: Duration, isBlocking: Bool) async -> [Outcome] {
    guard !commands.isEmpty else { return [] }
    if let command = commands.first(where: \.breaksPairing) {
      return commands.map { _ in .failure(.notSent(.unsupported(command: command.name))) }
    }
    let id = mailbox.nextID()
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let submission = Submission(
          id: id, commands: commands, timeout: timeout, deadline: .now + timeout,
          patience: max(timeout, configuration.commandTimeout),
          isBlocking: isBlocking, continuation: continuation)
        if let refusal = mailbox.submit(submission) {
          continuation.resume(returning: commands.map { _ in .failure(.notSent(refusal)) })
        } else if Task.isCancelled {
          // The handler may have run before the call was there.
          _ = mailbox.post(.cancel(id: id))
        }
      }
    } onCancel: {
      _ = mailbox.post(.cancel(id: id))
    }
  }

  // MARK: The connection itself

  /// Waits for the attempt that is under way (or the next one) and throws why it failed; the connection goes on trying. A server
  /// that still loads its data is waited for.
  public func connect() async throws(RedisError) {
    try await wait(deadline: nil, untilFirstFailure: true)
  }

  /// Waits until there is a connection; throws the latest reason once `limit` has passed.
  public func connected(within limit: Duration) async throws(RedisError) {
    try await wait(deadline: .now + limit, untilFirstFailure: false)
  }

  func wait(deadline: MonotonicTime?, untilFirstFailure: Bool) async throws(RedisError) {
    while true {
      if let fault = mailbox.setUpFault {
        let left = deadline.map { $0 - .now } ?? .seconds(1)
        guard !untilFirstFailure, left > .zero else { throw .notSent(fault) }
        // Until the next try to set it up, which tells nobody.
        do { try await Task.sleep(for: min(left, .milliseconds(50))) } catch { throw .notSent(.cancelled) }
      }
      guard let fault = await outcome(deadline, untilFirstFailure) else { return }
      if fault == .closed {
        if case .closed = state { throw .notSent(fault) }
        // It was not taken, and an owner has come just then.
        continue
      }
      // Without an owner nobody waited.
      guard mailbox.setUpFault != nil, !untilFirstFailure else { throw .notSent(fault) }
    }
  }

  private func outcome(_ deadline: MonotonicTime?, _ untilFirstFailure: Bool) async -> RedisFault? {
    let id = mailbox.nextID()
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let waiter = Waiter(id: id, deadline: deadline, untilFirstFailure: untilFirstFailure, continuation: continuation)
        if !mailbox.post(.wait(waiter)) {
          continuation.resume(returning: mailbox.setUpFault ?? .closed)
        } else if Task.isCancelled {
          _ = mailbox.post(.cancel(id: id))
        }
      }
    } onCancel: {
      _ = mailbox.post(.cancel(id: id))
    }
  }

  /// How often a connection was made. Whoever registers something on the server registers it again when this grows.
  public var epoch: Int { mailbox.epoch }

  public var state: ConnectionState { mailbox.connection }

  /// The server of the latest connection: with Sentinels, the master that they named. Nil before the first.
  public var server: RedisConfiguration.Address? { mailbox.server }

  /// The present state, then every change until the connection is closed. A reader that falls behind misses the oldest.
  public func states() -> AsyncStream<ConnectionState> { mailbox.states() }

  /// Ends the connection for good; returns once its socket is closed. Calls in flight end with `outcomeUnknown(.closed)`.
  public func close() async {
    await withCheckedContinuation { end($0) }
  }
}
