// Deadlines of one loop's connections: a binary heap that is only touched when a deadline comes nearer.
//
// A connection's deadline moves with every request, nearly always away. So an entry stays where it is and is compared with
// the real deadline when it comes up; the caller puts it back then. Only a deadline before its entry needs a new entry.

struct TimerQueue {
  private var heap: [(at: UInt64, ticket: Ticket)] = []

  /// When the earliest entry comes up, in monotonic nanoseconds.
  var next: UInt64? { heap.first?.at }

  mutating func add(_ ticket: Ticket, at: UInt64) {
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
  mutating func popDue(_ now: UInt64) -> Ticket? {
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
    return first.ticket
  }
}
