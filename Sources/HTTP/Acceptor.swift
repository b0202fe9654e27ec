// Accepts for all loops, on the first one, and deals each connection to the loop with the fewest.
//
// One listener and not one per loop with SO_REUSEPORT: the load is even, a second program on the same port is an error and
// not a silent sharer, and the connection limit and the shortage of descriptors are handled in one place.
// Out of descriptors: a spare one is given up to accept the client, answer 503 and close; without that the listener would
// stay readable and the loop would spin. If even that fails, accepting pauses for a moment.

import CEpoll
import Glibc

struct Acceptor {
  private let listener: Listener
  private let shared: ServerShared
  private let epoll: Int32
  private var spare: Int32
  /// When a pause ends, in monotonic nanoseconds.
  private(set) var resumeAt: UInt64?

  /// Connections beyond the limit that may wait for their 503 at once; more are closed without one.
  private static let refusedAtOnce = 256
  private static let batch = 64
  private static let pause: UInt64 = 50_000_000

  init(listener: Listener, shared: ServerShared, epoll: Int32) {
    self.listener = listener
    self.shared = shared
    self.epoll = epoll
    spare = Self.openSpare()
    if !watch() { resumeAt = 0 }
  }

  private static func openSpare() -> Int32 { open("/dev/null", O_RDONLY | O_CLOEXEC) }

  /// Level-triggered: what a batch leaves is seen again.
  private func watch() -> Bool { cepoll_add(epoll, listener.descriptor, cepoll_in, LoopHandle.listenerToken) == 0 }

  mutating func accept(now: UInt64) {
    for _ in 0..<Self.batch {
      var address = PeerAddress()
      let descriptor = address.withPointer { cepoll_accept(listener.descriptor, $0, &$1) }
      if descriptor >= 0 {
        deal(descriptor, address)
        continue
      }
      switch errno {
      case EMFILE, ENFILE, ENOBUFS, ENOMEM:
        shed(now: now)
        return
      case EAGAIN, EBADF, EINVAL: return
      // Errors of the one connection that was to be accepted.
      default: continue
      }
    }
  }

  private func deal(_ descriptor: Int32, _ address: PeerAddress) {
    let open = shared.open.add(1, ordering: .relaxed).newValue
    guard open <= shared.limits.connections + Self.refusedAtOnce else {
      shared.open.subtract(1, ordering: .relaxed)
      close(descriptor)
      return
    }
    var (target, least) = (shared.handles[0], Int.max)
    for handle in shared.handles {
      let load = handle.load.load(ordering: .relaxed)
      if load < least { (target, least) = (handle, load) }
    }
    target.load.add(1, ordering: .relaxed)
    target.mailbox.post(.adopt(descriptor, address, overLimit: open > shared.limits.connections))
  }

  private mutating func shed(now: UInt64) {
    if spare >= 0 { close(spare) }
    let descriptor = cepoll_accept(listener.descriptor, nil, nil)
    if descriptor >= 0 {
      let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
      _ = answer.utf8.withContiguousStorageIfAvailable {
        send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      // A request that is here already is taken in, or closing would reset the connection over the answer.
      shutdown(descriptor, Int32(SHUT_WR))
      withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { room in
        _ = recv(descriptor, room.baseAddress, room.count, 0)
      }
      close(descriptor)
    }
    spare = Self.openSpare()
    if descriptor < 0 || spare < 0 {
      _ = cepoll_remove(epoll, listener.descriptor)
      resumeAt = now + Self.pause
    }
  }

  mutating func resumeIfDue(_ now: UInt64) {
    guard let resumeAt, resumeAt <= now else { return }
    if spare < 0 { spare = Self.openSpare() }
    self.resumeAt = watch() ? nil : now + Self.pause
  }

  /// Takes what has connected already, then closes the listener.
  mutating func stop(now: UInt64) {
    accept(now: now)
    resumeAt = nil
    listener.close()
    if spare >= 0 { close(spare) }
    spare = -1
  }
}
