// Calls: taken, encoded into the shared pipeline, answered, given up.
import DequeModule

extension ConnectionOwner {
  // MARK: Taking and giving up

  func accept(_ submission: Submission) {
    let call = PendingCall(submission)
    // The link may have ended since the mailbox took the call.
    if isClosing || !takesCalls { return call.finish(otherwise: .notSent(isClosing ? .closed : lastFault ?? .connecting)) }
    waiting.append(call)
    noteDeadline(call.deadline)
  }

  private var takesCalls: Bool {
    if case .ready = phase { true } else { isReopening }
  }

  func accept(_ waiter: Waiter) {
    if case .ready = phase { waiter.continuation.resume(returning: nil) } else { waiters.append(waiter) }
  }

  private func noteDeadline(_ deadline: MonotonicTime) {
    earliestCallDeadline = min(earliestCallDeadline ?? deadline, deadline)
  }

  func cancel(_ ids: Set<UInt64>) {
    for waiter in waiters where ids.contains(waiter.id) { waiter.continuation.resume(returning: .cancelled) }
    waiters.removeAll { ids.contains($0.id) }
    for call in waiting where ids.contains(call.id) { call.finish(otherwise: .notSent(.cancelled)) }
    waiting.removeAll(where: \.isFinished)
    if let call = inFlight.first?.call, call.isBlocking, ids.contains(call.id) { return cancelBlocking(call) }
    for entry in inFlight where ids.contains(entry.call.id) { entry.call.finish(otherwise: .outcomeUnknown(.cancelled)) }
  }

  /// The server may serve a blocking command at any time: the link has to go. A reply that is here already is not thrown away.
  private func cancelBlocking(_ call: PendingCall) {
    // The link goes in any case, and there will be no other.
    if isClosing { return call.finish(otherwise: .outcomeUnknown(.cancelled)) }
    guard case .ready(let socket, _) = phase else { return }
    do throws(RedisFault) { try read(from: socket) } catch { return linkFailed(error) }
    guard !call.isFinished else { return }
    reopen()
  }

  func expireCalls() {
    for waiter in waiters where waiter.deadline.map({ $0 <= now }) ?? false {
      waiter.continuation.resume(returning: lastFault ?? .timedOut(operation: "connecting", after: configuration.connectTimeout))
    }
    waiters.removeAll { $0.deadline.map { $0 <= now } ?? false }

    if waiting.isEmpty && inFlight.isEmpty { earliestCallDeadline = nil }
    guard let earliest = earliestCallDeadline, earliest <= now else { return }
    earliestCallDeadline = nil
    for call in waiting {
      if call.deadline <= now {
        call.finish(
          otherwise: .notSent(.timedOut(operation: "\(call.commands.first?.name ?? "") in the queue", after: call.timeout)))
      } else {
        noteDeadline(call.deadline)
      }
    }
    waiting.removeAll(where: \.isFinished)
    for call in inFlight.lazy.map(\.call) where !call.isFinished {
      if call.deadline <= now {
        call.finish(otherwise: .outcomeUnknown(.timedOut(operation: call.commands.first?.name ?? "", after: call.timeout)))
      } else {
        noteDeadline(call.deadline)
      }
    }
  }

  /// Ends everything that was under way on a link that is gone.
  func failCalls(_ fault: RedisFault, keepWaiting: Bool) {
    for entry in inFlight {
      entry.call.record(.failure(entry.end <= output.sent ? .outcomeUnknown(fault) : .notSent(fault)), at: entry.index)
    }
    inFlight.removeAll()
    guard !keepWaiting else { return }
    for call in waiting { call.finish(otherwise: .notSent(fault)) }
    waiting.removeAll()
  }

  // MARK: Sending

  /// Encodes what may go and gives it to the socket in one write.
  func pump() {
    guard case .ready(let socket, _) = phase, !isDemoted else { return }
    while let call = waiting.first, !output.isFull, inFlight.isEmpty || !(call.isBlocking || holdsOthersBack) {
      waiting.removeFirst()
      call.sentAt = now
      if call.isBlocking {
        call.deadline = now + call.patience
        noteDeadline(call.deadline)
      }
      for index in call.commands.indices { encode(call, index, withSource: false) }
    }
    do throws(RedisFault) { try output.flush(to: socket) } catch { sendFailed(error, socket) }
  }

  private var holdsOthersBack: Bool { inFlight.first?.call.isBlocking ?? false }

  private func encode(_ call: PendingCall, _ index: Int, withSource: Bool) {
    let command = call.commands[index]
    var withSource = withSource || command.carriesSource
    if let script = command.script, loadedScripts.insert(script).inserted { withSource = true }
    output.add(command, withSource: withSource)
    inFlight.append(InFlight(call: call, index: index, end: output.added, withSource: withSource))
  }

  /// Replies that came before the connection broke are still good.
  private func sendFailed(_ fault: RedisFault, _ socket: Socket) {
    do throws(RedisFault) { try read(from: socket) } catch {}
    linkFailed(fault)
  }

  // MARK: Replies

  /// Reads what is there, up to about a megabyte.
  func read(from socket: Socket) throws(RedisFault) {
    for _ in 0..<16 {
      guard let count = try socket.receive(into: inputBuffer) else { return }
      lastReadAt = now
      try reader?.feed(UnsafeRawBufferPointer(rebasing: inputBuffer[..<count])) { (value) throws(RedisFault) in try take(value) }
      if count < inputBuffer.count { return }
    }
  }

  private func take(_ reply: RedisValue) throws(RedisFault) {
    if case .greeting(let socket, let greeting, let answered) = phase {
      if let fault = greeting.fault(in: reply, toCommand: answered) { throw fault }
      let isLast = answered + 1 == greeting.commands.count
      if isLast { becomeReady(socket) } else { phase = .greeting(socket, greeting, answered: answered + 1) }
      return
    }
    guard let entry = inFlight.popFirst() else { throw .protocolViolation("a reply to nothing: \(reply)") }
    if let error = reply.error, isRefusedByReplica(error) {
      isDemoted = true
      return entry.call.record(.failure(.notSent(.notMaster)), at: entry.index)
    }
    // A server that sends elsewhere has not read the script.
    if let error = reply.error, entry.withSource, error.isRedirection, let script = entry.call.commands[entry.index].script {
      loadedScripts.remove(script)
    }
    // NOSCRIPT means that nothing ran, so sending the source repeats nothing; for a caller that has gone on, nothing is sent again.
    let isUnknownScript = reply.error?.code == .noScript && entry.call.commands[entry.index].script != nil
    if isUnknownScript, !entry.withSource, !entry.call.isFinished {
      encode(entry.call, entry.index, withSource: true)
    } else {
      entry.call.record(.success(reply.naming(entry.call.commands[entry.index])), at: entry.index)
    }
  }
}
