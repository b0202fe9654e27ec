// A file system of its own that is soon full: a small tmpfs, for which the tests have to be root. Where mounting is not permitted a test that
// needs one is skipped, which `scripts/test` prints.

import Glibc
import RedisTestSupport
import Testing

struct SmallDisk: ~Copyable {
  static let why: Comment = "NOT TESTED: mounting a small tmpfs is not permitted here (run the tests as root)"
  static let isPossible: Bool = {
    guard getuid() == 0, let disk = try? SmallDisk(kibibytes: 64) else { return false }
    _ = consume disk
    return true
  }()

  let path: String

  /// - Parameter inodes: how many files and folders there may be; nil: as many as there is room for.
  init(kibibytes: Int, inodes: Int? = nil) throws {
    var template = Array("/tmp/muster-disk-XXXXXX".utf8CString)
    guard let folder = mkdtemp(&template).map({ String(cString: $0) }) else { throw TestFailure("mkdtemp: errno \(errno)") }
    guard mount("none", folder, "tmpfs", 0, "size=\(kibibytes)k" + (inodes.map { ",nr_inodes=\($0)" } ?? "")) == 0 else {
      rmdir(folder)
      throw TestFailure("mount: errno \(errno)")
    }
    path = folder
  }

  deinit {
    umount2(path, 2)
    rmdir(path)
  }

  /// Takes all the room that is left, but for so many KiB.
  func fill(leaving kibibytes: Int = 0) throws {
    let descriptor = open("\(path)/filler", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw TestFailure("open: errno \(errno)") }
    defer { close(descriptor) }
    let block = [UInt8](repeating: 0, count: 4096)
    while write(descriptor, block, block.count) == block.count {}
    var status = stat()
    fstat(descriptor, &status)
    _ = ftruncate(descriptor, max(0, status.st_size - kibibytes * 1024))
  }

  func makeRoom() { unlink("\(path)/filler") }
}
