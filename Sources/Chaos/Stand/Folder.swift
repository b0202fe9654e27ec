// Folders of the stand: copied from, emptied, removed.

import Glibc

enum Folder {
  /// On memory where there is such a folder: creating and deleting thousands of files on a disk makes every later one slow.
  static func makeTemporary() throws -> String {
    let parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/muster-chaos-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw HarnessFault("\(parent): \(systemError(errno))") }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  static func remove(_ path: String, itself: Bool = true) {
    guard let folder = opendir(path) else { return }
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      guard name != ".", name != ".." else { continue }
      if entry.pointee.d_type == UInt8(DT_DIR) { remove("\(path)/\(name)") } else { unlink("\(path)/\(name)") }
    }
    closedir(folder)
    if itself { rmdir(path) }
  }

  /// Nothing where there is no such file.
  static func copy(_ from: String, to: String) {
    let source = open(from, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { return }
    defer { close(source) }
    let sink = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard sink >= 0 else { return }
    defer { close(sink) }
    var piece = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = read(source, &piece, piece.count)
      guard count > 0 else { return }
      var written = 0
      while written < count {
        let more = piece[written..<count].withUnsafeBytes { write(sink, $0.baseAddress, $0.count) }
        guard more > 0 else { return }
        written += more
      }
    }
  }
}
