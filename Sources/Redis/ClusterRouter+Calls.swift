// Calls to a Cluster: each command goes to the node that serves its first key's slot, what goes to one node goes as one pipeline, and the
// replies come back in the order of the commands.
//
// Invariant: a command is sent a second time only after a node has said that it did nothing (MOVED, ASK, TRYAGAIN, CLUSTERDOWN). What may
// have been executed stays `outcomeUnknown`, what was not sent stays `notSent`; both are the caller's to decide.
// What if: the slot is on its way: ASK is followed; a script whose keys are partly there waits (TRYAGAIN), for up to two seconds, then it is
// `notSent`; a node is lost: its calls fail at once, as with a single server, until the map has changed or it is back.

extension ClusterRouter {
  private static let redirections = 8
  /// For how long a call whose slot nobody serves is tried again.
  private static let patience: Duration = .seconds(2)

  private struct Item {
    let index: Int
    let slot: Int
    /// Where ASK or MOVED sent it; the slot's owner where nil.
    var to: Address?
    var isAsking = false
  }

  private enum Verdict {
    case final(Outcome)
    case elsewhere(Address, asking: Bool)
    /// The node did nothing and says that later may be better.
    case later(RedisReplyError)
  }

  func outcomes(of commands: [RedisCommand], timeout: Duration, isBlocking: Bool) async -> [Outcome] {
    guard !commands.isEmpty else { return [] }
    if let command = commands.first(where: { $0.breaksPairing || $0.bindsConnection }) {
      return commands.map { _ in .failure(.notSent(.unsupported(command: command.name))) }
    }
    let deadline = MonotonicTime.now + timeout
    let givingUp = min(deadline, .now + Self.patience)
    var outcomes = [Outcome?](repeating: nil, count: commands.count)
    var items = commands.indices.map { Item(index: $0, slot: commands[$0].routingKey.map { HashSlot.of($0) } ?? home) }
    var rounds = 0
    while !items.isEmpty {
      var next: [Item] = []
      var mustWait = false
      for (item, asked, outcome) in await round(items, commands, deadline, isBlocking) {
        switch verdict(outcome, item, asked) {
        case .final(let outcome): outcomes[item.index] = outcome
        case .elsewhere(let address, let asking):
          next.append(Item(index: item.index, slot: item.slot, to: address, isAsking: asking))
        case .later(let error):
          outcomes[item.index] = .failure(.notSent(.unavailable(error.message)))
          next.append(Item(index: item.index, slot: item.slot))
          mustWait = true
        }
      }
      next.sort { $0.index < $1.index }
      items = next
      rounds += 1
      if items.isEmpty { break }
      if mustWait || rounds > Self.redirections {
        guard MonotonicTime.now < givingUp, await pause(rounds) else {
          for item in items where outcomes[item.index] == nil {
            outcomes[item.index] = .failure(.notSent(.unavailable("sent from node to node")))
          }
          break
        }
      }
    }
    return outcomes.map { $0 ?? .failure(.notSent(.closed)) }
  }

  /// False when the caller is cancelled.
  private func pause(_ round: Int) async -> Bool {
    let limit = min(Duration.milliseconds(250), .milliseconds(10) * (1 << min(round, 6)))
    do {
      // A node that said "not now" (TRYAGAIN, CLUSTERDOWN, a moved slot) tells nobody when it will.
      try await Task.sleep(for: limit * Double.random(in: 0.2...1))
      return true
    } catch {
      return false
    }
  }

  // MARK: One round

  private struct Group: Sendable {
    var address: Address?
    var items: [Item] = []
  }

  /// Sends every item once.
  private func round(_ items: [Item], _ commands: [RedisCommand], _ deadline: MonotonicTime, _ isBlocking: Bool) async
    -> [(Item, Address?, Outcome)]
  {
    var groups: [Group] = []
    var places: [Address?: Int] = [:]
    let map = state.withLock { $0.map }
    for item in items {
      let address = item.to ?? map?.owner(of: item.slot)
      let place = places[address] ?? groups.count
      if place == groups.count {
        groups.append(Group(address: address))
        places[address] = place
      }
      groups[place].items.append(item)
    }
    if groups.count == 1 { return await send(groups[0], commands, deadline, isBlocking) }
    return await withTaskGroup(of: [(Item, Address?, Outcome)].self) { tasks in
      for group in groups { tasks.addTask { await self.send(group, commands, deadline, isBlocking) } }
      return await tasks.reduce(into: []) { $0 += $1 }
    }
  }

  private func send(_ group: Group, _ commands: [RedisCommand], _ deadline: MonotonicTime, _ isBlocking: Bool) async
    -> [(Item, Address?, Outcome)]
  {
    guard let address = group.address else {
      let error = state.withLock { state -> RedisError in
        guard state.map != nil else { return .notSent(state.isClosed ? .closed : state.fault) }
        return .reply(RedisReplyError(message: "CLUSTERDOWN no node serves the slot"))
      }
      if case .reply(let error) = error { return group.items.map { ($0, nil, .success(.error(error))) } }
      return group.items.map { ($0, nil, .failure(error)) }
    }
    let connection = connection(to: address)
    // It closes with its last reference, and the router may let go of it meanwhile.
    defer { withExtendedLifetime(connection) {} }
    if connection.epoch == 0, case .connecting = connection.state {
      // It was made just now, for this.
      let limit = min(deadline, .now + configuration.connectTimeout)
      do throws(RedisError) { try await connection.wait(deadline: limit, untilFirstFailure: true) } catch {
        return group.items.map { ($0, address, .failure(error)) }
      }
    }
    var sending: [RedisCommand] = []
    for item in group.items {
      let command = commands[item.index]
      if item.isAsking { sending.append(RedisCommand("ASKING")) }
      sending.append(item.isAsking ? command.carryingSource() : command)
    }
    let timeout = max(.zero, deadline - .now)
    // An ASKING before it makes two of a blocking command; they still have to be together, and it is short.
    let outcomes = await connection.submit(sending, timeout: timeout, isBlocking: isBlocking)
    var position = 0
    return group.items.map { item in
      position += item.isAsking ? 2 : 1
      return (item, address, outcomes[position - 1])
    }
  }

  private func verdict(_ outcome: Outcome, _ item: Item, _ asked: Address?) -> Verdict {
    guard case .success(.error(let error)) = outcome else { return .final(outcome) }
    switch error.code {
    case .moved:
      guard let asked, let (slot, owner) = SlotMap.redirection(error, from: asked) else { return .final(outcome) }
      learn(slot, owner)
      return .elsewhere(owner, asking: false)
    case .ask:
      guard let asked, let (_, owner) = SlotMap.redirection(error, from: asked) else { return .final(outcome) }
      return .elsewhere(owner, asking: true)
    case .tryAgain, .loading, .masterDown, .unblocked: return .later(error)
    case .clusterDown, .readOnly:
      state.withLock { $0.mapIsOld = true }
      bellCord.yield()
      return .later(error)
    default: return .final(outcome)
    }
  }
}
