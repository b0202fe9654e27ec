// Reads output by logical offset, also while the runner is writing it.
//
// The rule that makes reading a ring safe: at most `RunnerLimits.unrecorded` bytes are in the file that no record tells of. So bytes
// at logical offset a, read from the ring, are the right ones if the records read AFTERWARDS say a layout that is still the same, and
// a total so small that a >= total + unrecorded - ring. Bytes of the head are never overwritten.

import Glibc

public enum RunnerLimits {
  /// Bytes of output in the spool that may not stand in the records yet.
  public static let unrecorded: UInt64 = 65536
}

/// What the records of an attempt say so far: feed it each record in the file's order (all of them; it keeps to the latest attempt).
public struct RecordedAttempt: Sendable, Equatable {
  public private(set) var begin: BeginRecord?
  public private(set) var started: StartedRecord?
  public private(set) var refused: RefusedRecord?
  public private(set) var exit: ExitRecord?
  public private(set) var layout = SpoolLayout(head: 0, ring: 0)
  /// Bytes of output recorded so far.
  public private(set) var total: UInt64 = 0

  public init() {}

  public mutating func apply(_ record: RunnerRecord) {
    switch record {
    case .opened: break
    case .begin(let record):
      self = RecordedAttempt()
      begin = record
      layout = SpoolLayout(cap: record.cap)
    case .started(let record): started = record
    case .segments(let list): total = max(total, list.end)
    case .layout(let changed): layout = changed
    case .refused(let record): refused = record
    case .exit(let record):
      exit = record
      layout = record.layout
      total = record.total
    }
  }

  /// Its writer is gone and has left a file of so many bytes. What no record tells of counts as long as the file stands in order: in a ring
  /// that may have gone round nobody knows which bytes they are.
  public mutating func isLeft(with bytes: UInt64) {
    let (room, overflow) = layout.head.addingReportingOverflow(layout.ring)
    if overflow || bytes < room { total = max(total, bytes) }
  }

  /// Bytes that went through the spool, as far as is known.
  public var stored: UInt64 { exit?.stored ?? total }

  /// Whether bytes read at this offset before the records said this are certainly the right ones.
  func vouches(for offset: UInt64) -> Bool {
    if exit != nil || offset < layout.head { return true }
    return offset &+ layout.ring >= total &+ RunnerLimits.unrecorded
  }
}

public enum SpoolRead: Sendable, Equatable {
  case bytes([UInt8])
  /// From the asked offset up to this one the bytes are not in the file (any more).
  case gone(until: UInt64)
  /// Nothing more is recorded (or, after the end, stored), or what is there cannot be told from overwritten bytes yet: ask again
  /// when more is recorded, at the latest after the exit record.
  case end
  /// `ENODATA`: the file is shorter than the records say.
  case failed(errno: Int32)
}

/// What a failed read of records or of a spool means.
public enum ReadFault {
  /// Another try may do: descriptors or memory are missing, or the disk does not answer. Only that the file is not there, or is not what
  /// it should be, will not change.
  public static func mayPass(_ errno: Int32) -> Bool { ![ENOENT, ENOTDIR, EBADMSG, ENODATA, ELOOP, EISDIR].contains(errno) }
  /// It passes as soon as others let go of something.
  public static func isShortage(_ errno: Int32) -> Bool { [EMFILE, ENFILE, ENOMEM, EAGAIN, EINTR].contains(errno) }
}

public enum SpoolReader {
  /// Bytes from a logical offset on, at most `limit` of them, in one stretch.
  /// - Parameter state: the present state; called again after reading and must have read the records file anew by then. It may be
  ///   called a few times. Blocking file reads; not for Swift's cooperative pool.
  public static func read(path: [UInt8], from offset: UInt64, limit: Int, state: () -> RecordedAttempt) -> SpoolRead {
    guard let file = Descriptor(open(System.cString(path), O_RDONLY | O_CLOEXEC)) else { return .failed(errno: errno) }
    var now = state()
    for _ in 0..<16 {
      guard let stretch = now.layout.stretch(from: offset, limit: UInt64(max(0, limit)), stored: now.stored) else { return .end }
      guard case .at(let position, let length) = stretch else {
        if case .gone(let until) = stretch { return .gone(until: until) }
        return .end
      }
      var count = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: Int(clamping: length)) { target, filled in
        count = System.read(file.raw, at: position, into: UnsafeMutableRawBufferPointer(target))
        filled = max(0, count)
      }
      if count < 0 { return .failed(errno: errno) }
      let after = state()
      let isUnchanged = after.layout == now.layout || offset < min(now.layout.head, after.layout.head)
      if isUnchanged, after.vouches(for: offset) {
        return bytes.isEmpty ? .failed(errno: ENODATA) : .bytes(bytes)
      }
      if isUnchanged {
        // Perhaps overwritten while it was read. It is gone once the records say so; until then nobody can tell.
        let stretch = after.layout.stretch(from: offset, limit: 1, stored: after.stored)
        if case .gone(let until) = stretch { return .gone(until: until) }
        return .end
      }
      now = after
    }
    return .failed(errno: EAGAIN)
  }
}
