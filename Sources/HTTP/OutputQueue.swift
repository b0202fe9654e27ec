// What one connection could not send yet. Empty nearly always: only slow readers and large or streamed bodies fill it.

struct OutputQueue {
  private var pieces: [[UInt8]] = []
  private var first = 0
  private var offset = 0
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }

  mutating func append(_ piece: [UInt8]) {
    if piece.isEmpty { return }
    pieces.append(piece)
    count += piece.count
  }

  mutating func append(_ bytes: UnsafeRawBufferPointer) { append(Array(bytes)) }

  /// Appends `piece` without its first `skipped` bytes, which have been sent. Nothing may wait before it.
  mutating func append(_ piece: [UInt8], skipping skipped: Int) {
    if skipped >= piece.count { return }
    if isEmpty {
      removeAll()
      pieces.append(piece)
      offset = skipped
      count = piece.count - skipped
    } else {
      append(Array(piece[skipped...]))
    }
  }

  mutating func removeAll() { self = OutputQueue() }

  /// Calls `send` with the next bytes, at least one; the queue must not be empty. Small pieces are gathered in `room`, a large
  /// one is given as it is.
  func withNext<R>(gatheringIn room: WriteBuffer, _ send: (UnsafeRawBufferPointer) -> R) -> R {
    let large = 16 << 10
    if pieces[first].count - offset >= large || first + 1 == pieces.count {
      return pieces[first].withUnsafeBytes { send(UnsafeRawBufferPointer(rebasing: $0[offset...])) }
    }
    room.removeAll()
    defer { room.removeAll() }
    var (index, skip) = (first, offset)
    while index < pieces.count, pieces[index].count - skip < large, room.count < 4 * large {
      pieces[index].withUnsafeBytes { room.append(UnsafeRawBufferPointer(rebasing: $0[skip...])) }
      skip = 0
      index += 1
    }
    return send(room.bytes)
  }

  /// Drops the first `sent` bytes.
  mutating func drop(_ sent: Int) {
    var left = sent
    count -= sent
    while left > 0, first < pieces.count {
      let rest = pieces[first].count - offset
      if left < rest {
        offset += left
        return
      }
      left -= rest
      pieces[first] = []
      first += 1
      offset = 0
    }
    if first == pieces.count {
      pieces.removeAll(keepingCapacity: pieces.capacity <= 64)
      first = 0
    }
  }
}
