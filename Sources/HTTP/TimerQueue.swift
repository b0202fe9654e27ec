// Deadlines of one loop's connections: a binary heap that is only touched when a deadline comes nearer.
//
// A connection's deadline moves with every request, nearly always away. So an entry stays where it is and is compared with
// the real deadline when it comes up, and put back then. Only a deadline before its entry needs a new entry.
//
// Invariant: of a connection's entries one is put back when it comes up, the one that its alarm knows. Those that a nearer one has replaced are
// passed over; so there are no more than were added within the longest limit.

/// A connection's deadline, in monotonic nanoseconds, and its entry in the queue.
struct Alarm {
  /// `max`: none.
  fileprivate(set) var deadline = UInt64.max
  /// When its entry comes up; `max` without one.
  fileprivate var entry = UInt64.max
}

struct TimerQueue {
  private var heap: [(at: UInt64, ticket: Ticket)] = []

  /// When the earliest entry comes up, in monotonic nanoseconds.
  var next: UInt64? { heap.first?.at }
  var count: Int { heap.count }

  mutating func set(_ alarm: inout Alarm, of ticket: Ticket, to deadline: UInt64) {
    alarm.deadline = deadline
    guard deadline < alarm.entry else { return }
    add(ticket, at: deadline)
    alarm.entry = deadline
  }

  /// An entry of this alarm has come up.
  /// - Returns: whether its deadline has passed.
  mutating func cameUp(at: UInt64, _ alarm: inout Alarm, of ticket: Ticket, now: UInt64) -> Bool {
    guard at == alarm.entry else { return false }
    alarm.entry = .max
    if alarm.deadline <= now { return true }
    set(&alarm, of: ticket, to: alarm.deadline)
    return false
  }

  private mutating func add(_ ticket: Ticket, at: UInt64) {
    heap.append((at, ticket))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].at < heap[parent].at else { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// Removes and returns the earliest entry if it is due.
  mutating func popDue(_ now: UInt64) -> (at: UInt64, ticket: Ticket)? {
    guard let first = heap.first, first.at <= now else { return nil }
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    var parent = 0
    while true {
      var smallest = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].at < heap[smallest].at {
        smallest = child
      }
      if smallest == parent { break }
      heap.swapAt(parent, smallest)
      parent = smallest
    }
    return first
  }
}
