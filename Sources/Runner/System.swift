// The few system calls the runner makes, with EINTR and errno handled in one place. Errors are errno values, 0 for none.

import CSpawn
import Glibc

/// A file descriptor that closes itself.
final class Descriptor {
  let raw: Int32

  /// Nil for a negative number, as failed calls return.
  init?(_ raw: Int32) {
    guard raw >= 0 else { return nil }
    self.raw = raw
  }

  deinit { close(raw) }
}

enum System {
  static let millisecond: UInt64 = 1_000_000

  /// Nanoseconds, only to measure with.
  static func monotonic() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  /// Nanoseconds since boot, time in suspension included: the clock of the process table's start times.
  static func sinceBoot() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  /// Milliseconds since 1970, only for people.
  static func wallMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) &* 1000 &+ Int64(time.tv_nsec) / 1_000_000
  }

  /// `time` plus so many milliseconds; never wraps.
  static func after(_ time: UInt64, milliseconds: UInt64) -> UInt64 {
    let (nanoseconds, tooLong) = milliseconds.multipliedReportingOverflow(by: millisecond)
    let (sum, tooLate) = time.addingReportingOverflow(nanoseconds)
    return tooLong || tooLate ? .max : sum
  }

  static func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Int {
    while true {
      let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
      if count >= 0 || errno != EINTR { return count }
    }
  }

  /// Bytes read from a position of a file: fewer than asked for only at its end; negative where nothing could be read.
  static func read(_ descriptor: Int32, at position: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int {
    var done = 0
    while done < buffer.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let count = pread(descriptor, rest.baseAddress, rest.count, Int(clamping: position &+ UInt64(done)))
      if count < 0 && errno == EINTR { continue }
      if count < 0 { return done > 0 ? done : -1 }
      if count == 0 { break }
      done += count
    }
    return done
  }

  /// Bytes written at a position of a file and the errno that stopped it, 0 when all were.
  static func write(_ descriptor: Int32, at position: UInt64, _ bytes: UnsafeRawBufferPointer) -> (done: Int, error: Int32) {
    var done = 0
    while done < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
      let count = pwrite(descriptor, rest.baseAddress, rest.count, Int(clamping: position &+ UInt64(done)))
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return (done, count < 0 ? errno : ENOSPC) }
      done += count
    }
    return (done, 0)
  }

  /// A whole small file, as those under /proc; nil where it cannot be read.
  static func contents(of path: String, limit: Int = 4096) -> [UInt8]? {
    guard let file = Descriptor(open(path, O_RDONLY | O_CLOEXEC)) else { return nil }
    return [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
      let raw = UnsafeMutableRawBufferPointer(buffer)
      while count < limit {
        let piece = read(file.raw, into: UnsafeMutableRawBufferPointer(rebasing: raw[count...]))
        if piece <= 0 { break }
        count += piece
      }
    }
  }

  /// The bytes as a C string, to be given to a call as it is.
  static func cString(_ bytes: [UInt8]) -> [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }
}
