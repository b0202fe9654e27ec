// A link from nothing to ready and back: wait, resolve, open, greet, serve, lose. An attempt has one deadline for all of it.
import Glibc

extension ConnectionOwner {
  /// A link that lived this long was a good one: the next attempt follows at once. Else a server that takes connections and drops
  /// them would be hammered.
  private static let stableAfter = Duration.seconds(1)
  /// A server that loads its data is asked again at least this often.
  private static let loadingRetry = Duration.milliseconds(250)

  var socket: Socket? {
    switch phase {
    case .waiting, .resolving: nil
    case .opening(let socket, _, _), .greeting(let socket, _, _), .ready(let socket, _): socket
    }
  }

  var socketEvents: Int16 {
    switch phase {
    case .opening: Int16(POLLOUT)
    default: output.isEmpty ? Int16(POLLIN) : Int16(POLLIN | POLLOUT)
    }
  }

  /// When the link itself needs attention, whatever its calls want.
  var linkDeadline: MonotonicTime? {
    switch phase {
    case .waiting(let until): until
    case .resolving, .greeting: attemptDeadline
    case .opening(_, _, let deadline): deadline
    case .ready:
      // A blocking call's link goes with its deadline, also where something was read since (ASKING's reply): what the server popped later
      // would be dropped.
      inFlight.first.map { $0.call.isBlocking ? $0.call.deadline : max($0.call.sentAt, lastReadAt) + $0.call.patience }
    }
  }

  /// Does what is due by the clock.
  func advanceLink() {
    if isDemoted, inFlight.isEmpty { lose(.notMaster) }
    guard let deadline = linkDeadline, deadline <= now else { return }
    switch phase {
    case .waiting: startAttempt()
    case .resolving: failAttempt(.timedOut(operation: "resolving", after: configuration.connectTimeout))
    case .opening(_, let others, _):
      open(others, otherwise: .timedOut(operation: "connecting", after: configuration.connectTimeout))
    case .greeting: failAttempt(.timedOut(operation: "the greeting", after: configuration.connectTimeout))
    case .ready: lose(.timedOut(operation: "the server's silence", after: inFlight.first?.call.patience ?? .zero))
    }
  }

  func socketIsReady() {
    switch phase {
    case .waiting, .resolving: break
    case .opening(let socket, let others, _):
      if let fault = socket.connectFault() { open(others, otherwise: fault) } else { greet(socket) }
    case .greeting(let socket, _, _), .ready(let socket, _):
      // Reading first: a server that refuses says why before it closes.
      do throws(RedisFault) {
        try read(from: socket)
        try output.flush(to: socket)
      } catch {
        linkFailed(error)
      }
    }
  }

  // MARK: Attempts

  private func startAttempt() {
    attempt += 1
    attemptDeadline = now + configuration.connectTimeout
    // A link that was given up on purpose still takes calls; any other refuses them until it is ready.
    mailbox.publish(.connecting, refusal: isReopening ? nil : lastFault ?? .connecting)
    switch configuration.address {
    case .unix(let path):
      let addresses = SocketAddress(unixPath: path).map { [$0] } ?? []
      open(addresses, otherwise: .unresolvable(host: path, reason: "a unix socket's path has 1 to 107 bytes and no NUL"))
    case .tcp(let host, let port):
      if let addresses = SocketAddress.numeric(host: host, port: port) { return open(addresses, otherwise: .connecting) }
      let server = configuration.address
      resolve { SocketAddress.lookUp(host: host, port: port).map { Resolution(server: server, addresses: $0) } }
    case .sentinel(let master, let sentinels):
      let query = SentinelQuery(
        master: master, sentinels: sentinels, order: sentinelOrder, username: configuration.username,
        password: configuration.password, deadline: attemptDeadline)
      resolve { query.ask() }
    }
  }

