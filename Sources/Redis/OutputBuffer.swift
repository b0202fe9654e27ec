// Bytes on their way into the socket. Positions count from the link's beginning, so that a command's end can be compared with
// what the kernel has taken.

struct OutputBuffer {
  private(set) var bytes: [UInt8] = []
  private var head = 0
  /// Stream positions: after the last byte that was added, and after the last one that the kernel took.
  private(set) var added: UInt64 = 0
  private(set) var sent: UInt64 = 0

  var isEmpty: Bool { head == bytes.count }
  /// More is added only below this, so that what cannot leave yet can still be called unsent.
  var isFull: Bool { bytes.count - head >= 1 << 20 }

  mutating func add(_ command: RedisCommand, withSource: Bool) {
    let before = bytes.count
    command.encode(into: &bytes, withSource: withSource)
    added += UInt64(bytes.count - before)
  }

  /// Gives the socket as much as it takes.
  mutating func flush(to socket: Socket) throws(RedisFault) {
    while !isEmpty {
      let result: Result<Int, RedisFault> = bytes.withUnsafeBytes { buffer in
        do throws(RedisFault) {
          return .success(try socket.send(UnsafeRawBufferPointer(rebasing: buffer[head...])))
        } catch {
          return .failure(error)
        }
      }
      let count = try result.get()
      guard count > 0 else { break }
      head += count
      sent += UInt64(count)
    }
    if isEmpty {
      bytes.removeAll(keepingCapacity: bytes.capacity <= 256 * 1024)
      head = 0
    } else if head >= 1 << 20 {
      bytes.removeFirst(head)
      head = 0
    }
  }
}
