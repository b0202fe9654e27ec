// The dashboard's connections to Redis: one for everybody's commands; each stream reader makes its own, because it blocks.
import Logging
import Redis
import Shared

struct RedisLink: Sendable {
  let configuration: RedisConfiguration
  let commands: RedisConnection

  init(_ configuration: RedisConfiguration) {
    var named = configuration
    named.clientName = "muster-dashboard"
    self.configuration = named
    commands = RedisConnection(named)
  }

  /// A connection of its own for a reader that blocks.
  func reader(_ name: String) -> RedisConnection {
    var named = configuration
    named.clientName = "muster-dashboard-\(name)"
    return RedisConnection(named)
  }
}

/// Waits, ending at once when the loop is asked to stop. Returns false then.
func pause(_ duration: Duration) async -> Bool {
  do {
    try await Task.sleep(for: duration)
    return true
  } catch {
    return false
  }
}
