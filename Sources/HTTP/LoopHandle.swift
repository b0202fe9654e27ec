// What other threads know of an event loop: its mailbox, its epoll, how many connections it has.

import CEpoll
import Glibc
import Synchronization

final class LoopHandle: Sendable {
  let mailbox: Mailbox
  let epoll: Int32
  /// Connections given to this loop and not yet closed.
  let load = Atomic(0)

  /// Epoll tokens below this one are not connections.
  static let firstConnectionToken: UInt64 = 1 << 32
  static let wakeToken: UInt64 = 0
  static let listenerToken: UInt64 = 1

  init() throws(ServerError) {
    mailbox = try Mailbox()
    epoll = cepoll_create()
    if epoll < 0 { throw ServerError("make an epoll", code: errno) }
    // Edge-triggered, so the eventfd never has to be read.
    if cepoll_add(epoll, mailbox.wakeDescriptor, cepoll_in | cepoll_edge, Self.wakeToken) != 0 {
      throw ServerError("watch an eventfd", code: errno)
    }
  }

  deinit { if epoll >= 0 { close(epoll) } }
}

/// What all loops of a server share.
final class ServerShared: Sendable {
  let router: Router
  let limits: ServerLimits
  let handles: [LoopHandle]
  let open = Atomic(0)
  let draining = Atomic(false)

  init(router: Router, limits: ServerLimits, handles: [LoopHandle]) {
    self.router = router
    self.limits = limits
    self.handles = handles
  }
}