  /// Whatever blocks happens on a thread of its own.
  private func resolve(_ find: @escaping @Sendable () -> Result<Resolution, RedisFault>) {
    phase = .resolving
    let (mailbox, attempt) = (mailbox, attempt)
    let code = BackgroundThread.start(name: "redis-resolver") { _ = mailbox.post(.resolved(attempt: attempt, find())) }
    if code != 0 { failAttempt(.system(operation: "pthread_create", errno: code)) }
  }

  func resolved(_ attempt: Int, _ result: Result<Resolution, RedisFault>) {
    guard case .resolving = phase, attempt == self.attempt else { return }
    switch result {
    case .success(let resolution):
      server = resolution.server
      sentinelOrder = resolution.sentinelOrder
      open(resolution.addresses, otherwise: .connecting)
    case .failure(let fault): failAttempt(fault)
    }
  }

  /// Tries the addresses one after the other, each with its share of the time that is left.
  private func open(_ addresses: [SocketAddress], otherwise fault: RedisFault) {
    var fault = fault
    for (index, address) in addresses.enumerated() {
      switch Socket.connect(to: address) {
      case .failure(let reason): fault = reason
      case .success((let socket, isConnected: true)): return greet(socket)
      case .success((let socket, isConnected: false)):
        let others = Array(addresses[(index + 1)...])
        let share = (attemptDeadline - now) / (others.count + 1)
        phase = .opening(socket, others: others, deadline: others.isEmpty ? attemptDeadline : now + share)
        return
      }
    }
    failAttempt(fault)
  }

  private func greet(_ socket: Socket) {
    guard let reader = ReplyReader() else { return failAttempt(.system(operation: "malloc", errno: ENOMEM)) }
    self.reader = reader
    output = OutputBuffer()
    loadedScripts = []
    isDemoted = false
    let greeting = Greeting(configuration)
    for command in greeting.commands { output.add(command, withSource: false) }
    phase = .greeting(socket, greeting, answered: 0)
    do throws(RedisFault) { try output.flush(to: socket) } catch { linkFailed(error) }
  }

  func becomeReady(_ socket: Socket) {
    phase = .ready(socket, since: now)
    lastFault = nil
    isReopening = false
    planMasterCheck()
    lastReadAt = now
    epoch += 1
    mailbox.publish(.connected(epoch: epoch), refusal: nil, server: server)
    for waiter in waiters { waiter.continuation.resume(returning: nil) }
    waiters = []
  }

  // MARK: Ends

  func linkFailed(_ fault: RedisFault) {
    if case .ready = phase { lose(fault) } else { failAttempt(fault) }
  }

  private func failAttempt(_ fault: RedisFault) {
    failuresInARow += 1
    isReopening = false
    retreat(fault)
    let isLoading = if case .refused(let error) = fault { error.code == .loading } else { false }
    guard !isLoading else { return }
    for waiter in waiters where waiter.untilFirstFailure { waiter.continuation.resume(returning: fault) }
    waiters.removeAll(where: \.untilFirstFailure)
  }

  /// A ready link has ended.
  func lose(_ fault: RedisFault) {
    guard case .ready(_, let since) = phase else { return }
    failuresInARow = now - since >= Self.stableAfter ? 0 : failuresInARow + 1
    retreat(fault)
  }

  /// Drops the link and at once opens another, for a call that must not be answered any more. Calls are taken meanwhile.
  func reopen() {
    isReopening = true
    masterCheckAt = nil
    phase = .waiting(until: now)
    mailbox.publish(.connecting, refusal: nil)
    failCalls(.cancelled, keepWaiting: true)
    advanceLink()
  }

  private func retreat(_ fault: RedisFault) {
    let isLoading = if case .refused(let error) = fault { error.code == .loading } else { false }
    var delay = configuration.backoff.delay(afterFailures: failuresInARow)
    if isLoading { delay = min(delay, Self.loadingRetry) }
    phase = .waiting(until: now + delay)
    isDemoted = false
    masterCheckAt = nil
    lastFault = fault
    // First refuse new calls, then fail the old ones: whoever tries again at once is told the same.
    mailbox.publish(.down(fault, retryWithin: delay), refusal: fault)
    failCalls(fault, keepWaiting: false)
  }
}
