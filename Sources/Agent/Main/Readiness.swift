// How the background agent tells `agent start` what has become of it: lines on a pipe that the new process has as descriptor 3.
//
//   waiting <why>     not registered yet; repeated when the reason changes
//   ready             registered in Redis
//   failed <text>     it ends; the text goes to the end of the pipe and is worded already; its exit code says the rest
//
// The pipe says something the other way too: when its reading end is closed before `ready`, nobody wants this agent any more, and it
// ends. So none is left behind, however `agent start` itself ended.

import Glibc

enum ReadinessMessage: Equatable {
  case waiting(String)
  case ready
  case failed(String)

  /// Takes whole messages off `bytes`; `failed` only at the end of the pipe.
  static func take(from bytes: inout [UInt8], atEnd: Bool) -> [ReadinessMessage] {
    var messages: [ReadinessMessage] = []
    while true {
      if bytes.starts(with: Array("failed ".utf8)) {
        guard atEnd else { return messages }
        messages.append(.failed(String(decoding: bytes.dropFirst(7), as: UTF8.self)))
        bytes = []
        return messages
      }
      guard let end = bytes.firstIndex(of: 0x0A) else { return messages }
      let line = String(decoding: bytes[..<end], as: UTF8.self)
      bytes.removeFirst(end + 1)
      if line == "ready" { messages.append(.ready) }
      if line.hasPrefix("waiting ") { messages.append(.waiting(String(line.dropFirst(8)))) }
    }
  }

  var text: String {
    switch self {
    case .waiting(let why): "waiting \(why.split(separator: "\n").joined(separator: " "))\n"
    case .ready: "ready\n"
    case .failed(let text): "failed \(text)"
    }
  }
}

/// The background agent's end of the pipe. Closed after `ready` and `failed`.
struct ReadinessPipe: ~Copyable {
  let descriptor: Int32
  private var lastReason: String?

  /// - Parameter descriptor: what `--ready-descriptor` said.
  init(descriptor: Int32) {
    self.descriptor = descriptor
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
  }

  deinit { close(descriptor) }

  /// Whether nobody reads any more.
  var isAbandoned: Bool {
    var entry = pollfd(fd: descriptor, events: 0, revents: 0)
    return poll(&entry, 1, 0) > 0 && entry.revents & Int16(POLLERR) != 0
  }

  /// `waiting`, where the reason is news.
  mutating func waiting(_ reason: String) {
    if reason == lastReason { return }
    lastReason = reason
    send(.waiting(reason))
  }

  consuming func ready() { send(.ready) }

  consuming func failed(_ failure: AgentFailure) { send(.failed("\(failure)")) }

  private func send(_ message: ReadinessMessage) {
    // Far less than what a pipe holds: never blocks, never in parts. SIGPIPE is ignored.
    let bytes = Array(message.text.utf8.prefix(4000))
    _ = write(descriptor, bytes, bytes.count)
  }
}
