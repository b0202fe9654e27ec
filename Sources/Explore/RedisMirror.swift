// The scripts of `Shared/Bus/Scripts.swift` as pure functions on `RedisState`: Lua cannot be driven here. `MirrorTests` calls both with the same
// random arguments and compares what stands in Redis with what stands here.
// When changing a script: change its mirror, and the test says whether they still agree.

enum RedisMirror {
  enum Refusal: Hashable {
    case fenced, noLease, removed
  }
  enum Sent: Hashable {
    case added, alreadyThere, tombstoned
    case refused(Refusal)
  }
  enum LeaseAnswer: Hashable {
    case ok, held
    /// The position that stands there has to be checked first.
    case position
    case refused(Refusal)
  }

  /// What the dashboard's scripts have in common: refuse a smaller fence, raise it, raise the send number.
  private static func enter(_ redis: inout RedisState, fence: UInt8, number: UInt8 = 0) -> Refusal? {
    guard fence >= redis.fence else { return .fenced }
    redis.fence = fence
    redis.sends = max(redis.sends, number)
    return nil
  }

  static func send(_ redis: inout RedisState, fence: UInt8, number: UInt8, journal: UInt8, envelopeNumber: UInt8) -> Sent {
    if let refusal = enter(&redis, fence: fence, number: number) { return .refused(refusal) }
    if redis.tomb == 1 { return .tombstoned }
    if redis.inbox != 0 { return .alreadyThere }
    redis.inbox = 1 + journal
    redis.inboxNumber = envelopeNumber
    return .added
  }

  static func control(_ redis: inout RedisState, fence: UInt8, number: UInt8, kind: UInt8, to address: UInt8) -> Refusal? {
    if let refusal = enter(&redis, fence: fence, number: number) { return refusal }
    if redis.askedOf != address { redis.asked = 0 }
    redis.askedOf = address
    redis.asked |= kind
    return nil
  }

  static func tombstone(_ redis: inout RedisState, fence: UInt8, number: UInt8) -> Refusal? {
    if let refusal = enter(&redis, fence: fence, number: number) { return refusal }
    redis.tomb = 1
    return nil
  }

  static func withdraw(_ redis: inout RedisState, fence: UInt8) -> (removed: Int, refusal: Refusal?) {
    if let refusal = enter(&redis, fence: fence) { return (0, refusal) }
    let removed = redis.inbox == 0 ? 0 : 1
    redis.inbox = 0
    redis.inboxNumber = 0
    return (removed, nil)
  }

  /// The highest send number that Redis knows.
  static func compare(_ redis: inout RedisState, fence: UInt8) -> (known: UInt8, refusal: Refusal?) {
    (redis.sends, enter(&redis, fence: fence))
  }

  /// - Parameter checked: the agent has checked the position that stands there.
  static func takeLease(_ redis: inout RedisState, address: UInt8, checked: Bool) -> LeaseAnswer {
    let journal = Names.addressJournal(address)
    if redis.fenced >> journal & 1 == 1 { return .refused(.removed) }
    if redis.lease != 0 && Names.addressJournal(redis.lease) != journal { return .held }
    if redis.positionJournal != 0 && !checked { return .position }
    redis.lease = address
    return .ok
  }

  /// False: it ran out, or another holds it.
  static func renewLease(_ redis: RedisState, address: UInt8) -> Bool { redis.lease == address }

  static func dropLease(_ redis: inout RedisState, address: UInt8) -> Bool {
    guard redis.lease == address else { return false }
    redis.lease = 0
    return true
  }

  /// - Parameter removes: X is among the ids.
  static func confirm(_ redis: inout RedisState, address: UInt8, journal: UInt8, count: UInt8, epoch: UInt8, removes: Bool)
    -> Refusal?
  {
    guard redis.lease == address else { return .noLease }
    if redis.fenced >> journal & 1 == 1 { return .removed }
    if removes {
      redis.inbox = 0
      redis.inboxNumber = 0
    }
    if !(redis.positionJournal == journal && redis.positionCount > count) {
      redis.positionJournal = journal
      redis.positionCount = count
      redis.positionEpoch = epoch
    }
    return nil
  }

  /// The fence of all before it; it is raised where that was smaller.
  static func raiseFence(_ redis: inout RedisState, to fence: UInt8) -> UInt8 {
    defer { redis.fenceOfAll = max(redis.fenceOfAll, fence) }
    return redis.fenceOfAll
  }

  static func append(_ redis: inout RedisState, _ report: Report) -> Bool {
    guard !redis.isFull else { return false }
    redis.push(report)
    return true
  }
}
