// What a connection tells those who watch it.

/// How a connection stands.
public enum ConnectionState: Sendable, Equatable {
  /// An attempt is under way.
  case connecting
  /// Commands are taken. `epoch` counts connections made: a new one means the server knows nothing of this client any more.
  case connected(epoch: Int)
  /// Commands fail at once; the next attempt follows within `retryWithin`.
  case down(RedisFault, retryWithin: Duration)
  /// `close()` was called.
  case closed(RedisFault)
}
