// The one owner of a connection's socket: a loop on a thread of its own that sleeps in `poll` until there is something to do.
// Single ownership is proved by the compiler: this class is not Sendable, is made inside its thread (`RedisConnection.init`) and
// never leaves it; everybody else has the `Mailbox`.
//
// Invariants:
// - replies are matched to `inFlight` in order; whatever breaks that order ends the link;
// - a command counts as sent once its last byte was given to the kernel: a server executes only whole commands;
// - a blocking call is sent alone: nothing is in flight before it, nothing is sent behind it;
// - every call that was taken is finished exactly once, whatever happens to the link.
//
// The link's life is in `ConnectionOwner+Link.swift`, calls and replies are in `ConnectionOwner+Calls.swift`.
import DequeModule
import Glibc

final class ConnectionOwner {
  /// Where the link stands. Deadlines beside those of calls: `attemptDeadline`, and what a case holds.
  enum Phase {
    case waiting(until: MonotonicTime)
    case resolving
    case opening(Socket, others: [SocketAddress], deadline: MonotonicTime)
    case greeting(Socket, Greeting, answered: Int)
    case ready(Socket, since: MonotonicTime)
  }

  /// A command that was encoded and has no reply yet.
  struct InFlight {
    let call: PendingCall
    let index: Int
    /// The stream position after its last byte.
    let end: UInt64
    let withSource: Bool
  }

  let configuration: RedisConfiguration
  let mailbox: Mailbox
  /// Read once per round of the loop.
  var now = MonotonicTime.now

  var phase = Phase.waiting(until: MonotonicTime(nanoseconds: 0))
  var attempt = 0
  var attemptDeadline = MonotonicTime(nanoseconds: 0)
  var failuresInARow = 0
  /// Why there is no link now; nil while there is one or none was tried yet.
  var lastFault: RedisFault?
  /// Whether the link was dropped on purpose and the next one is on its way; calls wait for it.
  var isReopening = false
  var epoch = 0
  /// Where the present attempt goes to.
  var server: RedisConfiguration.Address
  /// In which order the Sentinels are asked: those that answered last come first. At the start any: not everybody begins with the same one.
  var sentinelOrder: [Int]
  /// The server has said that it is no master any more: nothing more is sent, and the link goes once what was sent is answered.
  var isDemoted = false
  /// When the Sentinels are asked again whether they still mean this server; nil while they are being asked, and without them.
  var masterCheckAt: MonotonicTime?

  var waiting: Deque<PendingCall> = []
  var inFlight: Deque<InFlight> = []
  var waiters: [Waiter] = []
  /// No call's deadline is earlier; may be too early itself.
  var earliestCallDeadline: MonotonicTime?
  var isClosing = false
  var closers: [CheckedContinuation<Void, Never>] = []

  var output = OutputBuffer()
  var reader: ReplyReader?
  var lastReadAt = MonotonicTime(nanoseconds: 0)
  var loadedScripts: Set<RedisScript> = []
  let inputBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 16)

  init(configuration: RedisConfiguration, mailbox: Mailbox) {
    self.configuration = configuration
    self.mailbox = mailbox
    server = configuration.address
    sentinelOrder = if case .sentinel(_, let sentinels) = configuration.address { sentinels.indices.shuffled() } else { [] }
  }

  deinit { inputBuffer.deallocate() }

  /// Returns once the connection is closed for good.
  func run() {
    var messages: [Message] = []
    while true {
      now = .now
      mailbox.take(into: &messages)
      handle(messages)
      messages.removeAll(keepingCapacity: messages.capacity <= 1024)
      guard !isClosing else { return shutDown() }
      advanceLink()
      checkMaster()
      expireCalls()
      pump()
      sleep()
    }
  }

  private func sleep() {
    var descriptors = [
      pollfd(fd: mailbox.wakeDescriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: socket?.descriptor ?? -1, events: socketEvents, revents: 0),
    ]
    let mayWait = mailbox.prepareToSleep()
    let timeout = mayWait ? nextDeadline()?.pollTimeout(from: .now) ?? -1 : 0
    guard poll(&descriptors, nfds_t(descriptors.count), timeout) > 0 else { return }
    now = .now
    if descriptors[0].revents != 0 { mailbox.drainWakeups() }
    if descriptors[1].revents != 0 { socketIsReady() }
  }

  private func handle(_ messages: [Message]) {
    var cancelled: Set<UInt64> = []
    for message in messages {
      switch message {
      case .submit(let submission): accept(submission)
      case .cancel(let id): cancelled.insert(id)
      case .wait(let waiter): accept(waiter)
      case .resolved(let attempt, let result): resolved(attempt, result)
      case .master(let attempt, let address): checked(attempt, address)
      case .close(let continuation):
        isClosing = true
        if let continuation { closers.append(continuation) }
      }
    }
    if !cancelled.isEmpty { cancel(cancelled) }
  }

  private func nextDeadline() -> MonotonicTime? {
    [linkDeadline, masterCheckAt, earliestCallDeadline, waiters.compactMap(\.deadline).min()].compactMap { $0 }.min()
  }

  private func shutDown() {
    let rest = mailbox.finish(.closed)
    handle(rest)
    failCalls(.closed, keepWaiting: false)
    for waiter in waiters { waiter.continuation.resume(returning: .closed) }
    waiters = []
    phase = .resolving  // lets go of the socket before anyone is told
    for closer in closers { closer.resume() }
  }
}
