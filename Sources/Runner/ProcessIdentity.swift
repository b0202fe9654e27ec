// Which process, for good: a pid alone comes back for another process, and after a reboot.

import Glibc

public struct ProcessIdentity: Sendable, Equatable, Hashable {
  public var pid: Int32
  /// Clock ticks since boot at which it started (`/proc/<pid>/stat`, field 22).
  public var startTime: UInt64
  /// The kernel's random id of the boot it lives in.
  public var bootID: String

  public init(pid: Int32, startTime: UInt64, bootID: String) {
    self.pid = pid
    self.startTime = startTime
    self.bootID = bootID
  }

  /// The process that has this pid now; nil where there is none (or no /proc).
  public init?(of pid: Int32) {
    guard let entry = ProcessEntry(pid: pid), let bootID = ProcessIdentity.currentBootID() else { return nil }
    self.init(pid: pid, startTime: entry.startTime, bootID: bootID)
  }

  public static func current() -> ProcessIdentity? { ProcessIdentity(of: getpid()) }

  public static func currentBootID() -> String? {
    if let pretended = Pretending.bootID { return pretended }
    guard let bytes = System.contents(of: "/proc/sys/kernel/random/boot_id"), !bytes.isEmpty else { return nil }
    return String(decoding: bytes.prefix { $0 != 0x0A }, as: UTF8.self)
  }

  /// Whether exactly this process is still running; one that has ended but was not waited for yet is not.
  public var isAlive: Bool { life ?? false }

  /// The same; nil where that cannot be told now, for want of a descriptor to look with.
  public var life: Bool? {
    guard let boot = ProcessIdentity.currentBootID() else { return nil }
    guard boot == bootID else { return false }
    guard let entry = ProcessEntry(pid: pid) else { return kill(pid, 0) != 0 && errno == ESRCH ? false : nil }
    return entry.startTime == startTime && !entry.isDead
  }
}

/// One line of the process table.
struct ProcessEntry: Equatable {
  var pid: Int32
  var state: UInt8
  var parent: Int32
  var group: Int32
  var session: Int32
  var startTime: UInt64

  /// Ended, but not waited for.
  var isDead: Bool { state == UInt8(ascii: "Z") || state == UInt8(ascii: "X") }
  /// By a signal; not by a debugger.
  var isStopped: Bool { state == UInt8(ascii: "T") }

  init?(pid: Int32) {
    guard let bytes = System.contents(of: "/proc/\(pid)/stat") else { return nil }
    self.init(pid: pid, stat: bytes)
  }

  /// From the text of a stat file. The name, in parentheses, may hold anything, also parentheses.
  init?(pid: Int32, stat: [UInt8]) {
    guard let close = stat.lastIndex(of: UInt8(ascii: ")")), close + 2 < stat.count else { return nil }
    let fields = stat[(close + 2)...].split(separator: UInt8(ascii: " "), maxSplits: 20)
    guard fields.count > 19, let state = fields[0].first,
      let parent = Int32(decimal: fields[1]), let group = Int32(decimal: fields[2]), let session = Int32(decimal: fields[3]),
      let startTime = UInt64(decimal: fields[19])
    else { return nil }
    self.pid = pid
    self.state = state
    self.parent = parent
    self.group = group
    self.session = session
    self.startTime = startTime
  }
}

extension FixedWidthInteger {
  fileprivate init?(decimal bytes: ArraySlice<UInt8>) { self.init(String(decoding: bytes, as: UTF8.self)) }
}
