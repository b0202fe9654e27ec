// A folder for one test's files: a suite holds it as a property, so it goes when the test has ended.

import Glibc

final class ScratchFolder: Sendable {
  let path: String

  /// - Parameter inMemory: for tests that make thousands of files and sync each: on the shared-memory file system, where there is one.
  init(inMemory: Bool = false) {
    let parent = inMemory && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
    var template = Array("\(parent)/muster-scratch-XXXXXX".utf8CString)
    path = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp"
  }

  deinit { if path != "/tmp" { removeTree(path) } }
}
