// A proxy between a program and its Redis that knows where each command begins and ends: it can lose one chosen request, or let it be done
// and lose its reply, with every connection that goes through it; and it can be slow, or fall silent.
// One thread does everything; what tests ask for reaches it through one lock and a pipe.
import Glibc
import Redis
import Synchronization

public final class RedisProxy: Sendable {
  /// Which half of a command's way is lost.
  public enum Loss: String, Sendable, CaseIterable {
    /// The server never gets it.
    case request
    /// The server does it; nobody hears of it.
    case reply
  }

  /// The n-th command of a kind that passes from now on.
  public struct Place: Sendable, Hashable, CustomStringConvertible {
    public var command: String
    public var occurrence: Int

    public init(command: String, occurrence: Int) { (self.command, self.occurrence) = (command, occurrence) }
    public var description: String { "\(command)#\(occurrence)" }
  }

  struct Orders {
    var target: (place: Place, loss: Loss)?
    var whenCut: (@Sendable () -> Void)?
    var seen: [String: Int] = [:]
    var cuts = 0
    var isRecording = false
    var life: [Place] = []
    var delay: Duration = .zero
    var isSilent = false
    var cutsAll = false
    var isOver = false
  }

  /// On 127.0.0.1.
  public let port: Int
  private let orders = OrderBook()
  private let wake: (read: Int32, write: Int32)

  /// - Parameters:
  ///   - server: the port of the Redis behind it.
  ///   - scripts: those that are to be called by their names; others are `EVALSHA`.
  public init(to server: Int, scripts: [RedisScript] = []) throws {
    port = try freePort()
    var pipes: [Int32] = [0, 0]
    guard pipe(&pipes) == 0 else { throw TestFailure("pipe: errno \(errno)") }
    for descriptor in pipes { makeOurs(descriptor) }
    wake = (pipes[0], pipes[1])
    var names: [[UInt8]: String] = [:]
    for script in scripts {
      names[Array(script.sha1.utf8)] = script.name
      names[Array(script.source.utf8)] = script.name
    }
    let listener = try listening(port)
    let (orders, reader, scriptNames) = (orders, pipes[0], names)
    startThread {
      ProxyLoop(listener: listener, server: server, wake: reader, names: scriptNames, orders: orders).run()
    }
  }

  deinit {
    orders.withLock { $0.isOver = true }
    ring()
    close(wake.write)
  }

  // MARK: What a test asks for

  /// Cuts every connection at that command, once.
  /// - Parameter whenCut: called on the proxy's thread right before the connections are closed.
  public func cut(at place: Place, losing loss: Loss, whenCut: (@Sendable () -> Void)? = nil) {
    orders.withLock {
      $0.target = (place, loss)
      $0.whenCut = whenCut
      $0.seen = [:]
    }
  }

  /// Whether the command that was asked for has come, and was lost.
  public var hasCut: Bool { orders.withLock { $0.target == nil } }

  /// Takes back what has not happened.
  public func disarm() {
    orders.withLock {
      $0.target = nil
      $0.whenCut = nil
    }
  }

  /// Notes every command from now on.
  public func record() {
    orders.withLock {
      $0.isRecording = true
      $0.life = []
      $0.seen = [:]
    }
  }

  /// Whether each of these has passed since then.
  public func hasRecorded(_ commands: Set<String>) -> Bool {
    orders.withLock { orders in commands.isSubset(of: orders.life.map(\.command)) }
  }

  /// What passed since then, in order; nothing more is noted.
  public func recorded() -> [Place] {
    orders.withLock {
      $0.isRecording = false
      return $0.life
    }
  }

  /// Closes every connection; new ones are taken.
  public func cutAll() {
    orders.withLock { $0.cutsAll = true }
    ring()
  }

  /// How long everything is held, in each direction.
  public func slow(_ delay: Duration) { orders.withLock { $0.delay = delay } }

  /// Connections are accepted and stay open, and nothing comes out of them any more.
  public func fallSilent(_ silent: Bool) {
    orders.withLock { $0.isSilent = silent }
    ring()
  }

  private func ring() {
    var byte: UInt8 = 1
    _ = write(wake.write, &byte, 1)
  }
}

