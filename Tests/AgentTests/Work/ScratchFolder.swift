// A folder for one test's files: a suite holds it as a property, so it goes when the test has ended.

import Glibc

final class ScratchFolder: Sendable {
  let path: String

  init() {
    var template = Array("/tmp/muster-scratch-XXXXXX".utf8CString)
    path = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp"
  }

  deinit { if path != "/tmp" { removeTree(path) } }
}
