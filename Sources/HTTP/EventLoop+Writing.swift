// From answers to the socket. What the kernel does not take goes to the connection's output and follows on the next edge.

import CEpoll
import Glibc

extension EventLoop {
  /// Sends the outbox, and `body` behind it, in one system call.
  func flush(_ connection: Connection, followedBy body: [UInt8] = []) {
    defer { outbox.removeAll() }
    guard outbox.count > 0 || !body.isEmpty, connection.phase != .dead else { return }
    guard connection.output.isEmpty else {
      connection.output.append(outbox.bytes)
      connection.output.append(body)
      return
    }
    let head = outbox.bytes
    let sent = body.isEmpty ? transmit(connection, head) : transmit(connection, head, body)
    guard let sent else { return }
    if sent == head.count + body.count { return }
    if sent < head.count {
      connection.output.append(UnsafeRawBufferPointer(rebasing: head[sent...]))
      connection.output.append(body)
    } else {
      connection.output.append(body, skipping: sent - head.count)
    }
  }

  /// Sends as much of the output as the kernel takes.
  func writeMore(_ connection: Connection) {
    while !connection.output.isEmpty {
      let (sent, all) = connection.output.withNext(gatheringIn: gathering) { bytes in
        (transmit(connection, bytes), bytes.count)
      }
      guard let sent else { return }
      connection.output.drop(sent)
      // A head that had to wait counts as well: a few hundred bytes in the stream's favour.
      if sent > 0 { connection.channel?.sent(sent) }
      if sent < all { return }
    }
    endStreamIfWritten(connection)
  }

  /// The number of bytes sent, 0 when there is no room; nil when the connection is gone.
  private func transmit(_ connection: Connection, _ bytes: UnsafeRawBufferPointer) -> Int? {
    conclude(connection) { Glibc.send(connection.descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) }
  }

  private func transmit(_ connection: Connection, _ head: UnsafeRawBufferPointer, _ body: [UInt8]) -> Int? {
    body.withUnsafeBytes { body in
      withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { vectors in
        vectors[0] = iovec(iov_base: UnsafeMutableRawPointer(mutating: head.baseAddress), iov_len: head.count)
        vectors[1] = iovec(iov_base: UnsafeMutableRawPointer(mutating: body.baseAddress), iov_len: body.count)
        var message = msghdr()
        message.msg_iov = vectors.baseAddress
        message.msg_iovlen = 2
        return conclude(connection) { sendmsg(connection.descriptor, &message, Int32(MSG_NOSIGNAL)) }
      }
    }
  }

  private func conclude(_ connection: Connection, _ call: () -> Int) -> Int? {
    while true {
      let sent = call()
      if sent >= 0 {
        connection.since = sent > 0 ? now : connection.since
        return sent
      }
      if errno == EINTR { continue }
      if errno == EAGAIN { return 0 }
      connection.phase = .dead
      return nil
    }
  }
}
