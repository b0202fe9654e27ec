// Contiguous acknowledgement (DESIGN section 3, "Acknowledgement"), both ends, for reports and for output frames alike.
// The sender numbers from 1 in each incarnation and keeps what is not acknowledged; the receiver commits contiguous numbers only.

/// The receiver's memory: the highest contiguous sequence of one incarnation that is committed.
public struct CommittedSequence: Sendable, Equatable {
  public var incarnation: Incarnation?
  public var sequence: UInt64
  /// Rule `former`: the incarnations of the same journal before it, the newest first.
  public private(set) var former: [Incarnation]
  /// So many are remembered: a Redis that falls back over more restarts than these may have old reports heard as new ones.
  public static let formerKept = 8

  public init(incarnation: Incarnation? = nil, sequence: UInt64 = 0, former: [Incarnation] = []) {
    self.incarnation = incarnation
    self.sequence = sequence
    self.former = former
  }

  public enum Judgement: Sendable, Equatable {
    /// Apply the items from this index on; the memory has moved to the last of them.
    case apply(from: Int)
    /// All of it is committed already: dropped unread (rule `sequence`).
    case stale
    /// Something before it is missing; the sender goes back by itself when no acknowledgement comes.
    case gap
  }

  /// Judges a batch of `count` items that begins with `first`, from a sender that still keeps everything from `oldest` on.
  /// - Parameter sameJournal: it speaks with the journal that spoke last. The processes of one journal follow each other: once one of them was
  ///   heard, those before it are dead, and what a Redis that has fallen back still holds of them is old. Two journals may take turns.
  public mutating func judge(
    incarnation from: Incarnation, first: UInt64, count: Int, oldest: UInt64, sameJournal: Bool = true
  ) -> Judgement {
    guard count > 0, first > 0 else { return .stale }
    let last = first + UInt64(count) - 1
    if from != incarnation {
      if sameJournal && former.contains(from) { return .stale }
      // A sender unknown here: it begins with the oldest that it keeps, or it is an old one's late message.
      guard first <= oldest else { return .gap }
      former = sameJournal ? Array(([incarnation].compactMap { $0 } + former).prefix(CommittedSequence.formerKept)) : []
      incarnation = from
      sequence = last
      return .apply(from: 0)
    }
    guard last > sequence else { return .stale }
    // What a restored receiver misses below `oldest` is gone for good.
    let next = max(sequence + 1, oldest)
    guard first <= next else { return .gap }
    sequence = last
    return .apply(from: first < next ? Int(min(next, last + 1) - first) : 0)
  }
}

extension CommittedSequence {
  /// How the store keeps whose reports it counts: the present incarnation, then the former ones.
  public var incarnations: String? {
    incarnation.map { ([$0] + former).map(\.description).joined(separator: " ") }
  }

  public init(incarnations: String?, sequence: UInt64) {
    let names = (incarnations ?? "").split(separator: " ").compactMap { Nonce(String($0)) }
    self.init(incarnation: names.first, sequence: sequence, former: Array(names.dropFirst()))
  }
}

/// The sender's window: items kept until they are acknowledged, in order.
public struct SendWindow<Item: Sendable>: Sendable {
  private var items: [Item] = []
  private var head = 0
  /// Sequence of the first kept item.
  public private(set) var oldest: UInt64 = 1
  /// Sequence of the next item to send (for the first time or again).
  public private(set) var cursor: UInt64 = 1

  public init() {}

  public var count: Int { items.count - head }
  /// Sequence that the next appended item gets.
  public var next: UInt64 { oldest + UInt64(count) }
  public var unsent: Int { Int(next - cursor) }

  public mutating func append(_ item: Item) { items.append(item) }

  /// Up to `limit` items that are to be sent now, in order, with the first one's sequence.
  public func pending(limit: Int) -> (first: UInt64, items: ArraySlice<Item>) {
    let start = head + Int(cursor - oldest)
    return (cursor, items[start..<min(items.count, start + limit)])
  }

  /// So many items from `first` on, as `pending` gave them, were handed to the stream. Meanwhile an acknowledgement may have overtaken them; and
  /// where one before them still has to be sent, they go again with it.
  public mutating func sent(from first: UInt64, count: Int) {
    guard first <= cursor else { return }
    cursor = max(cursor, min(next, first + UInt64(count)))
  }

  /// Everything up to `sequence` is committed. Returns the items that are done with.
  public mutating func acknowledge(_ sequence: UInt64) -> ArraySlice<Item> {
    guard sequence >= oldest, count > 0 else { return [] }
    let done = Int(min(sequence, next - 1) - oldest) + 1
    let released = items[head..<head + done]
    head += done
    oldest += UInt64(done)
    cursor = max(cursor, oldest)
    if head > 64 && head * 2 > items.count {
      items.removeFirst(head)
      head = 0
    }
    return Array(released)[...]
  }

  /// After a gap, a stall or a reconnect: begin again with the first unacknowledged.
  public mutating func goBack() { cursor = oldest }
}