/// What the loop and the proxy share; the loop must not keep the proxy itself alive.
private final class OrderBook: Sendable {
  private let orders = Mutex(RedisProxy.Orders())
  func withLock<T: Sendable>(_ body: (inout sending RedisProxy.Orders) -> sending T) -> T { orders.withLock(body) }
}

/// One direction of a connection.
private struct Flow {
  var partial: [UInt8] = []
  var held: [(due: Int64, bytes: [UInt8])] = []
  var out: [UInt8] = []
}

/// A client's connection and ours to the server. Belongs to the loop's thread.
private final class Pair {
  let client: Int32
  let server: Int32
  var requests = Flow()
  var replies = Flow()
  /// For each request that has no reply yet, whether its reply is the one to lose.
  var inFlight: [Bool] = []

  init(client: Int32, server: Int32) {
    self.client = client
    self.server = server
  }

  deinit {
    for descriptor in [client, server] {
      // Ends it even where a server that was started meanwhile inherited the descriptor.
      shutdown(descriptor, Int32(SHUT_RDWR))
      close(descriptor)
    }
  }
}

private final class ProxyLoop {
  private let listener: Int32
  private let server: Int
  private let wake: Int32
  private let names: [[UInt8]: String]
  private let orders: OrderBook
  private var pairs: [Pair] = []
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)

  init(listener: Int32, server: Int, wake: Int32, names: [[UInt8]: String], orders: OrderBook) {
    self.listener = listener
    self.server = server
    self.wake = wake
    self.names = names
    self.orders = orders
  }

  func run() {
    while true {
      let (over, cut, silent) = orders.withLock { orders -> (Bool, Bool, Bool) in
        defer { orders.cutsAll = false }
        return (orders.isOver, orders.cutsAll, orders.isSilent)
      }
      if over { break }
      if cut { pairs = [] }
      if !silent { release() }
      var descriptors = [
        pollfd(fd: wake, events: Int16(POLLIN), revents: 0), pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
      ]
      for pair in pairs {
        let events = silent ? Int16(0) : Int16(POLLIN)
        descriptors.append(
          pollfd(fd: pair.client, events: pair.replies.out.isEmpty ? events : events | Int16(POLLOUT), revents: 0))
        descriptors.append(
          pollfd(fd: pair.server, events: pair.requests.out.isEmpty ? events : events | Int16(POLLOUT), revents: 0))
      }
      poll(&descriptors, nfds_t(descriptors.count), timeout(silent))
      if descriptors[0].revents != 0 { while read(wake, &buffer, buffer.count) > 0 {} }
      let present = pairs
      for (index, pair) in present.enumerated() where pairs.contains(where: { $0 === pair }) {
        let (client, server) = (descriptors[2 + 2 * index].revents, descriptors[3 + 2 * index].revents)
        if client != 0 && !serveClient(pair) || server != 0 && pairs.contains(where: { $0 === pair }) && !serveServer(pair) {
          pairs.removeAll { $0 === pair }
        }
      }
      if descriptors[1].revents != 0 { accept() }
    }
    pairs = []
    close(listener)
    close(wake)
  }

  private func accept() {
    let client = Glibc.accept(listener, nil, nil)
    guard client >= 0 else { return }
    makeOurs(client)
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = loopback(port: server)
    let isConnected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    guard isConnected else {
      close(client)
      close(descriptor)
      return
    }
    makeOurs(descriptor)
    for socket in [client, descriptor] {
      var yes: Int32 = 1
      setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    }
    pairs.append(Pair(client: client, server: descriptor))
  }

  // MARK: Bytes

  /// False: the connection has ended.
  private func serveClient(_ pair: Pair) -> Bool {
    guard take(pair.client, into: &pair.requests.partial) else { return false }
    while let length = RESPScanner.length(pair.requests.partial[...]) {
      let request = Array(pair.requests.partial[..<length])
      pair.requests.partial.removeFirst(length)
      switch judge(request) {
      case .pass: pair.inFlight.append(false)
      case .loseReply: pair.inFlight.append(true)
      case .loseRequest: return cut()
      }
      hold(&pair.requests, request)
    }
    return flush(&pair.requests, to: pair.server) && flush(&pair.replies, to: pair.client)
  }

  private func serveServer(_ pair: Pair) -> Bool {
    guard take(pair.server, into: &pair.replies.partial) else { return false }
    while let length = RESPScanner.length(pair.replies.partial[...]) {
      let reply = Array(pair.replies.partial[..<length])
      pair.replies.partial.removeFirst(length)
      if !pair.inFlight.isEmpty, pair.inFlight.removeFirst() { return cut() }
      hold(&pair.replies, reply)
    }
    return flush(&pair.replies, to: pair.client) && flush(&pair.requests, to: pair.server)
  }

  private func take(_ descriptor: Int32, into bytes: inout [UInt8]) -> Bool {
    while true {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count > 0 { bytes += buffer[..<count] } else { return count < 0 && (errno == EAGAIN || errno == EINTR) }
    }
  }

  private func hold(_ flow: inout Flow, _ bytes: [UInt8]) {
    let delay = orders.withLock { $0.delay }.components
    let due = now() + delay.seconds * 1000 + delay.attoseconds / 1_000_000_000_000_000
    if due == now(), flow.held.isEmpty { flow.out += bytes } else { flow.held.append((due, bytes)) }
  }

  /// What was held long enough.
  private func release() {
    for pair in pairs {
      ripen(&pair.requests)
      ripen(&pair.replies)
      _ = flush(&pair.requests, to: pair.server)
      _ = flush(&pair.replies, to: pair.client)
    }
  }

  private func ripen(_ flow: inout Flow) {
    while let first = flow.held.first, first.due <= now() {
      flow.out += first.bytes
      flow.held.removeFirst()
    }
  }

  private func flush(_ flow: inout Flow, to descriptor: Int32) -> Bool {
    while !flow.out.isEmpty {
      let count = send(descriptor, flow.out, flow.out.count, Int32(MSG_NOSIGNAL))
      guard count > 0 else { return errno == EAGAIN || errno == EINTR }
      flow.out.removeFirst(count)
    }
    return true
  }

  private func timeout(_ silent: Bool) -> Int32 {
    guard !silent,
      let due = pairs.flatMap({ [$0.requests.held.first?.due, $0.replies.held.first?.due] }).compactMap({ $0 }).min()
    else { return 1000 }
    return Int32(max(0, min(1000, due - now())))
  }

  private func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }

  // MARK: Commands

  private enum Judgement { case pass, loseRequest, loseReply }

  private func judge(_ request: [UInt8]) -> Judgement {
    let words = RESPScanner.words(request[...], limit: 2)
    guard let first = words.first else { return .pass }
    var name = String(decoding: first, as: UTF8.self).uppercased()
    if name.hasPrefix("EVAL"), words.count > 1, let script = names[words[1]] { name = script }
    let command = name
    return orders.withLock { orders -> Judgement in
      let occurrence = orders.seen[command, default: 0] + 1
      orders.seen[command] = occurrence
      let place = RedisProxy.Place(command: command, occurrence: occurrence)
      if orders.isRecording { orders.life.append(place) }
      guard let target = orders.target, target.place == place else { return .pass }
      return target.loss == .request ? .loseRequest : .loseReply
    }
  }

  /// Ends every connection, with whatever was on its way. Always false, for the caller to return.
  private func cut() -> Bool {
    let whenCut = orders.withLock { orders -> (@Sendable () -> Void)? in
      orders.target = nil
      orders.cuts += 1
      return orders.whenCut
    }
    whenCut?()
    pairs = []
    return false
  }
}

/// Not inherited, and never waited for.
private func makeOurs(_ descriptor: Int32) {
  _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
  _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
}

private func listening(_ port: Int) throws -> Int32 {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
  var yes: Int32 = 1
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
  var address = loopback(port: port)
  let isBound = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
    }
  }
  guard isBound, listen(descriptor, 1024) == 0 else { throw TestFailure("cannot listen: errno \(errno)") }
  return descriptor
}

private final class Body {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

private func startThread(_ run: @escaping @Sendable () -> Void) {
  var thread = pthread_t()
  let code = pthread_create(
    &thread, nil,
    { body in
      if let body { Unmanaged<Body>.fromOpaque(body).takeRetainedValue().run() }
      return nil
    }, Unmanaged.passRetained(Body(run)).toOpaque())
  if code == 0 { pthread_detach(thread) }
}
