// Where a logical offset of the output lies in the output file. Pure.
//
// The file is a head, which holds the first bytes for good, and a ring behind it, in which the newest bytes overwrite the oldest.
// As long as nothing was overwritten the whole file is simply in order. At the end a ring that went round is put in order:
// first a copy behind the ring (`.copied`), then back over it (`.ordered`), each told by a record before anything relies on it.

public struct SpoolLayout: Sendable, Equatable {
  public enum Tail: UInt8, Sendable, Equatable {
    case ring = 0
    /// In order in a copy that begins behind the ring.
    case copied = 1
    /// In order right behind the head: the file is what `cat` should show.
    case ordered = 2
  }

  /// Bytes of the head and of the ring; both shrink when the disk is full.
  public var head: UInt64
  public var ring: UInt64
  public var tail: Tail

  public init(head: UInt64, ring: UInt64, tail: Tail = .ring) {
    self.head = head
    self.ring = ring
    self.tail = tail
  }

  /// Half of the cap for the head, the rest for the ring.
  public init(cap: UInt64) { self.init(head: cap / 2, ring: cap - cap / 2) }

  /// Where bytes up to `limit` from a logical offset on lie, given how many bytes were stored in all: one stretch of the file,
  /// or the offset up to which they are gone. Nil at or behind the end.
  public func stretch(from offset: UInt64, limit: UInt64, stored: UInt64) -> Stretch? {
    guard offset < stored, limit > 0 else { return nil }
    if offset < head { return .at(offset, length: min(limit, min(head, stored) - offset)) }
    guard stored - head > ring else { return .at(offset, length: min(limit, stored - offset)) }
    let oldest = stored - ring
    guard offset >= oldest else { return .gone(until: oldest) }
    switch tail {
    case .ring:
      let position = (offset - head) % ring
      return .at(head + position, length: min(limit, min(stored - offset, ring - position)))
    case .copied: return .at(head &+ ring &+ (offset - oldest), length: min(limit, stored - offset))
    case .ordered: return .at(head + (offset - oldest), length: min(limit, stored - offset))
    }
  }

  public enum Stretch: Sendable, Equatable {
    case at(UInt64, length: UInt64)
    case gone(until: UInt64)
  }

  /// How many of `stored` bytes the file still holds.
  public func kept(of stored: UInt64) -> UInt64 { min(stored, head &+ ring) }
}
