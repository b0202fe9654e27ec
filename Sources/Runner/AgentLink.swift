// The runner's end of the socket to the agent. It never waits for the agent: what cannot be sent at once is kept, and output messages
// are left out once too much is kept (the agent sees the gap by the offsets, and has the records file).

import Glibc

final class AgentLink {
  /// Bytes waiting to be sent beyond which output messages are left out.
  static let congested = 1 << 20

  private let socket: Int32
  private var incoming = FrameBuffer()
  private var outgoing: [UInt8] = []
  private var sent = 0
  private(set) var isOpen = true

  init(socket: Int32) { self.socket = socket }

  /// For poll: -1 once closed, which poll passes over.
  var descriptor: Int32 { isOpen ? socket : -1 }
  var hasUnsent: Bool { isOpen && sent < outgoing.count }
  var isCongested: Bool { !isOpen || outgoing.count - sent > AgentLink.congested }

  func post(_ message: RunnerMessage) {
    guard isOpen else { return }
    outgoing.append(contentsOf: message.framed)
  }

  /// Sends what the socket takes now.
  func flush() {
    while hasUnsent {
      let count = outgoing[sent...].withUnsafeBytes {
        send(socket, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
      }
      if count < 0 && errno == EINTR { continue }
      if count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) { return }
      if count < 0 { return close() }
      sent += count
    }
    sent = 0
    if outgoing.capacity > 65536 { outgoing = [] } else { outgoing.removeAll(keepingCapacity: true) }
  }

  /// Takes in what has arrived. After end-of-file whole orders that came before it can still be taken.
  func receive() {
    withUnsafeTemporaryAllocation(byteCount: 16384, alignment: 16) { buffer in
      while isOpen {
        let count = recv(socket, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
        if count < 0 && errno == EINTR { continue }
        if count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) { return }
        guard count > 0 else { return close() }
        incoming.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        if count < buffer.count { return }
      }
    }
  }

  /// The next order; what this version does not know is passed over, an attempt it cannot read is refused.
  func nextOrder() -> RunnerOrder? {
    while let frame = incoming.next() {
      if let order = RunnerOrder(frame: frame) { return order }
      if frame.first == RunnerOrder.Kind.attempt {
        post(.refused(RefusedRecord(run: "", attempt: 0, reason: .malformed, error: EBADMSG)))
        post(.idle)
      }
    }
    if incoming.isBroken { close() }
    return nil
  }

  func close() {
    guard isOpen else { return }
    isOpen = false
    outgoing = []
    sent = 0
    Glibc.close(socket)
  }
}
