// One connection through the proxy: a program's socket, Redis's socket, and what is on its way in each direction. Owned by the proxy's thread.

import Glibc

final class ProxiedConnection {
  enum Direction { case request, reply }

  /// Bytes on their way, each piece with the time before which it may not arrive.
  struct Way {
    var pieces: [(due: Int, bytes: [UInt8])] = []
    var waiting = 0
    /// The source has said that nothing more comes.
    var isEnded = false
    /// The sink was told so, or takes nothing any more.
    var isShut = false
    static let most = 4 << 20
  }

  let program: Int32
  let redis: Int32
  var requests = Way()
  var replies = Way()
  /// A blow that waits for this connection's next bytes.
  var pending: LinkBlow?
  private(set) var isClosed = false

  init(program: Int32, redis: Int32) {
    (self.program, self.redis) = (program, redis)
    Loopback.noDelay(program)
    Loopback.noDelay(redis)
  }

  func close(byReset: Bool = false) {
    guard !isClosed else { return }
    isClosed = true
    for socket in [program, redis] {
      if byReset {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
      }
      Glibc.close(socket)
    }
  }

  /// Reads what is there; `due` is when it may arrive at the other side.
  func read(_ direction: Direction, due: Int, into buffer: UnsafeMutableRawBufferPointer) {
    guard !isClosed else { return }
    let count = recv(direction == .request ? program : redis, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
    if count < 0 { return errno == EAGAIN || errno == EINTR ? () : close() }
    if count == 0 {
      if direction == .request { requests.isEnded = true } else { replies.isEnded = true }
      return
    }
    var bytes = Array(buffer[..<count])
    if let blow = pending {
      switch (blow, direction) {
      // The reply shows that the request is done.
      case (.cutBeforeReply, .reply): return close(byReset: true)
      case (.swallowReplies, .reply): return
      case (.cutWithinRequest, .request), (.cutWithinReply, .reply):
        bytes.removeLast(count - count / 2)
        deliver(bytes, direction)
        return close()
      default: break
      }
    }
    if direction == .request { push(bytes, due, &requests) } else { push(bytes, due, &replies) }
  }

  private func push(_ bytes: [UInt8], _ due: Int, _ way: inout Way) {
    guard !way.isShut else { return }
    way.pieces.append((due, bytes))
    way.waiting += bytes.count
  }

  /// As much as it takes at once: the connection is closed right after.
  private func deliver(_ bytes: [UInt8], _ direction: Direction) {
    write(direction, now: .max)
    let socket = direction == .request ? redis : program
    _ = bytes.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) }
  }

  /// Writes what is due.
  func write(_ direction: Direction, now: Int) {
    guard !isClosed else { return }
    if direction == .request { write(&requests, to: redis, now: now) } else { write(&replies, to: program, now: now) }
    // Both have said all.
    if requests.isEnded && requests.pieces.isEmpty || replies.isEnded && replies.pieces.isEmpty { finish() }
  }

  private func write(_ way: inout Way, to socket: Int32, now: Int) {
    while let first = way.pieces.first, first.due <= now, !way.isShut {
      let count = first.bytes.withUnsafeBytes {
        send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
      }
      if count < 0 {
        if errno != EAGAIN && errno != EINTR { way.isShut = true }
        break
      }
      way.waiting -= count
      if count == first.bytes.count { way.pieces.removeFirst() } else { way.pieces[0].bytes.removeFirst(count) }
    }
    if way.isShut {
      way.pieces.removeAll()
      way.waiting = 0
    }
  }

  /// One side has ended, and what it said was delivered: the other side is told.
  private func finish() {
    if replies.isEnded && replies.pieces.isEmpty { return close() }
    if !requests.isShut {
      shutdown(redis, Int32(SHUT_WR))
      requests.isShut = true
    }
  }

  func halfClose(towards direction: Direction) {
    guard !isClosed else { return }
    if direction == .reply {
      shutdown(program, Int32(SHUT_WR))
      replies.isShut = true
      replies.pieces.removeAll()
    } else {
      shutdown(redis, Int32(SHUT_WR))
      requests.isShut = true
      requests.pieces.removeAll()
    }
  }
}
