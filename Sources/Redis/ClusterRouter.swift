// A Cluster as one server: the map of its slots, one connection to each node that is needed, and a state for the whole.
// Connections are opened when something goes to a node, and let go when nothing did for a while; `home`, the node that holds the caller's own
// keys, is always connected, and with `watchesAll` every master is.
//
// What the epoch counts: a node that was in use was lost and is back, or slots of a node in use have another owner now. Either may have
// forgotten its last writes (replication is asynchronous), so whoever registers something does it again. A slot that was moved in peace
// counts too: that is not told apart, and costs one registration. The epoch has grown before the first call reaches the other server: it is
// put together from the connections' own when it is asked for.
//
// Calls are in `ClusterRouter+Calls.swift`, the map is kept by `ClusterRouter+Map.swift`. State is guarded by one lock, never held across a
// call of another object but a connection's `init`. Watchers are told outside it (`deliver`): whoever is cancelled while it waits holds a lock of the
// runtime and wants this one (`onTermination`), and telling it wants that one.
import DequeModule
import Synchronization

final class ClusterRouter: Sendable {
  typealias Address = RedisConfiguration.Address

  struct Node {
    /// Told apart from an earlier connection to the same address.
    let number: UInt64
    let connection: RedisConnection
    var usedAt: MonotonicTime
  }

  struct State {
    var map: SlotMap?
    var nodes: [Address: Node] = [:]
    /// Somebody said MOVED, or nobody could be reached.
    var mapIsOld = true
    /// Why there is no map.
    var fault: RedisFault = .connecting
    /// The epoch, but for what the present connections add.
    var pastEpochs = 1
    var published = ConnectionState.connecting
    var watchers: [UInt64: AsyncStream<ConnectionState>.Continuation] = [:]
    /// What watchers are still to be told, in order.
    var untold: Deque<ConnectionState> = []
    /// Of nodes and watchers.
    var lastNumber: UInt64 = 0
    var isClosed = false
  }

  let configuration: RedisConfiguration
  let home: Int
  let watchesAll: Bool
  let state = Mutex(State())
  /// Held while watchers are told, so that all hear everything in order. Taken before `state`, never within it.
  private let telling = Mutex<Void>(())
  /// Rung when the map has to be asked for.
  let bell: AsyncStream<Void>
  let bellCord: AsyncStream<Void>.Continuation
  /// A connection that nothing used for so long is let go. Longer than a failover takes to show: what was written to a node that then fails
  /// was written over a connection that is still there to notice.
  private static let idle: Duration = .seconds(60)

  init(_ configuration: RedisConfiguration, home: [UInt8], watchesAll: Bool) {
    self.configuration = configuration
    self.home = HashSlot.of(home)
    self.watchesAll = watchesAll
    (bell, bellCord) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    let bell = bell
    // Both end with the bell or with the router: neither keeps it alive.
    Task { [weak self] in
      await self?.keepMap()
      for await _ in bell { await self?.keepMap() }
    }
    Task { [weak self] in
      while let isClosed = self?.state.withLock({ $0.isClosed }), !isClosed {
        self?.closeIdle()
        // How long a connection is idle is told by looking; nothing happens on it.
        try? await Task.sleep(for: .seconds(15))
      }
    }
  }

  deinit { bellCord.finish() }

  // MARK: Nodes

  /// The connection to a node, made where there is none.
  func connection(to address: Address) -> RedisConnection {
    let (connection, made) = state.withLock { $0.node(address, configuration) }
    guard let made else { return connection }
    let states = connection.states()
    Task { [weak self] in
      for await state in states { self?.changed(address, made, state) }
    }
    return connection
  }

  private func changed(_ address: Address, _ number: UInt64, _ next: ConnectionState) {
    let isLost = change { state in
      guard state.nodes[address]?.number == number else { return false }
      publish(&state)
      return if case .down = next { true } else { false }
    }
    if isLost { bellCord.yield() }
  }

  private func closeIdle() {
    let now = MonotonicTime.now
    // Let go outside the lock; calls that still wait on one keep it until they are done.
    let left = state.withLock { state -> [Node] in
      guard !watchesAll else { return [] }
      let home = state.map?.owner(of: self.home)
      let idle = state.nodes.filter { $0.key != home && now - $0.value.usedAt > Self.idle }
      return idle.keys.compactMap { state.letGo($0) }
    }
    withExtendedLifetime(left) {}
  }

