// Deadlines: what a connection waits for decides its limit.

extension EventLoop {
  /// Sets the deadline from the present state. Called at the end of every `advance`.
  func arm(_ connection: Connection) {
    let (wait, limit) = self.wait(of: connection)
    if wait != connection.wait {
      connection.wait = wait
      connection.since = now
    }
    let deadline = limit.map { connection.since + $0.nanoseconds } ?? .max
    timers.set(&connection.alarm, of: connection.ticket, to: deadline)
  }

  private func wait(of connection: Connection) -> (Connection.Wait, Duration?) {
    switch connection.phase {
    case .reading:
      if !connection.output.isEmpty { return (.room, limits.writeStall) }
      if connection.parser.isInBody { return (.body, limits.bodyIdle) }
      if !connection.carry.isEmpty { return (.head, limits.headTimeout) }
      return (.idle, limits.idle)
    case .waiting: return connection.peerClosed ? (.halfClosed, limits.halfClosedGrace) : (.nothing, nil)
    case .streaming:
      if connection.peerClosed { return (.halfClosed, limits.halfClosedGrace) }
      return connection.output.isEmpty ? (.nothing, nil) : (.room, limits.writeStall)
    case .finishing: return (.room, limits.writeStall)
    case .lingering: return (.linger, isDraining ? min(limits.linger, .seconds(1)) : limits.linger)
    case .dead: return (.nothing, nil)
    }
  }

  func fireTimers() {
    while let (at, ticket) = timers.popDue(now) {
      guard let connection = connection(ticket) else { continue }
      if timers.cameUp(at: at, &connection.alarm, of: ticket, now: now) { expire(connection) }
    }
  }

  private func expire(_ connection: Connection) {
    switch connection.wait {
    case .nothing: break
    case .idle, .halfClosed, .linger: destroy(connection)
    // Its unsent bytes go with it instead of waiting in the kernel.
    case .room: destroy(connection, reset: true)
    case .head:
      refuse(HTTPFault(.requestTimeout, "The request's head did not arrive within \(limits.headTimeout)."), on: connection)
      advance(connection)
    case .body:
      refuse(HTTPFault(.requestTimeout, "Nothing of the request's body arrived for \(limits.bodyIdle)."), on: connection)
      advance(connection)
    }
  }
}
