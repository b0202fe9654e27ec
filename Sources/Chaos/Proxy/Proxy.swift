// The proxy between one program and Redis: a port of its own that forwards to Redis's, and does to the connections what the plan says.
// All of them are served by one thread (`ProxyLoop`); what it does is changed from outside by `set` and `strike`.

import Glibc
import Synchronization

final class Proxy: Sendable {
  struct Orders {
    var mode = LinkMode.pass
    var blows: [LinkBlow] = []
  }
  let port: Int
  let target: Int
  fileprivate let listener: Int32
  fileprivate let orders = Mutex(Orders())

  /// - Parameter target: Redis's port.
  init(to target: Int) throws {
    guard let found = Loopback.listen(0) else { throw HarnessFault("no free port for a proxy") }
    (listener, port) = found
    self.target = target
  }

  func set(_ mode: LinkMode) { orders.withLock { $0.mode = mode } }
  func strike(_ blow: LinkBlow) { orders.withLock { $0.blows.append(blow) } }
}

final class ProxyLoop: Sendable {
  private let proxies: [Proxy]
  private let isOver = Atomic(false)
  private let thread = Mutex<Background?>(nil)

  init(_ proxies: [Proxy]) {
    self.proxies = proxies
    thread.withLock { $0 = Background { [self] in run() } }
  }

  func stop() {
    isOver.store(true, ordering: .relaxed)
    thread.withLock {
      $0?.join()
      $0 = nil
    }
  }

  private func run() {
    var served = proxies.map { Served($0) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
    defer { buffer.deallocate() }
    while !isOver.load(ordering: .relaxed) {
      var descriptors: [pollfd] = []
      for index in served.indices { served[index].prepare(&descriptors) }
      // Orders and delays are looked at every 2 ms at the latest, and only while there is a reason.
      let isWaiting = served.contains { $0.isWaiting }
      _ = poll(&descriptors, nfds_t(descriptors.count), isWaiting ? 2 : 20)
      var next = 0
      for index in served.indices { served[index].serve(descriptors, &next, buffer) }
    }
    for index in served.indices { served[index].end() }
  }
}

/// One proxy as the loop's thread sees it.
private struct Served {
  let proxy: Proxy
  var mode = LinkMode.pass
  var connections: [ProxiedConnection] = []
  /// A blow that waits for the next bytes of any connection.
  var armed: LinkBlow?

  init(_ proxy: Proxy) { self.proxy = proxy }

  var isWaiting: Bool { connections.contains { $0.requests.waiting + $0.replies.waiting > 0 } }
  private var delay: Int { if case .delay(let milliseconds) = mode { milliseconds } else { 0 } }

  mutating func prepare(_ descriptors: inout [pollfd]) {
    let (mode, blows) = proxy.orders.withLock { orders in
      defer { orders.blows = [] }
      return (orders.mode, orders.blows)
    }
    self.mode = mode
    for blow in blows { strike(blow) }
    if mode == .refuse { closeAll() }
    connections.removeAll { $0.isClosed }
    descriptors.append(pollfd(fd: proxy.listener, events: Int16(POLLIN), revents: 0))
    for connection in connections {
      let isRead = mode != .silent
      let wantsRequests = isRead && !connection.requests.isEnded && connection.requests.waiting < ProxiedConnection.Way.most
      let wantsReplies = isRead && !connection.replies.isEnded && connection.replies.waiting < ProxiedConnection.Way.most
      descriptors.append(pollfd(fd: wantsRequests ? connection.program : -1, events: Int16(POLLIN), revents: 0))
      descriptors.append(pollfd(fd: wantsReplies ? connection.redis : -1, events: Int16(POLLIN), revents: 0))
    }
  }

  mutating func serve(_ descriptors: [pollfd], _ next: inout Int, _ buffer: UnsafeMutableRawBufferPointer) {
    let hasNew = descriptors[next].revents != 0
    next += 1
    let now = Monotonic.milliseconds
    for connection in connections {
      let (request, reply) = (descriptors[next].revents != 0, descriptors[next + 1].revents != 0)
      next += 2
      if request {
        if let blow = armed {
          connection.pending = blow
          armed = nil
        }
        connection.read(.request, due: now + delay, into: buffer)
      }
      if reply { connection.read(.reply, due: now + delay, into: buffer) }
      guard mode != .silent else { continue }
      connection.write(.request, now: now)
      connection.write(.reply, now: now)
    }
    if hasNew { accept() }
  }

  private mutating func accept() {
    while true {
      let program = Glibc.accept(proxy.listener, nil, nil)
      guard program >= 0 else { return }
      _ = fcntl(program, F_SETFD, FD_CLOEXEC)
      guard mode != .refuse, let redis = connectToRedis() else {
        close(program)
        continue
      }
      connections.append(ProxiedConnection(program: program, redis: redis))
    }
  }

  private func connectToRedis() -> Int32? {
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    let redis = socket(AF_INET, kind, 0)
    guard redis >= 0 else { return nil }
    var address = Loopback.address(proxy.target)
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(redis, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    if code == 0 || errno == EINPROGRESS { return redis }
    close(redis)
    return nil
  }

  private mutating func strike(_ blow: LinkBlow) {
    switch blow {
    case .cut: closeAll()
    case .halfCloseFromRedis: for connection in connections { connection.halfClose(towards: .reply) }
    case .halfCloseToRedis: for connection in connections { connection.halfClose(towards: .request) }
    case .cutBeforeReply, .swallowReplies, .cutWithinRequest, .cutWithinReply: armed = blow
    }
  }

  private func closeAll() { for connection in connections { connection.close(byReset: true) } }

  mutating func end() {
    closeAll()
    close(proxy.listener)
  }
}
