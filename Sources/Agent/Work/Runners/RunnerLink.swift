// The agent's end of one runner that it started itself: sends orders, takes messages. Never waits: what the socket does not take now is
// kept and tried again shortly. Belongs to the engine's thread.

import Glibc
import Runner

final class RunnerLink {
  let process: RunnerProcess
  let identity: ProcessIdentity
  /// The file that its records go to now.
  var records: [UInt8]
  /// What it has, from the sending of the order until its end or refusal was heard.
  var attempt: Attempt?
  /// It takes the next order at once.
  var isIdle = false
  /// It takes no more.
  var isRetiring = false
  private(set) var isOpen = true
  /// When what the socket did not take is tried again; nil: that is not under way.
  var flushAfter: Duration?
  private var incoming = FrameBuffer()
  private var outgoing: [UInt8] = []

  init(process: RunnerProcess, identity: ProcessIdentity, records: [UInt8]) {
    self.process = process
    self.identity = identity
    self.records = records
    _ = fcntl(process.socket, F_SETFL, O_NONBLOCK)
  }

  var hasUnsent: Bool { !outgoing.isEmpty }
  /// What came is no frame: nothing behind it can be understood.
  var isBroken: Bool { incoming.isBroken }

  func send(_ order: RunnerOrder) {
    outgoing += order.framed
    flush()
  }

  /// Sends what the socket takes now.
  /// - Returns: whether it took anything.
  @discardableResult
  func flush() -> Bool {
    var sent = 0
    while isOpen, sent < outgoing.count {
      let count = outgoing[sent...].withUnsafeBytes {
        Glibc.send(process.socket, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
      }
      if count < 0 && errno == EINTR { continue }
      // An error other than "full" is heard again as end-of-file by whoever reads.
      guard count > 0 else { break }
      sent += count
    }
    outgoing.removeFirst(sent)
    return sent > 0
  }

  /// Takes in what has arrived.
  /// - Returns: false once the runner has closed its end.
  func receive(_ buffer: UnsafeMutableRawBufferPointer) -> Bool {
    while isOpen {
      let count = recv(process.socket, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
      if count < 0 && errno == EINTR { continue }
      if count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) { return true }
      guard count > 0 else { return false }
      incoming.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      if count < buffer.count { return true }
    }
    return false
  }

  /// The next message; what this version does not know is passed over.
  func nextMessage() -> RunnerMessage? {
    while let frame = incoming.next() {
      if let message = RunnerMessage(frame: frame) { return message }
    }
    return nil
  }

  func close() {
    guard isOpen else { return }
    isOpen = false
    outgoing = []
    Glibc.close(process.socket)
  }
}
