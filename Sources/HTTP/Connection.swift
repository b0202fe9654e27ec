// The state of one connection. Belongs to one event loop; nothing else ever sees it.
//
//   reading ──▶ waiting ──▶ streaming        a handler's task runs in the last two
//      ▲ │         │            │
//      │ └─────────┴─────┬──────┘
//      └── keep-alive ◀──┴──▶ finishing ──▶ lingering ──▶ destroyed
//
// Invariant: nothing is read or parsed while an answer is owed or output waits; so a connection costs bounded memory.

final class Connection {
  enum Phase {
    /// Between requests or inside one.
    case reading
    /// A handler's task has not answered yet.
    case waiting
    /// The head of the answer is out, a task writes the body.
    case streaming
    /// The last answer is being sent; the connection closes after it.
    case finishing
    /// Our side is closed; what the client still sends is thrown away, so that it can read the last answer.
    case lingering
    /// A system call said that the connection is gone.
    case dead
  }

  /// What the connection waits for, and so which limit its deadline comes from.
  enum Wait {
    case nothing, idle, head, body, room, halfClosed, linger
  }

  let descriptor: Int32
  let ticket: Ticket
  let address: PeerAddress
  var parser: RequestParser
  var phase = Phase.reading

  /// Bytes of a request that is not complete, or that was not looked at yet.
  var carry: [UInt8] = []
  /// Whether `carry` holds bytes that the parser has not seen.
  var carryIsFresh = false
  /// Whether the socket may have more to read (it is watched for edges only).
  var isReadable = false
  /// The client's sending side is closed.
  var peerClosed = false
  var output = OutputQueue()

  // The exchange under way.
  var keepAlive = true
  var isHTTP10 = false
  var isHead = false
  var task: Task<Void, Never>?
  var channel: StreamChannel?
  var streamEnding: StreamChannel.Ending?
  var endsOnDrain = false
  /// A body that ends with the connection must not look complete when it is not.
  var resetsOnAbort = false

  var wait = Wait.nothing
  /// Monotonic nanoseconds.
  var since: UInt64 = 0
  var alarm = Alarm()

  init(descriptor: Int32, ticket: Ticket, address: PeerAddress, limits: ServerLimits) {
    self.descriptor = descriptor
    self.ticket = ticket
    self.address = address
    parser = RequestParser(limits: limits)
  }

  /// Nothing is owed in either direction.
  var isIdle: Bool { phase == .reading && output.isEmpty && carry.isEmpty && parser.isBetweenRequests }
}
