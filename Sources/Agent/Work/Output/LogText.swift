// A run's log in one piece, as result hashes and the own HTTP show it: whole, or head and tail with the gap stated.

import Glibc
import Shared

enum LogText {
  /// Nil where there is no such file.
  /// - Parameter dropped: where in the file bytes are missing that were not kept, and how many; nil: nothing is missing.
  static func read(_ path: String, limit: Int, dropped: (from: Int64, count: Int64)? = nil) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    let size = Int(lseek(descriptor, 0, SEEK_END))
    if size <= limit, dropped == nil { return bytes(descriptor, 0, size) }
    let half = max(0, limit - 96) / 2
    let head = bytes(descriptor, 0, min(half, dropped.map { Int(clamping: $0.from) } ?? half))
    let tailStart = max(head.count, size - half, dropped.map { Int(clamping: $0.from) } ?? 0)
    let tail = bytes(descriptor, tailStart, size - tailStart)
    let left = tailStart - head.count + Int(clamping: dropped?.count ?? 0)
    return head + gap(left) + tail
  }

  static func gap(_ bytes: Int) -> [UInt8] { bytes > 0 ? Array("\n[… \(bytes) bytes are left out here …]\n".utf8) : [] }

  private static func bytes(_ descriptor: Int32, _ offset: Int, _ count: Int) -> [UInt8] {
    guard count > 0 else { return [] }
    return [UInt8](unsafeUninitializedCapacity: count) { target, filled in
      while filled < count {
        let got = pread(descriptor, target.baseAddress.map { $0 + filled }, count - filled, off_t(offset + filled))
        if got < 0 && errno == EINTR { continue }
        if got <= 0 { return }
        filled += got
      }
    }
  }
}
