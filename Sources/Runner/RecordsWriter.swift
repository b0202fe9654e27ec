// Appends records to the runner's file. A record that could not be written whole leaves nothing behind that a reader would take for
// one: the next one is written over it. Room is reserved ahead, so that a full disk does not keep the exit record from being written.

import CSpawn
import Glibc

final class RecordsWriter {
  /// A new file is begun, between attempts, once one has grown beyond this.
  static let rotateAfter: UInt64 = 4 << 20
  private static let reserveStep: UInt64 = 65536
  /// Kept back from everything but what ends an attempt.
  private static let keptBack: UInt64 = 8192

  private let basePath: [UInt8]
  private let process: ProcessIdentity
  private let controlGroup: String
  private var number = 1
  private(set) var path: [UInt8]
  private var file: Descriptor
  private var position: UInt64 = 0
  private var reservedEnd: UInt64 = 0

  /// Makes the file, which must not exist yet.
  init(path: [UInt8], process: ProcessIdentity, controlGroup: String = "") throws(RunnerFault) {
    basePath = path
    self.path = path
    self.process = process
    self.controlGroup = controlGroup
    file = try RecordsWriter.create(path)
    try open()
  }

  deinit { release() }

  private static func create(_ path: [UInt8]) throws(RunnerFault) -> Descriptor {
    let raw = Glibc.open(System.cString(path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard let file = Descriptor(raw) else { throw RunnerFault("cannot make the records file", errno) }
    return file
  }

  private func open() throws(RunnerFault) {
    var opened = OpenedRecord(process: process, wallMilliseconds: System.wallMilliseconds())
    opened.controlGroup = controlGroup
    if Pretending.laterRecords { opened.version += 1 }
    let header = RunnerRecord.opened(opened)
    let error = append(bytes: RunnerRecord.magic + header.framed, essential: false)
    if error != 0 { throw RunnerFault("cannot write the records file", error) }
  }

  /// Begins `<path>.2`, `.3`, … once this file is large. Whether it did; where that fails the present file goes on.
  func rotateIfLarge(threshold: UInt64 = RecordsWriter.rotateAfter) -> Bool {
    guard position > threshold else { return false }
    let nextPath = basePath + Array(".\(number + 1)".utf8)
    guard let next = try? RecordsWriter.create(nextPath) else {
      number += 1
      return false
    }
    let previous = (file, path, position, reservedEnd)
    (file, path, position, reservedEnd) = (next, nextPath, 0, 0)
    number += 1
    do {
      try open()
    } catch {
      unlink(System.cString(nextPath))
      (file, path, position, reservedEnd) = previous
      return false
    }
    ftruncate(previous.0.raw, Int(clamping: previous.2))
    return true
  }

  /// 0 or an errno; with one, nothing was written as far as readers can tell.
  func append(_ record: RunnerRecord, essential: Bool = false) -> Int32 { append(bytes: record.framed, essential: essential) }

  /// Whole records in one write. `essential` ones may use the room kept back.
  func append(bytes: [UInt8], essential: Bool) -> Int32 {
    let end = position + UInt64(bytes.count)
    if end + RecordsWriter.keptBack > reservedEnd {
      let error = reserve(until: end + RecordsWriter.reserveStep)
      if error != 0 && !essential { return error }
    }
    let (done, error) = bytes.withUnsafeBytes { System.write(file.raw, at: position, $0) }
    guard done == bytes.count else {
      ftruncate(file.raw, Int(clamping: position))
      reservedEnd = position
      return error
    }
    position = end
    return 0
  }

  /// A file system that cannot reserve is taken as it is.
  private func reserve(until end: UInt64) -> Int32 {
    let start = max(position, reservedEnd)
    guard end > start else { return 0 }
    let failed = cspawn_reserve(file.raw, Int64(clamping: start), Int64(clamping: end - start)) != 0
    if failed && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO) { return errno }
    reservedEnd = end
    return 0
  }

  private func release() { ftruncate(file.raw, Int(clamping: position)) }
}

/// Why a runner could not begin.
struct RunnerFault: Error {
  let what: String
  let error: Int32
  init(_ what: String, _ error: Int32) {
    self.what = what
    self.error = error
  }
}
