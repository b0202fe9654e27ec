// Raw bytes on their way out, gathered by one loop for one connection at a time and then written with one system call.
//
// Memory of its own instead of an array, so that the many small appends of a head are plain copies.

import Glibc

final class WriteBuffer {
  private(set) var count = 0
  private var capacity: Int
  private var memory: UnsafeMutablePointer<UInt8>

  init(capacity: Int) {
    self.capacity = max(64, capacity)
    memory = .allocate(capacity: self.capacity)
  }

  deinit { memory.deallocate() }

  /// Valid until the next append.
  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory, count: count) }

  func removeAll() { count = 0 }

  @inline(__always)
  private func makeRoom(_ more: Int) {
    if count + more > capacity { grow(more) }
  }

  private func grow(_ more: Int) {
    let larger = max(capacity * 2, count + more)
    let fresh = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
    fresh.update(from: memory, count: count)
    memory.deallocate()
    memory = fresh
    capacity = larger
  }

  @inline(__always)
  func append(_ byte: UInt8) {
    makeRoom(1)
    memory[count] = byte
    count += 1
  }

  @inline(__always)
  func append(_ text: StaticString) {
    let length = text.utf8CodeUnitCount
    makeRoom(length)
    memcpy(memory + count, text.utf8Start, length)
    count += length
  }

  func append(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress else { return }
    makeRoom(bytes.count)
    memcpy(memory + count, base, bytes.count)
    count += bytes.count
  }

  func append(_ bytes: [UInt8]) { bytes.withUnsafeBytes { append($0) } }

  func append(_ text: String) {
    var text = text
    text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
  }

  func append(decimal number: Int) {
    var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
    withUnsafeMutableBytes(of: &digits) { room in
      var (left, start) = (UInt(bitPattern: number), room.count)
      repeat {
        start -= 1
        room[start] = UInt8(truncatingIfNeeded: 0x30 + left % 10)
        left /= 10
      } while left > 0
      append(UnsafeRawBufferPointer(rebasing: room[start...]))
    }
  }
}
