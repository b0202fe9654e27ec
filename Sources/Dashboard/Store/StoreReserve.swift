// A little room that is kept for the next start: opening a store needs some (SQLite's index of its log), and on a full disk there is none. A
// start that fails for want of room gives this up and tries again, so that a dashboard on a full disk starts, serves what it has, and says so.
import Glibc
import Shared

enum StoreReserve {
  private static let bytes = 1 << 20

  private static func path(_ store: String) -> String { "\(store).reserve" }

  /// Gives the room up. False where none was kept.
  static func release(_ store: String) -> Bool { unlink(path(store)) == 0 }

  /// Keeps it, where there is plenty.
  static func keep(_ store: String) {
    guard !Files.exists(path(store)), let free = DiskSpace.free(at: store), free >= 4 * Int64(bytes) else { return }
    do throws(FileError) {
      try Files.writeAtomically([UInt8](repeating: 0, count: bytes), to: path(store))
    } catch {
      // Then there is none; the next look tries again.
      unlink(path(store))
    }
  }
}

enum DiskSpace {
  /// Bytes that may still be written on the disk of a file or folder; nil where nobody can tell.
  static func free(at path: String) -> Int64? {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { return nil }
    return Int64(clamping: status.f_bavail) * Int64(clamping: status.f_frsize)
  }

  /// Too little for any program to work with.
  static func isFull(at path: String) -> Bool { free(at: path).map { $0 < 256 << 10 } ?? false }
}
