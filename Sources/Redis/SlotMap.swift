// Who serves which slot, as one node of a Cluster said in answer to `CLUSTER SLOTS`, corrected by what other nodes said since (`MOVED`).
// Pure. A node tells what it knows: that may be old, and then whoever is asked by mistake says MOVED.

struct SlotMap: Sendable, Equatable {
  typealias Address = RedisConfiguration.Address

  private struct Range: Sendable, Equatable {
    var slots: ClosedRange<Int>
    var owner: Address
  }
  /// In order, without overlaps.
  private var ranges: [Range] = []
  /// Single slots that have moved since.
  private var moved: [Int: Address] = [:]
  /// Nodes that serve nothing but may be asked for a map.
  private(set) var replicas: Set<Address> = []

  /// - Parameter asked: the node that answered; a node without a name of its own is that one.
  init?(_ reply: RedisValue, from asked: Address) {
    guard let rows = reply.array else { return nil }
    for row in rows {
      guard let fields = row.array, fields.count >= 3, let first = fields[0].integer, let last = fields[1].integer,
        (0..<Int64(HashSlot.count)).contains(first), (first..<Int64(HashSlot.count)).contains(last),
        let owner = Self.node(fields[2], asked)
      else { return nil }
      ranges.append(Range(slots: Int(first)...Int(last), owner: owner))
      replicas.formUnion(fields[3...].compactMap { Self.node($0, asked) })
    }
    ranges.sort { $0.slots.lowerBound < $1.slots.lowerBound }
    replicas.subtract(masters)
  }

  /// Every node that serves a slot.
  var masters: Set<Address> { Set(ranges.map(\.owner)).union(moved.values) }

  /// Nil for a slot that nobody serves.
  func owner(of slot: Int) -> Address? {
    if let owner = moved[slot] { return owner }
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].slots.upperBound < slot { low = middle + 1 } else { high = middle }
    }
    guard low < ranges.count, ranges[low].slots.contains(slot) else { return nil }
    return ranges[low].owner
  }

  mutating func move(_ slot: Int, to owner: Address) {
    moved[slot] = owner
  }

  /// Whether a slot of one of these nodes is another's now.
  func tookFrom(_ nodes: Set<Address>, before: SlotMap) -> Bool {
    (0..<HashSlot.count).contains { slot in
      guard let owner = before.owner(of: slot), nodes.contains(owner) else { return false }
      return self.owner(of: slot) != owner
    }
  }

  private static func node(_ value: RedisValue, _ asked: Address) -> Address? {
    guard let fields = value.array, fields.count >= 2, let port = fields[1].integer else { return nil }
    return address(host: fields[0].string ?? "", port: Int(clamping: port), asked)
  }

  private static func address(host: String, port: Int, _ asked: Address) -> Address {
    guard host.isEmpty || host == "?", case .tcp(let known, _) = asked else { return .tcp(host: host, port: port) }
    return .tcp(host: known, port: port)
  }

  /// Slot and node of `MOVED 3999 10.0.0.1:6381` or `ASK …`.
  static func redirection(_ error: RedisReplyError, from asked: Address) -> (slot: Int, to: Address)? {
    let words = error.message.split(separator: " ")
    guard words.count >= 3, let slot = Int(words[1]), (0..<HashSlot.count).contains(slot),
      let colon = words[2].lastIndex(of: ":"), let port = Int(words[2][words[2].index(after: colon)...])
    else { return nil }
    return (slot, address(host: String(words[2][..<colon]), port: port, asked))
  }
}
