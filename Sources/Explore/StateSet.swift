// States by their number, and numbers by their state. Open addressing; a slot is 0 or 32 bits of the fingerprint and 1 + the state's number.
// The states stand in blocks, so that growing copies nothing.

struct StateSet {
  private let words: Int
  private var blocks: ContiguousArray<UnsafeMutablePointer<UInt64>> = []
  private(set) var count = 0
  private var slots: UnsafeMutablePointer<UInt64>
  private var mask = 1 << 12 - 1
  private static let blockBits = 16

  init(words: Int) {
    precondition(words <= Layout.longest, "a budget with more in use than a packed state holds")
    self.words = words
    slots = .allocate(capacity: mask + 1)
    slots.initialize(repeating: 0, count: mask + 1)
  }

  func free() {
    slots.deallocate()
    for block in blocks { block.deallocate() }
  }

  var bytes: Int { (mask + 1) * 8 + blocks.count << StateSet.blockBits * words * 8 }

  @inline(__always) private func place(_ number: Int) -> UnsafeMutablePointer<UInt64> {
    blocks[number >> StateSet.blockBits] + (number & (1 << StateSet.blockBits - 1)) * words
  }

  subscript(_ number: Int) -> Packed {
    let place = place(number)
    var packed = Packed()
    for word in 0..<words { packed[word] = place[word] }
    return packed
  }

  /// The state's number, and whether it is new.
  @inline(__always) mutating func insert(_ packed: Packed) -> (number: Int, isNew: Bool) {
    let fingerprint = fingerprint(packed)
    let tag = fingerprint & 0xffff_ffff_0000_0000
    var slot = Int(truncatingIfNeeded: fingerprint) & mask
    search: while slots[slot] != 0 {
      if slots[slot] & 0xffff_ffff_0000_0000 == tag {
        let number = Int(slots[slot] & 0xffff_ffff) - 1
        let known = place(number)
        var isSame = true
        for word in 0..<words where known[word] != packed[word] {
          isSame = false
          break
        }
        if isSame { return (number, false) }
      }
      slot = (slot + 1) & mask
    }
    let number = count
    if number & (1 << StateSet.blockBits - 1) == 0 { blocks.append(.allocate(capacity: words << StateSet.blockBits)) }
    let place = place(number)
    for word in 0..<words { place[word] = packed[word] }
    slots[slot] = tag | UInt64(number + 1)
    count += 1
    if count * 10 > (mask + 1) * 7 { grow() }
    return (number, true)
  }

  private mutating func grow() {
    slots.deallocate()
    mask = mask * 2 + 1
    slots = .allocate(capacity: mask + 1)
    slots.initialize(repeating: 0, count: mask + 1)
    for number in 0..<count {
      let fingerprint = fingerprint(self[number])
      var slot = Int(truncatingIfNeeded: fingerprint) & mask
      while slots[slot] != 0 { slot = (slot + 1) & mask }
      slots[slot] = fingerprint & 0xffff_ffff_0000_0000 | UInt64(number + 1)
    }
  }

  @inline(__always) private func fingerprint(_ packed: Packed) -> UInt64 {
    var hash: UInt64 = 0x9E37_79B9_7F4A_7C15
    for word in 0..<words {
      hash = (hash ^ packed[word]) &* 0xff51_afd7_ed55_8ccd
      hash ^= hash >> 32
      hash = hash &* 0xc4ce_b9fe_1a85_ec53
      hash ^= hash >> 29
    }
    return hash
  }
}
