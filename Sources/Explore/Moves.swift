// The list of what may happen next. Each move is one atomic step: one script, one transaction, one record, one crash.

struct Moves {
  private(set) var worlds: [World] = []
  private(set) var words: [StaticString] = []
  /// Not something that has to come: a verdict must be reachable without these (property P2).
  private(set) var faults: [Bool] = []

  mutating func clear() {
    worlds.removeAll(keepingCapacity: true)
    words.removeAll(keepingCapacity: true)
    faults.removeAll(keepingCapacity: true)
  }

  @inline(never) mutating func add(_ what: StaticString, _ from: World, fault: Bool = false, _ body: (inout World) -> Void) {
    worlds.append(from)
    words.append(what)
    faults.append(fault)
    body(&worlds[worlds.count - 1])
    worlds[worlds.count - 1].normalize()
  }
}

/// What a search is about.
struct Setting: Sendable {
  var faults: Faults
  var rules: Rules
  let fences: Bool
  let acknowledgesAtOnce: Bool
  let layout: Layout

  init(_ faults: Faults, _ rules: Rules = .all) {
    self.faults = faults
    self.rules = rules
    fences = faults.needFences
    layout = Layout(faults)
    acknowledgesAtOnce =
      faults.redis + faults.restore + faults.agent + faults.reboot + faults.journal + faults.twin + faults.month == 0
  }

  @inline(__always) func has(_ rule: Rules.Name) -> Bool { rules.has(rule) }

  /// All up, X accepted, nothing sent.
  var start: World {
    var world = World()
    world.left = faults
    world.redis.lease = Names.address(1, 0)
    if fences {
      world.dashboard.fence = 1
      world.store.fence = 1
      if has(.kept) { world.redis.fenceOfAll = 1 }
    }
    return world
  }

  func moves(_ world: World, into out: inout Moves) {
    out.clear()
    if world.dashboard.up == 1 {
      userMoves(world, &out)
      sendingMoves(world, &out)
      endingMoves(world, &out)
      askingMoves(world, &out)
      collectingMoves(world, &out)
    }
    dashboardLife(world, &out)
    networkMoves(world, &out)
    redisMoves(world, &out)
    if world.agent.up == 0 { agentStart(world, &out) } else { agentMoves(world, &out) }
    runnerMoves(world, &out)
    hostMoves(world, &out)
  }
}

extension World {
  /// States that differ only in names are one: sequence numbers matter by their order and by whether one follows the other.
  @inline(never) mutating func normalize() {
    if redis.asked == 0 { redis.askedOf = 0 }
    normalizeSequences(of: agent.incarnation)
    let current = agent.incarnation
    if store.incarnation != current { normalizeSequences(of: store.incarnation) }
    if hasCopy == 1, copy.incarnation != current, copy.incarnation != store.incarnation {
      normalizeSequences(of: copy.incarnation)
    }
  }

  @inline(never) private mutating func normalizeSequences(of incarnation: UInt8) {
    // Bit n: sequence n is spoken of.
    var used: UInt64 = 0
    let isLive = incarnation == agent.incarnation && agent.up > 0
    if isLive { used |= (2 << UInt64(agent.count) - 1) << UInt64(agent.oldest) }
    if store.incarnation == incarnation { used |= 1 << UInt64(store.sequence) }
    if hasCopy == 1, copy.incarnation == incarnation { used |= 1 << UInt64(copy.sequence) }
    func note(_ report: Report) {
      guard report.isThere, report.incarnation == incarnation else { return }
      used |= (2 << UInt64(report.behind) - 1) << UInt64(report.sequence - report.behind)
    }
    note(redis.stream0)
    note(redis.stream1)
    note(redis.stream2)
    if hasRedisCopy == 1 {
      note(redisCopy.stream0)
      note(redisCopy.stream1)
      note(redisCopy.stream2)
    }
    guard used != 0 else { return }
    // Nothing to do where they begin at 1 and no gap is longer than 2.
    if used & 2 != 0, used & 1 == 0, ~used & ~used >> 1 & ((1 << UInt64(63 - used.leadingZeroBitCount)) - 1) & ~1 == 0 { return }
    var places: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    var next: UInt8 = 1
    var last = -1
    withUnsafeMutableBytes(of: &places) { table in
      var rest = used
      while rest != 0 {
        let value = rest.trailingZeroBitCount
        rest &= rest - 1
        if last >= 0 { next += UInt8(min(value - last, 2)) }
        table[value & 31] = next
        last = value
      }
    }
    func place(_ value: UInt8) -> UInt8 { withUnsafeBytes(of: places) { $0[Int(value & 31)] } }
    func move(_ report: inout Report) {
      guard report.isThere, report.incarnation == incarnation else { return }
      report.sequence = place(report.sequence)
    }
    if isLive { agent.oldest = place(agent.oldest) }
    if store.incarnation == incarnation { store.sequence = place(store.sequence) }
    if hasCopy == 1, copy.incarnation == incarnation { copy.sequence = place(copy.sequence) }
    move(&redis.stream0)
    move(&redis.stream1)
    move(&redis.stream2)
    if hasRedisCopy == 1 {
      move(&redisCopy.stream0)
      move(&redisCopy.stream1)
      move(&redisCopy.stream2)
    }
  }
}
