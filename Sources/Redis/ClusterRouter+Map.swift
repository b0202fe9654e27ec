// Keeping the map: asked for at the start, after a node was lost, after MOVED, and again (with full jitter) until every node that matters is
// there. Whoever answers first is believed; a node with an old map is corrected by the next MOVED.

extension ClusterRouter {
  /// How long one node may take to connect and to answer before another one is asked.
  private static let patience: Duration = .seconds(1)

  /// Asks until the map is one that works.
  func keepMap() async {
    var failures = 0
    // The first map is wanted at once; after a loss 10,000 agents want theirs.
    let wasThere = state.withLock { $0.map != nil }
    while wantsMap {
      if wasThere || failures > 0 {
        // Backoff. Nobody cancels this task; `close` ends it by `wantsMap`.
        try? await Task.sleep(for: configuration.backoff.delay(afterFailures: failures))
      }
      guard wantsMap else { return }
      if let map = await askForMap() { adopt(map) }
      failures += 1
    }
  }

  private var wantsMap: Bool {
    state.withLock { state in
      guard !state.isClosed else { return false }
      guard !state.mapIsOld, let map = state.map, map.owner(of: home) != nil else { return true }
      return state.nodes.values.contains { if case .down = $0.connection.state { true } else { false } }
    }
  }

  private func askForMap() async -> SlotMap? {
    var fault = RedisFault.connecting
    for address in candidates() {
      do throws(RedisError) {
        let reply = try await map(from: address)
        if let map = SlotMap(reply, from: address), !map.masters.isEmpty { return map }
        fault = .unavailable("\(address) knows of no slots")
      } catch {
        if case .reply(let refusal) = error { fault = .refused(refusal) } else { fault = error.fault ?? .connecting }
        fault = .node("\(address)", "\(fault)")
      }
    }
    change { state in
      state.fault = fault
      publish(&state)
    }
    return nil
  }

  /// Connected nodes first, then the others that are known, then those of the settings.
  private func candidates() -> [Address] {
    let (connected, known) = state.withLock { state -> ([Address], [Address]) in
      let connected = state.nodes.filter { if case .connected = $0.value.connection.state { true } else { false } }
      let known = state.map.map { $0.masters.union($0.replicas) } ?? []
      return (Array(connected.keys), known.subtracting(connected.keys).shuffled())
    }
    let first = connected.shuffled() + known
    return first + configuration.cluster.filter { !first.contains($0) }.shuffled()
  }

  private func map(from address: Address) async throws(RedisError) -> RedisValue {
    let open = state.withLock { state -> RedisConnection? in
      guard let node = state.nodes[address], case .connected = node.connection.state else { return nil }
      return node.connection
    }
    let question = RedisCommand("CLUSTER", "SLOTS")
    if let open { return try await open.send(question, timeout: Self.patience) }
    // A connection for this question only: a node that is asked need not be one that is needed.
    var single = configuration
    single.address = address
    single.cluster = []
    single.connectTimeout = min(single.connectTimeout, Self.patience)
    let connection = RedisConnection(single)
    let outcome: Result<RedisValue, RedisError>
    do throws(RedisError) {
      // The limit holds also for one that is loading its data.
      try await connection.wait(deadline: .now + Self.patience, untilFirstFailure: true)
      outcome = .success(try await connection.send(question, timeout: Self.patience))
    } catch {
      outcome = .failure(error)
    }
    await connection.close()
    return try outcome.get()
  }

  private func adopt(_ map: SlotMap) {
    let (wanted, left) = change { state -> (Set<Address>, [Node]) in
      if let before = state.map, map.tookFrom(Set(state.nodes.keys), before: before) { state.pastEpochs += 1 }
      state.map = map
      state.mapIsOld = false
      let masters = map.masters
      // What is no master any more is not waited for.
      let gone = state.nodes.keys.filter { !masters.contains($0) }.compactMap { state.letGo($0) }
      publish(&state)
      return (watchesAll ? masters : Set([map.owner(of: home)].compactMap { $0 }), gone)
    }
    withExtendedLifetime(left) {}
    for address in wanted { _ = connection(to: address) }
  }

  /// A node said who serves a slot now.
  func learn(_ slot: Int, _ owner: Address) {
    let isHome = slot == home
    change { state in
      guard let before = state.map?.owner(of: slot), before != owner else { return }
      if state.nodes[before] != nil { state.pastEpochs += 1 }
      state.map?.move(slot, to: owner)
      state.mapIsOld = true
      publish(&state)
    }
    if isHome { _ = connection(to: owner) }
    bellCord.yield()
  }
}
