// A state as a few 64-bit words: what the search keeps millions of. One list of fields serves all directions. What cannot differ within a
// budget (a copy of Redis where Redis does not fail, …) takes no room.

/// Which parts of the world are in use under a budget.
struct Layout: Sendable {
  let redisCopy: Bool, storeCopy: Bool, diskCopy: Bool, network: Bool, twin: Bool
  private(set) var words = 0

  init(_ faults: Faults) {
    redisCopy = faults.redis > 0
    storeCopy = faults.restore > 0
    diskCopy = faults.journal > 0
    network = faults.net > 0
    twin = faults.twin > 0
    var counter = Counter()
    var world = World()
    world.visit(&counter, self)
    words = counter.words
  }

  static let longest = 9
}

/// A packed state; the words beyond the layout's are 0.
struct Packed: Equatable {
  var low = SIMD8<UInt64>()
  var high: UInt64 = 0
  @inline(__always) subscript(_ index: Int) -> UInt64 {
    get { index < 8 ? low[index] : high }
    set { if index < 8 { low[index] = newValue } else { high = newValue } }
  }
}

protocol FieldVisitor {
  mutating func field(_ value: inout UInt8, _ bits: Int)
  mutating func report(_ value: inout Report)
}

/// Counts the words.
private struct Counter: FieldVisitor {
  var words = 1
  private var used = 0
  private mutating func add(_ bits: Int) {
    if used + bits > 64 {
      words += 1
      used = 0
    }
    used += bits
  }
  mutating func field(_ value: inout UInt8, _ bits: Int) { add(bits) }
  mutating func report(_ value: inout Report) { add(19) }
}

private struct Packer: FieldVisitor {
  var packed = Packed()
  private var current: UInt64 = 0
  private var word = 0
  private var used = 0

  @inline(__always) private mutating func put(_ value: UInt64, _ bits: Int) {
    if used + bits > 64 {
      finish()
      word += 1
      used = 0
      current = 0
    }
    current |= value << UInt64(used)
    used += bits
  }
  @inline(__always) mutating func finish() { packed[word] = current }
  @inline(__always) mutating func field(_ value: inout UInt8, _ bits: Int) {
    // A value that does not fit would make two states one: better no result than a wrong one.
    precondition(value >> UInt8(bits - 1) <= 1, "a value does not fit its field")
    put(UInt64(value), bits)
  }
  @inline(__always) mutating func report(_ value: inout Report) { put(UInt64(value.bits), 19) }
}

private struct Unpacker: FieldVisitor {
  let packed: Packed
  private var current: UInt64
  private var word = 0
  private var used = 0

  init(_ packed: Packed) {
    self.packed = packed
    current = packed[0]
  }

  @inline(__always) private mutating func get(_ bits: Int) -> UInt64 {
    if used + bits > 64 {
      word += 1
      used = 0
      current = packed[word]
    }
    defer { used += bits }
    return current >> UInt64(used) & (1 << UInt64(bits) - 1)
  }
  @inline(__always) mutating func field(_ value: inout UInt8, _ bits: Int) { value = UInt8(truncatingIfNeeded: get(bits)) }
  @inline(__always) mutating func report(_ value: inout Report) { value.bits = UInt32(truncatingIfNeeded: get(19)) }
}

extension StoreState {
  @inline(__always) mutating func visit(_ v: inout some FieldVisitor) {
    v.field(&state, 3)
    v.field(&wantsEnd, 1)
    v.field(&reported, 1)
    v.field(&closing, 1)
    v.field(&journal, 3)
    v.field(&incarnation, 4)
    v.field(&sequence, 5)
    v.field(&former, 8)
    v.field(&fence, 3)
    v.field(&number, 6)
    v.field(&tombOwed, 1)
  }
}

extension RedisState {
  @inline(__always) mutating func visit(_ v: inout some FieldVisitor) {
    v.field(&inbox, 4)
    v.field(&inboxNumber, 6)
    v.field(&asked, 2)
    v.field(&askedOf, 8)
    v.field(&lease, 8)
    v.field(&positionJournal, 3)
    v.field(&positionCount, 5)
    v.field(&positionEpoch, 2)
    v.field(&tomb, 1)
    v.field(&fence, 3)
    v.field(&fenced, 8)
    v.field(&sends, 6)
    v.field(&fenceOfAll, 3)
    v.field(&told, 6)
    v.report(&stream0)
    v.report(&stream1)
    v.report(&stream2)
  }
}

