// A disk that can be filled: a small file system in memory, mounted for one test. Mounting needs root, as CI is; where it is not permitted a
// test that needs one is skipped, which `scripts/test` prints.
import Foundation
import Glibc
import Testing

enum SmallDisk {
  static let why: Comment = "NOT TESTED: mounting a small tmpfs is not permitted here (run the tests as root)"
  static let isPossible: Bool = {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("muster-disk-\(getpid())")
    guard getuid() == 0, (try? mount(folder, megabytes: 1)) != nil else { return false }
    unmount(folder)
    return rmdir(folder.path) == 0
  }()

  static func mount(_ folder: URL, megabytes: Int) throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    guard Glibc.mount("tmpfs", folder.path, "tmpfs", 0, "size=\(megabytes)m") == 0 else {
      throw StandFault("a small disk cannot be mounted: \(String(cString: strerror(errno)))")
    }
  }

  static func makeReadOnly(_ folder: URL) throws {
    guard Glibc.mount("tmpfs", folder.path, "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), nil) == 0 else {
      throw StandFault("\(folder.path) cannot be made read-only: \(String(cString: strerror(errno)))")
    }
  }

  /// Nothing where nothing is mounted.
  static func unmount(_ folder: URL) { umount2(folder.path, Int32(MNT_DETACH)) }

  /// Takes all the room there is, to the last byte.
  static func fill(_ folder: URL) throws {
    let descriptor = open(folder.appendingPathComponent("fill").path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw StandFault("fill: \(String(cString: strerror(errno)))") }
    defer { close(descriptor) }
    let bytes = [UInt8](repeating: 0, count: 1 << 16)
    var size = bytes.count
    while size > 0 { if write(descriptor, bytes, size) < size { size /= 2 } }
  }

  static func giveBack(_ folder: URL) throws { try FileManager.default.removeItem(at: folder.appendingPathComponent("fill")) }
}
