// Whether this server is still the master, as far as Sentinels go: what the server itself says, and what they say from time to time.
// Nothing is broken off: a server that is not to be used any more answers what it was asked, and then the link goes.

extension ConnectionOwner {
  /// Some jitter: 10,000 agents that connected at one moment do not ask at one moment.
  func planMasterCheck() {
    guard case .sentinel = configuration.address else { return }
    masterCheckAt = now + configuration.masterCheck * Double.random(in: 0.5...1.5)
  }

  /// Asks, when it is time. On a thread of its own, like every question to a Sentinel.
  func checkMaster() {
    guard let due = masterCheckAt, due <= now, case .ready = phase,
      case .sentinel(let name, let sentinels) = configuration.address
    else { return }
    masterCheckAt = nil
    let query = SentinelQuery(
      master: name, sentinels: sentinels, order: sentinelOrder, username: configuration.username,
      password: configuration.password, deadline: now + configuration.connectTimeout)
    let (mailbox, attempt, server) = (mailbox, attempt, server)
    let code = BackgroundThread.start(name: "redis-resolver") {
      _ = mailbox.post(.master(attempt: attempt, query.successor(of: server)))
    }
    if code != 0 { planMasterCheck() }
  }

  func checked(_ attempt: Int, _ successor: RedisConfiguration.Address?) {
    guard case .ready = phase, attempt == self.attempt else { return }
    if successor == nil { planMasterCheck() } else { isDemoted = true }
  }

  /// What only a server that was a master and is one no more says. It did nothing; who is the master now, the Sentinels know.
  func isRefusedByReplica(_ error: RedisReplyError) -> Bool {
    guard case .sentinel = configuration.address else { return false }
    switch error.code {
    case .readOnly, .masterDown, .unblocked: return true
    default: return false
    }
  }
}
