// The dashboard's clients of Redis: one for everybody's commands; each stream reader makes its own, because it blocks. In a Cluster the
// first is connected to every master, a reader to the one that holds its stream.
import Logging
import Redis
import Shared

struct RedisLink: Sendable {
  let configuration: RedisConfiguration
  let commands: RedisClient

  init(_ configuration: RedisConfiguration) {
    var named = configuration
    named.clientName = "muster-dashboard"
    self.configuration = named
    commands = RedisClient(named, home: Keys.dashboard, watchesAll: true)
  }

  /// A client of its own for a reader that blocks on a stream.
  func reader(_ name: String, of stream: String) -> RedisClient {
    var named = configuration
    named.clientName = "muster-dashboard-\(name)"
    return RedisClient(named, home: stream)
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
