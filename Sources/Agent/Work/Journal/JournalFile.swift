// One file of a journal, open for reading and writing. The journal changes to another one when it is written anew; whoever still reads
// from the former keeps it open by holding this.

import CSpawn
import Glibc
import Shared

final class JournalFile: Sendable {
  let path: String
  let descriptor: Int32

  /// - Parameter flags: beside reading, writing and close-on-exec.
  init(_ path: String, flags: Int32) throws(FileError) {
    self.path = path
    descriptor = open(path, O_RDWR | O_CLOEXEC | flags, 0o600)
    guard descriptor >= 0 else { throw FileError("open", path) }
  }

  deinit { close(descriptor) }

  func write(_ bytes: [UInt8], at offset: UInt64) throws(FileError) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        pwrite(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done, off_t(clamping: offset) + off_t(done))
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw FileError("write", path, code: count < 0 ? errno : ENOSPC) }
      done += count
    }
  }

  /// What stands there, all of it.
  func bytes(from start: UInt64, to end: UInt64) throws(FileError) -> [UInt8] {
    guard end > start else { return [] }
    var failure: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: Int(clamping: end - start)) { target, count in
      while count < target.count {
        let got = pread(
          descriptor, target.baseAddress.map { $0 + count }, target.count - count, off_t(clamping: start) + off_t(count))
        if got < 0 && errno == EINTR { continue }
        if got <= 0 {
          failure = got < 0 ? errno : EIO
          return
        }
        count += got
      }
    }
    if failure != 0 { throw FileError("read", path, code: failure) }
    return bytes
  }

  func truncate(to size: UInt64) throws(FileError) {
    guard ftruncate(descriptor, off_t(clamping: size)) == 0 else { throw FileError("cut the tail of", path) }
  }

  func sync() throws(FileError) {
    guard fdatasync(descriptor) == 0 else { throw FileError("sync", path) }
  }

  /// Takes room on the disk behind the end, so that a write there cannot fail for want of it. The size stays.
  /// - Throws: where there is no room. A file system that cannot reserve is taken as it is.
  func reserve(from start: UInt64, to end: UInt64) throws(FileError) {
    guard end > start, cspawn_reserve(descriptor, Int64(clamping: start), Int64(clamping: end - start)) != 0 else { return }
    let code = errno
    if [ENOSPC, EDQUOT, EFBIG, EIO, EROFS].contains(code) { throw FileError("reserve room in", path, code: code) }
  }

  var size: UInt64 { UInt64(clamping: lseek(descriptor, 0, SEEK_END)) }
}

/// Where records stand, by their counts: every so many-th is noted, those between are found by reading on. Counts may have gaps.
struct JournalMarks: Sendable {
  static let every = 32
  private var marks: [(count: UInt64, offset: UInt64)] = []
  private var skipped = every

  mutating func note(_ count: UInt64, _ offset: UInt64) {
    skipped += 1
    guard skipped >= JournalMarks.every else { return }
    skipped = 0
    marks.append((count, offset))
  }

  /// Where to begin to look for a record.
  func start(for count: UInt64) -> UInt64? {
    var (low, high) = (0, marks.count)
    while low < high {
      let middle = (low + high) / 2
      if marks[middle].count <= count { low = middle + 1 } else { high = middle }
    }
    return low > 0 ? marks[low - 1].offset : nil
  }
}
