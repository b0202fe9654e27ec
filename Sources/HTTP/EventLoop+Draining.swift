// The orderly end: no new connections, idle ones closed, answers under way finished, and a bound on all of it.

extension EventLoop {
  /// How long cancelled tasks have to answer before their connections are cut.
  private static let lastGrace: UInt64 = 500_000_000

  func beginDraining() {
    guard !isDraining else { return }
    isDraining = true
    drainEnd = now + limits.drain.nanoseconds
    if acceptor != nil {
      acceptor?.stop(now: now)
      for other in shared.handles where other !== handle { other.mailbox.post(.drain) }
    }
    for connection in connections {
      guard let connection else { continue }
      switch connection.phase {
      // A request may lie in the socket already: it is still answered.
      case .reading: connection.isReadable = true
      case .streaming: tellStreamToDrain(connection)
      default: break
      }
      advance(connection)
    }
  }

  func tellStreamToDrain(_ connection: Connection) {
    connection.channel?.drain()
    if connection.endsOnDrain { connection.task?.cancel() }
  }

  /// First cancels the tasks that are not done in time, then cuts what is left.
  func drainIfDue() {
    guard now >= drainEnd else { return }
    for connection in connections {
      guard let connection else { continue }
      if drainTasksCancelled || connection.task == nil {
        destroy(connection)
      } else {
        connection.task?.cancel()
      }
    }
    drainTasksCancelled = true
    drainEnd = now + Self.lastGrace
  }
}
