// What stands in the windows of things said and not yet acknowledged.

import Shared

struct SaidEvent: Sendable {
  var event: ReportEvent
  /// Output that the event carries.
  var tail: [UInt8] = []
  /// About which attempt.
  var id: AttemptID?
}

/// A frame of output. Its bytes lie in the spools and are read when it is sent.
struct SaidFrame: Sendable {
  struct Slice: Sendable {
    var id: AttemptID
    var slice: OutputSlice
  }
  var slices: [Slice]
  /// Kept from the first sending until that has succeeded.
  var bytes: [UInt8]?
}

/// Attempts about which something is to be said after a while, unless they have moved on by then. All with the same delay, so the
/// first one in is the first one due.
struct DelayLine {
  private var items: [(at: MonotonicTime, id: AttemptID)] = []
  private var head = 0
  let delay: Duration

  init(_ delay: Duration) { self.delay = delay }

  var next: MonotonicTime { head < items.count ? items[head].at : .never }

  mutating func append(_ id: AttemptID) { items.append((.now + delay, id)) }

  /// The first one whose time has come.
  mutating func take(at now: MonotonicTime) -> AttemptID? {
    guard head < items.count, items[head].at <= now else { return nil }
    let id = items[head].id
    head += 1
    if head == items.count {
      items.removeAll(keepingCapacity: items.count <= 256)
      head = 0
    } else if head > 256, head * 2 > items.count {
      items.removeFirst(head)
      head = 0
    }
    return id
  }
}