  // MARK: The whole

  /// For whatever may publish.
  func change<T>(_ body: (inout State) -> T) -> T {
    defer { deliver() }
    return state.withLock { body(&$0) }
  }

  private func deliver() {
    telling.withLock { _ in
      while true {
        let (next, watchers) = state.withLock { state in (state.untold.popFirst(), Array(state.watchers.values)) }
        guard let next else { return }
        for watcher in watchers { watcher.yield(next) }
      }
    }
  }

  /// Works out how the whole stands and has it told where that has changed.
  func publish(_ state: inout State) {
    guard !state.isClosed else { return }
    state.tell(standing(state))
  }

  var epoch: Int { state.withLock { $0.epoch } }

  /// As it is now; watchers hear of it a moment later.
  var standing: ConnectionState { state.withLock { $0.isClosed ? $0.published : standing($0) } }

  private func standing(_ state: State) -> ConnectionState {
    guard let map = state.map else {
      return state.fault == .connecting ? .connecting : .down(state.fault, retryWithin: configuration.backoff.cap)
    }
    guard let owner = map.owner(of: home) else {
      return .down(.unavailable("slot \(home) has no owner"), retryWithin: configuration.backoff.cap)
    }
    var isConnecting = false
    for address in watchesAll ? map.masters : [owner] {
      switch state.nodes[address]?.connection.state ?? .connecting {
      case .connected: break
      case .connecting: isConnecting = true
      case .down(let fault, let delay): return .down(.node("\(address)", "\(fault)"), retryWithin: delay)
      case .closed(let fault): return .down(fault, retryWithin: configuration.backoff.cap)
      }
    }
    return isConnecting ? .connecting : .connected(epoch: state.epoch)
  }

  func states() -> AsyncStream<ConnectionState> {
    let (stream, continuation) = AsyncStream.makeStream(of: ConnectionState.self, bufferingPolicy: .bufferingNewest(16))
    let (id, isClosed) = state.withLock { state in
      state.lastNumber += 1
      continuation.yield(state.published)
      if !state.isClosed { state.watchers[state.lastNumber] = continuation }
      return (state.lastNumber, state.isClosed)
    }
    if isClosed { continuation.finish() }
    continuation.onTermination = { [weak self] _ in self?.state.withLock { _ = $0.watchers.removeValue(forKey: id) } }
    return stream
  }

  func close() async {
    let nodes = change { state in
      state.isClosed = true
      state.tell(.closed(.closed))
      defer { state.nodes = [:] }
      return state.nodes.values.map(\.connection)
    }
    let watchers = state.withLock { state in
      defer { state.watchers = [:] }
      return Array(state.watchers.values)
    }
    // Outside the lock: its termination handler takes it.
    for watcher in watchers { watcher.finish() }
    bellCord.finish()
    for connection in nodes { await connection.close() }
  }
}

extension ClusterRouter.State {
  var epoch: Int { nodes.values.reduce(pastEpochs) { $0 + max(0, $1.connection.epoch - 1) } }

  /// Forgets a node's connection. Calls that still wait on it keep it until they are done.
  mutating func letGo(_ address: RedisConfiguration.Address) -> ClusterRouter.Node? {
    guard let node = nodes.removeValue(forKey: address) else { return nil }
    pastEpochs += max(0, node.connection.epoch - 1)
    return node
  }

  /// - Returns: also the number of a connection that was made now and has to be followed.
  mutating func node(_ address: RedisConfiguration.Address, _ configuration: RedisConfiguration) -> (RedisConnection, UInt64?) {
    if let node = nodes[address] {
      nodes[address]?.usedAt = .now
      return (node.connection, nil)
    }
    var single = configuration
    single.address = address
    single.cluster = []
    let connection = RedisConnection(single)
    // Closed already: the connection closes with its last reference.
    guard !isClosed else { return (connection, nil) }
    lastNumber += 1
    nodes[address] = ClusterRouter.Node(number: lastNumber, connection: connection, usedAt: .now)
    return (connection, lastNumber)
  }

  mutating func tell(_ next: ConnectionState) {
    guard next != published else { return }
    published = next
    untold.append(next)
  }
}
