// The folder of runs' output, weighed and thinned out. Nothing is remembered of it: the agent counts what it adds, and only when that is more
// than the quota the folder is read, one entry after the other. All of it blocks, and runs on a queue of its own.

import Dispatch
import Glibc
import Shared

/// One pass over the folder. Used by one caller at a time.
final class SpoolFolder: @unchecked Sendable {  // touched on its queue only
  struct Spool: Sendable {
    let name: String
    let id: AttemptID
    /// Of the last write, in nanoseconds of this file system's clock: only to tell older from newer. Seconds would not do: a busy host ends
    /// hundreds of runs in each.
    let lastWrite: Int64
    /// On the disk, at least one block: a file of no length costs one as well.
    let bytes: UInt64
  }

  static let block: UInt64 = 4096
  private static let queue = DispatchQueue(label: "spools")
  private let path: String
  private let prefix: [UInt8]
  private var folder: OpaquePointer?

  init(_ path: String, agent: AgentID) {
    self.path = path
    prefix = Array("\(agent)-".utf8)
  }

  deinit { if let folder { closedir(folder) } }

  /// The next so many spools; empty at the end, and then it begins anew.
  func next(_ limit: Int) async -> [Spool] { await SpoolFolder.on { self.read(limit) } }

  /// Removes them.
  /// - Returns: how many bytes that made free.
  func remove(_ spools: [Spool]) async -> UInt64 {
    await SpoolFolder.on {
      spools.reduce(0) { $0 + (unlink("\(self.path)/\($1.name)") == 0 ? $1.bytes : 0) }
    }
  }

  static func remove(_ names: [String], in path: String) {
    queue.async { for name in names { unlink("\(path)/\(name)") } }
  }

  private static func on<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in queue.async { continuation.resume(returning: body()) } }
  }

  /// Clamped: a file system may hold any number of seconds.
  private static func nanoseconds(_ time: timespec) -> Int64 {
    let (whole, overflow) = Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow else { return time.tv_sec < 0 ? .min : .max }
    let (sum, tooLarge) = whole.addingReportingOverflow(Int64(time.tv_nsec))
    return tooLarge ? .max : sum
  }

  private func read(_ limit: Int) -> [Spool] {
    if folder == nil { folder = opendir(path) }
    guard let folder else { return [] }
    var spools: [Spool] = []
    while spools.count < limit, let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      guard name.starts(with: prefix), name.suffix(4) == Array(".log".utf8)[...],
        let id = AttemptID(String(decoding: name.dropFirst(prefix.count).dropLast(4), as: UTF8.self))
      else { continue }
      let text = String(decoding: name, as: UTF8.self)
      var status = stat()
      guard fstatat(dirfd(folder), text, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
      spools.append(
        Spool(
          name: text, id: id, lastWrite: SpoolFolder.nanoseconds(status.st_mtim),
          bytes: max(SpoolFolder.block, UInt64(clamping: status.st_blocks) * 512)))
    }
    if spools.isEmpty {
      closedir(folder)
      self.folder = nil
    }
    return spools
  }
}
