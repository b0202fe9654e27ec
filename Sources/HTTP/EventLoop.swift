// One event loop: one thread, one epoll, the connections that were dealt to it.
//
// Everything here is confined to the loop's thread; other threads reach it through `LoopHandle.mailbox` only. Sockets are
// watched for edges, once, so a request costs no call but its recv and its send. A turn: wait, handle events, take mail,
// go on with connections that had more than their share, fire timers.
// By aspect: +Reading (bytes to requests), +Answering (requests to bytes), +Writing, +Timing, +Draining.

import CEpoll
import Glibc
import Synchronization

final class EventLoop {
  let handle: LoopHandle
  let shared: ServerShared
  /// Only the first loop accepts; it deals the connections out.
  var acceptor: Acceptor?

  var limits: ServerLimits { shared.limits }
  /// Monotonic nanoseconds at the beginning of this turn.
  var now = Clock.now()
  var date = DateField()
  var timers = TimerQueue()
  /// Answers of the connection that is being handled right now; flushed before the next one.
  let outbox = WriteBuffer(capacity: 64 << 10)
  let gathering = WriteBuffer(capacity: 1 << 10)
  let readBuffer: UnsafeMutableRawBufferPointer
  /// Connections that have more to read after their share of a turn.
  var ready: [Ticket] = []

  private(set) var connections: [Connection?] = []
  private var generations: [UInt32] = []
  private var freeSlots: [UInt32] = []
  private(set) var count = 0
  private var mail: [Message] = []

  var isDraining = false
  var drainEnd = UInt64.max
  var drainTasksCancelled = false

  init(handle: LoopHandle, shared: ServerShared, listener: Listener?) {
    self.handle = handle
    self.shared = shared
    readBuffer = .allocate(byteCount: 64 << 10, alignment: 16)
    acceptor = listener.map { Acceptor(listener: $0, shared: shared, epoll: handle.epoll) }
  }

  deinit { readBuffer.deallocate() }

  func run() {
    let capacity = 256
    let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: capacity)
    defer { events.deallocate() }
    while !(isDraining && count == 0) {
      let number = epoll_wait(handle.epoll, events, Int32(capacity), timeout())
      now = Clock.now()
      date.update()
      for index in 0..<Int(max(0, number)) {
        let token = cepoll_token(events + index)
        if token == LoopHandle.listenerToken {
          acceptor?.accept(now: now)
        } else if token >= LoopHandle.firstConnectionToken, let connection = connection(token) {
          handleEvents(events[index].events, of: connection)
        }
      }
      takeMail()
      goOn()
      fireTimers()
      acceptor?.resumeIfDue(now)
      drainIfDue()
    }
    handle.mailbox.closeForGood()
  }

  /// Milliseconds until something is due; 0 when something is, -1 when nothing ever is.
  private func timeout() -> Int32 {
    if !ready.isEmpty || !handle.mailbox.prepareToSleep() { return 0 }
    var next = min(timers.next ?? .max, drainEnd)
    if let resume = acceptor?.resumeAt { next = min(next, resume) }
    if next == .max { return -1 }
    let present = Clock.now()
    return next <= present ? 0 : Int32(min((next - present) / 1_000_000 + 1, 1_000_000))
  }

  private func takeMail() {
    handle.mailbox.take(into: &mail)
    guard !mail.isEmpty else { return }
    // Out of the property, because handling a message may need `self` as a whole.
    var messages: [Message] = []
    swap(&messages, &mail)
    for message in messages { handle(message) }
    messages.removeAll(keepingCapacity: messages.capacity <= 4096)
    swap(&messages, &mail)
  }

  private func handle(_ message: Message) {
    switch message {
    case .adopt(let descriptor, let address, let overLimit): adopt(descriptor, address, overLimit: overLimit)
    case .answer(let ticket, let response, let channel):
      guard let connection = connection(ticket), connection.phase == .waiting else { return message.discard() }
      send(response, channel: channel, on: connection)
      advance(connection)
    case .stream(let ticket, let channel):
      guard let connection = connection(ticket), connection.channel === channel else { return message.discard() }
      takeStream(connection, channel)
      advance(connection)
    case .drain: beginDraining()
    }
  }

  private func goOn() {
    guard !ready.isEmpty else { return }
    let tickets = ready
    ready.removeAll(keepingCapacity: true)
    for ticket in tickets {
      if let connection = connection(ticket) { advance(connection) }
    }
  }

  private func handleEvents(_ events: UInt32, of connection: Connection) {
    if events & cepoll_err != 0 || (events & cepoll_hup != 0 && connection.phase != .lingering) {
      return destroy(connection)
    }
    if events & (cepoll_rdhup | cepoll_hup) != 0 {
      connection.peerClosed = true
      connection.isReadable = true
    }
    if events & cepoll_in != 0 { connection.isReadable = true }
    if events & cepoll_out != 0, !connection.output.isEmpty { writeMore(connection) }
    advance(connection)
  }

  // MARK: The table of connections

  private func connection(_ token: UInt64) -> Connection? {
    connection(Ticket(slot: UInt32(truncatingIfNeeded: token), generation: UInt32(truncatingIfNeeded: token >> 32)))
  }

  func connection(_ ticket: Ticket) -> Connection? {
    guard Int(ticket.slot) < connections.count, let connection = connections[Int(ticket.slot)], connection.ticket == ticket
    else { return nil }
    return connection
  }

  func adopt(_ descriptor: Int32, _ address: PeerAddress, overLimit: Bool) {
    let slot: UInt32
    if let free = freeSlots.popLast() {
      slot = free
    } else {
      slot = UInt32(connections.count)
      connections.append(nil)
      generations.append(0)
    }
    // Never 0, so that a connection's token is never one of the loop's own.
    generations[Int(slot)] = max(1, generations[Int(slot)] &+ 1)
    let ticket = Ticket(slot: slot, generation: generations[Int(slot)])
    let connection = Connection(descriptor: descriptor, ticket: ticket, address: address, limits: limits)
    connections[Int(slot)] = connection
    count += 1
    let events = cepoll_in | cepoll_out | cepoll_rdhup | cepoll_edge
    guard cepoll_add(handle.epoll, descriptor, events, UInt64(ticket.generation) << 32 | UInt64(slot)) == 0 else {
      return destroy(connection)
    }
    if overLimit { refuse(HTTPFault(.serviceUnavailable, "The server has no more room for connections."), on: connection) }
    advance(connection)
  }

  /// Closes at once; a task that still works for this connection is cancelled, its writes fail.
  func destroy(_ connection: Connection, reset: Bool = false) {
    let slot = Int(connection.ticket.slot)
    guard slot < connections.count, connections[slot] === connection else { return }
    connection.phase = .dead
    // In this order: a writer that waits learns that the client is gone, and not just that it is cancelled.
    connection.channel?.cut()
    connection.task?.cancel()
    if reset {
      var linger = linger(l_onoff: 1, l_linger: 0)
      setsockopt(connection.descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
    }
    close(connection.descriptor)
    connections[slot] = nil
    freeSlots.append(connection.ticket.slot)
    count -= 1
    handle.load.subtract(1, ordering: .relaxed)
    shared.open.subtract(1, ordering: .relaxed)
  }
}

extension Message {
  /// Releases what a message that nobody can take any more holds.
  func discard() {
    switch self {
    case .adopt(let descriptor, _, _): close(descriptor)
    case .answer(_, _, let channel): channel?.cut()
    case .stream(_, let channel): channel.cut()
    case .drain: break
    }
  }
}
