// A folder of its own for one test, gone with it.

import Glibc

@testable import Shared

final class TemporaryFolder: Sendable {
  let path: String

  init() throws {
    path = "/tmp/muster-test-\(getpid())-\(UInt64.random(in: .min ... .max))"
    try Files.makeFolder(path, mode: 0o700)
  }

  deinit {
    Self.remove(path)
  }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  @discardableResult
  func write(_ text: String, to name: String, mode: mode_t = 0o600) throws -> String {
    try Files.makeFolder(Files.parent(of: file(name)))
    try Files.writeAtomically(Array(text.utf8), to: file(name), mode: mode)
    return file(name)
  }

  func text(_ name: String) throws -> String {
    String(decoding: try Files.read(file(name), limit: 64 << 20), as: UTF8.self)
  }

  var names: [String] { Self.names(in: path) }

  private static func names(in path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  private static func remove(_ path: String) {
    // A file or a link goes at once; only a folder is left for the rest.
    if unlink(path) == 0 { return }
    for name in names(in: path) { remove("\(path)/\(name)") }
    rmdir(path)
  }
}
