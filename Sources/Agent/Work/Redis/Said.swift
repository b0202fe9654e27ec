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
