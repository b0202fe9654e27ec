// How other threads talk to an event loop: messages, and an eventfd that wakes it when it sleeps.
//
// The loop says when it is about to sleep; only the first message after that costs a system call.

import CEpoll
import Glibc
import Synchronization

/// Names one connection of one loop. A slot is used again, its generation is not.
struct Ticket: Sendable, Hashable {
  var slot: UInt32
  var generation: UInt32
}

enum Message: Sendable {
  /// A connection to look after; the count of open connections holds it already.
  case adopt(Int32, PeerAddress, overLimit: Bool)
  /// A waiting handler has answered. `channel` goes with a streamed body.
  case answer(Ticket, Response, StreamChannel?)
  /// The channel has something to take.
  case stream(Ticket, StreamChannel)
  /// Finish what is under way and stop.
  case drain
}

final class Mailbox: Sendable {
  private struct State: Sendable {
    var messages: [Message] = []
    var sleeping = false
    var closed = false
  }

  /// Readable (edge-triggered) when the loop should look into the mailbox.
  let wakeDescriptor: Int32
  private let state = Mutex(State())

  init() throws(ServerError) {
    wakeDescriptor = cepoll_eventfd()
    if wakeDescriptor < 0 { throw ServerError("make an eventfd", code: errno) }
  }

  deinit { close(wakeDescriptor) }

  func post(_ message: Message) {
    let wake = state.withLock { state -> Bool? in
      if state.closed { return nil }
      state.messages.append(message)
      defer { state.sleeping = false }
      return state.sleeping
    }
    // After the loop has stopped nobody would take it.
    guard let wake else { return message.discard() }
    if wake {
      var one: UInt64 = 1
      write(wakeDescriptor, &one, MemoryLayout<UInt64>.size)
    }
  }

  /// True when nothing waits, and the next message will wake the loop.
  func prepareToSleep() -> Bool {
    state.withLock { state in
      state.sleeping = state.messages.isEmpty
      return state.sleeping
    }
  }

  /// Exchanges the messages for the empty `room`, whose storage is used again.
  func take(into room: inout [Message]) {
    state.withLock { state in
      state.sleeping = false
      swap(&room, &state.messages)
    }
  }

  func closeForGood() {
    let left = state.withLock { state -> [Message] in
      state.closed = true
      defer { state.messages = [] }
      return state.messages
    }
    for message in left { message.discard() }
  }
}
