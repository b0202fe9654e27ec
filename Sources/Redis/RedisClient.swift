// What callers use, wherever Redis is: one server, the master behind Sentinels, or a Cluster. With one server it is that server's one
// connection and nothing more.
// Words that matter in a Cluster: a client has a `home`, the key whose node it is about. Its state and `connected(within:)` are that node's
// (or all masters', with `watchesAll`), commands without a key go there.

/// A client of one Redis, whatever it consists of. The meaning of calls, errors and epochs is `RedisConnection`'s.
public final class RedisClient: Sendable {
  private enum Mode {
    case one(RedisConnection)
    case cluster(ClusterRouter)
  }

  public let configuration: RedisConfiguration
  private let mode: Mode

  /// Begins to connect.
  /// - Parameters:
  ///   - home: a key; matters in a Cluster only.
  ///   - watchesAll: in a Cluster, stay connected to every master and be `connected` only while all of them are.
  public init(_ configuration: RedisConfiguration, home: some RedisArgument, watchesAll: Bool = false) {
    self.configuration = configuration
    if configuration.cluster.isEmpty {
      mode = .one(RedisConnection(configuration))
    } else {
      let key = RedisCommand("HOME", home).routingKey ?? []
      mode = .cluster(ClusterRouter(configuration, home: key, watchesAll: watchesAll))
    }
  }

  /// Whether keys live on several servers.
  public var isCluster: Bool {
    if case .cluster = mode { true } else { false }
  }

  // MARK: Commands

  /// As `RedisConnection.send`.
  public func send(_ command: RedisCommand, timeout: Duration? = nil) async throws(RedisError) -> RedisValue {
    switch mode {
    case .one(let connection): return try await connection.send(command, timeout: timeout)
    case .cluster: return try await single(command, timeout: timeout ?? configuration.commandTimeout, isBlocking: false)
    }
  }

  /// As `RedisConnection.blocking`; in a Cluster it has the connection to its key's node to itself.
  public func blocking(_ command: RedisCommand, for limit: Duration) async throws(RedisError) -> RedisValue {
    switch mode {
    case .one(let connection): return try await connection.blocking(command, for: limit)
    case .cluster: return try await single(command, timeout: limit + configuration.commandTimeout, isBlocking: true)
    }
  }

  /// As `RedisConnection.pipeline`; in a Cluster "nothing between them" holds for each node by itself.
  public func pipeline(_ commands: [RedisCommand], timeout: Duration? = nil) async throws(RedisError) -> [RedisValue] {
    var values: [RedisValue] = []
    values.reserveCapacity(commands.count)
    for outcome in await outcomes(of: commands, timeout: timeout) { values.append(try outcome.get()) }
    return values
  }

  /// As `RedisConnection.outcomes`.
  public func outcomes(of commands: [RedisCommand], timeout: Duration? = nil) async -> [Result<RedisValue, RedisError>] {
    switch mode {
    case .one(let connection): return await connection.outcomes(of: commands, timeout: timeout)
    case .cluster(let router):
      return await router.outcomes(of: commands, timeout: timeout ?? configuration.commandTimeout, isBlocking: false)
    }
  }

  private func single(_ command: RedisCommand, timeout: Duration, isBlocking: Bool) async throws(RedisError) -> RedisValue {
    guard case .cluster(let router) = mode,
      let outcome = await router.outcomes(of: [command], timeout: timeout, isBlocking: isBlocking).first
    else { throw .notSent(.closed) }
    let value = try outcome.get()
    if case .error(let error) = value { throw .reply(error) }
    return value
  }

  /// Every server that holds keys, for what concerns a server rather than a key (`INFO`, `SCAN`): one, or a Cluster's masters.
  public func servers() -> [RedisConnection] {
    switch mode {
    case .one(let connection): return [connection]
    case .cluster(let router):
      let masters = router.state.withLock { $0.map?.masters ?? [] }
      return masters.map { router.connection(to: $0) }
    }
  }

  // MARK: The connection itself

  /// Waits until it is connected; throws the latest reason once `limit` has passed.
  public func connected(within limit: Duration) async throws(RedisError) {
    switch mode {
    case .one(let connection): return try await connection.connected(within: limit)
    case .cluster(let router):
      if case .connected = router.standing { return }
      let last = await withTaskGroup(of: ConnectionState?.self) { tasks in
        tasks.addTask {
          for await state in router.states() {
            if case .connected = state { return state }
            if case .closed = state { return state }
          }
          return nil
        }
        tasks.addTask {
          // The limit of the waiting beside it; whoever is first cancels the other.
          try? await Task.sleep(for: limit)
          return nil
        }
        defer { tasks.cancelAll() }
        return await tasks.next() ?? nil
      }
      if case .connected? = last { return }
      if Task.isCancelled { throw .notSent(.cancelled) }
      switch state {
      case .connected: return
      case .connecting: throw .notSent(.timedOut(operation: "connecting", after: limit))
      case .down(let fault, _), .closed(let fault): throw .notSent(fault)
      }
    }
  }

  /// Grows whenever the server may have forgotten what it was told: a new connection, a new master, in a Cluster also a node that was used
  /// and was lost.
  public var epoch: Int {
    switch mode {
    case .one(let connection): connection.epoch
    case .cluster(let router): router.epoch
    }
  }

  public var state: ConnectionState {
    switch mode {
    case .one(let connection): connection.state
    case .cluster(let router): router.standing
    }
  }

  /// As `RedisConnection.states`.
  public func states() -> AsyncStream<ConnectionState> {
    switch mode {
    case .one(let connection): connection.states()
    case .cluster(let router): router.states()
    }
  }

  /// The server that holds `home`, as far as known.
  public var server: RedisConfiguration.Address? {
    switch mode {
    case .one(let connection): connection.server
    case .cluster(let router): router.state.withLock { $0.map?.owner(of: router.home) }
    }
  }

  /// For people: which kind of Redis this is, and where.
  public var whereabouts: String {
    switch mode {
    case .one(let connection):
      guard case .sentinel(let master, _) = configuration.address else { return "\(configuration.address)" }
      let server = connection.server.map { "\($0)" } ?? "not found yet"
      return "\(server), the master \"\(master)\" by Sentinel"
    case .cluster(let router):
      let masters = router.state.withLock { $0.map?.masters ?? [] }.map(\.description).sorted()
      return masters.isEmpty ? "a Cluster, not found yet" : "a Cluster of \(masters.joined(separator: ", "))"
    }
  }

  /// As `RedisConnection.close`.
  public func close() async {
    switch mode {
    case .one(let connection): await connection.close()
    case .cluster(let router): await router.close()
    }
  }
}