extension Disk {
  @inline(__always) mutating func visit(_ v: inout some FieldVisitor) {
    v.field(&journal, 3)
    v.field(&count, 5)
    v.field(&epoch, 2)
    v.field(&branch, 5)
    v.field(&word, 3)
    v.field(&synced, 1)
    v.field(&handed, 1)
    v.field(&reboot, 1)
    v.field(&file, 2)
    v.field(&exit, 2)
    v.field(&acknowledged, 1)
    v.field(&forgot, 1)
    v.field(&sends, 6)
  }
}

extension DashboardState {
  @inline(__always) mutating func visit(_ v: inout some FieldVisitor) {
    v.field(&up, 1)
    v.field(&compared, 1)
    v.field(&fence, 3)
    v.field(&marked, 4)
    v.field(&markedNumber, 6)
    v.field(&denied, 1)
    v.field(&tombstoned, 1)
    v.field(&sentUnmarked, 2)
    v.field(&more, 1)
  }
}

extension AgentState {
  @inline(__always) mutating func visit(_ v: inout some FieldVisitor) {
    v.field(&up, 2)
    v.field(&incarnation, 4)
    v.field(&seen, 7)
    v.field(&unconfirmed, 1)
    v.field(&confirmed, 1)
    v.field(&hand, 3)
    v.field(&again, 1)
    v.field(&looked, 1)
    v.field(&saidRunning, 1)
    v.field(&saidEnded, 1)
    v.field(&oldest, 5)
    v.field(&say0, 4)
    v.field(&say1, 4)
    v.field(&say2, 4)
    v.field(&say3, 4)
    v.field(&cursor, 3)
  }
}

extension NetworkState {
  @inline(__always) mutating func visit(_ v: inout some FieldVisitor) {
    v.field(&send, 4)
    v.field(&sendFence, 3)
    v.field(&sendNumber, 6)
    v.field(&confirm, 8)
    v.field(&confirmCount, 5)
    v.field(&confirmEpoch, 2)
  }
}

extension Faults {
  @inline(__always) mutating func visit(_ v: inout some FieldVisitor) {
    v.field(&dashboard, 2)
    v.field(&agent, 2)
    v.field(&runner, 2)
    v.field(&reboot, 2)
    v.field(&redis, 2)
    v.field(&journal, 2)
    v.field(&restore, 2)
    v.field(&net, 2)
    v.field(&away, 2)
    v.field(&remove, 2)
    v.field(&twin, 2)
    v.field(&month, 2)
    v.field(&other, 2)
    v.field(&more, 2)
  }
}

extension World {
  @inline(__always) fileprivate mutating func visit(_ v: inout some FieldVisitor, _ layout: Layout) {
    store.visit(&v)
    dashboard.visit(&v)
    redis.visit(&v)
    disk.visit(&v)
    agent.visit(&v)
    left.visit(&v)
    v.field(&nextJournal, 4)
    v.field(&runner, 2)
    v.field(&starts, 2)
    v.field(&ended, 1)
    v.field(&verdict, 3)
    v.field(&alone, 1)
    v.field(&bad, 5)
    v.field(&past, 8)
    v.field(&removed, 2)
    if layout.storeCopy {
      v.field(&hasCopy, 1)
      copy.visit(&v)
    }
    if layout.redisCopy {
      v.field(&hasRedisCopy, 1)
      redisCopy.visit(&v)
    }
    if layout.diskCopy {
      v.field(&hasDiskCopy, 1)
      diskCopy.visit(&v)
    }
    if layout.network { network.visit(&v) }
    if layout.twin {
      v.field(&twin, 2)
      v.field(&twinAddress, 8)
    }
  }

  @inline(never) func packed(_ layout: Layout) -> Packed {
    var packer = Packer()
    var world = self
    world.visit(&packer, layout)
    packer.finish()
    return packer.packed
  }

  @inline(never) init(_ packed: Packed, _ layout: Layout) {
    var unpacker = Unpacker(packed)
    visit(&unpacker, layout)
  }
}
