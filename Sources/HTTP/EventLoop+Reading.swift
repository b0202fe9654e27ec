// From bytes to requests: the one function that moves a connection on, and the reading below it.

import CEpoll
import Glibc

extension EventLoop {
  /// Reads of one connection in one turn, so that a fast sender does not hold up the others.
  private static let readsPerTurn = 8

  /// Does everything that can be done for `connection` without waiting. Called after every change to it.
  func advance(_ connection: Connection) {
    var reads = 0
    progress: while true {
      if outbox.count > 0, !(connection.phase == .reading && connection.carryIsFresh) { flush(connection) }
      switch connection.phase {
      case .dead: return destroy(connection)
      case .waiting, .streaming: break progress
      case .finishing:
        guard connection.output.isEmpty else { break progress }
        shutdown(connection.descriptor, Int32(SHUT_WR))
        connection.carry = []
        connection.isReadable = true
        connection.phase = .lingering
      case .lingering:
        if connection.isReadable { discardInput(connection) }
        if connection.phase == .lingering { break progress }
      case .reading:
        guard connection.output.isEmpty else { break progress }
        if connection.carryIsFresh {
          feedCarry(connection)
        } else if connection.isReadable {
          guard reads < Self.readsPerTurn else {
            ready.append(connection.ticket)
            break progress
          }
          reads += 1
          read(connection)
        } else {
          break progress
        }
      }
    }
    if isDraining, connection.isIdle { return destroy(connection) }
    arm(connection)
  }

  private func read(_ connection: Connection) {
    guard let base = readBuffer.baseAddress else { return }
    let number = recv(connection.descriptor, base, readBuffer.count, 0)
    if number > 0 {
      // A short read emptied the socket; what comes later is a new edge.
      if number < readBuffer.count, !connection.peerClosed { connection.isReadable = false }
      let bytes = UnsafeRawBufferPointer(start: base, count: number).bindMemory(to: UInt8.self)
      if connection.parser.isInBody { connection.since = now }
      if connection.carry.isEmpty {
        let used = feed(connection, bytes.span)
        if used < number, connection.phase != .dead { connection.carry.append(contentsOf: bytes[used...]) }
      } else {
        connection.carry.append(contentsOf: bytes)
        feedCarry(connection)
      }
    } else if number == 0 {
      // A request that is not complete now will never be.
      connection.phase = .dead
    } else if errno == EAGAIN {
      connection.isReadable = false
    } else if errno != EINTR {
      connection.phase = .dead
    }
  }

  private func feedCarry(_ connection: Connection) {
    // Out of the connection while the parser borrows it.
    var bytes: [UInt8] = []
    swap(&bytes, &connection.carry)
    let used = feed(connection, bytes.span)
    if used < bytes.count {
      bytes.removeFirst(used)
      connection.carry = bytes
    }
  }

  /// Parses and answers as many requests as `bytes` hold; what it used need not be kept. All immediate answers leave in one
  /// write at the end.
  private func feed(_ connection: Connection, _ bytes: Span<UInt8>) -> Int {
    var used = 0
    connection.carryIsFresh = false
    while connection.phase == .reading, used < bytes.count {
      if outbox.count >= 64 << 10 { flush(connection) }
      guard connection.output.isEmpty else { break }
      var consumed = 0
      do {
        let event = try connection.parser.parse(bytes.extracting(used..<bytes.count), consumed: &consumed)
        used += consumed
        switch event {
        case .incomplete:
          flush(connection)
          return used
        case .wantsContinue: outbox.append("HTTP/1.1 100 Continue\r\n\r\n")
        case .request(let head, let body):
          answer(Request(head: head, body: body, address: connection.address), on: connection)
        }
      } catch {
        refuse(error, on: connection)
      }
    }
    connection.carryIsFresh = used < bytes.count && connection.phase != .finishing
    flush(connection)
    return used
  }

  private func discardInput(_ connection: Connection) {
    for _ in 0..<Self.readsPerTurn {
      let number = recv(connection.descriptor, readBuffer.baseAddress, readBuffer.count, 0)
      if number > 0 || (number < 0 && errno == EINTR) { continue }
      if number < 0, errno == EAGAIN {
        connection.isReadable = false
      } else {
        connection.phase = .dead
      }
      return
    }
    ready.append(connection.ticket)
    connection.isReadable = true
  }
}
