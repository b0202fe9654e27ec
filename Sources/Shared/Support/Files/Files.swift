// Whole small files, and folders: the few things that settings, identities and state folders need. All calls block; none
// belongs on Swift's cooperative pool while work is flowing. Every descriptor is close-on-exec.

import Glibc

public enum Files {
  /// The whole content of a file (or pipe).
  ///
  /// - Parameter limit: in bytes; a longer one is `EFBIG`.
  /// - Throws: what `open` or `read` said; `EISDIR` for a folder.
  public static func read(_ path: String, limit: Int = 1 << 20) throws(FileError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError("open", path) }
    defer { close(descriptor) }
    var content: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = Glibc.read(descriptor, &chunk, chunk.count)
      if count == 0 { return content }
      if count < 0 {
        if errno == EINTR { continue }
        throw FileError("read", path)
      }
      content.append(contentsOf: chunk[..<count])
      if content.count > limit { throw FileError("read", path, code: EFBIG) }
    }
  }

  /// Whether something is there, also when it may not be read; no where nobody can tell.
  public static func exists(_ path: String) -> Bool {
    access(path, F_OK) == 0
  }

  /// The same for those to whom a wrong "no" matters.
  ///
  /// - Throws: where nobody can tell: the disk does not answer, say, or a folder above it may not be searched.
  public static func isThere(_ path: String) throws(FileError) -> Bool {
    if access(path, F_OK) == 0 { return true }
    guard errno == ENOENT || errno == ENOTDIR else { throw FileError("look for", path) }
    return false
  }

  /// Replaces a file so that after a crash or power cut either the old or the new content is there, whole: a temporary
  /// file beside it, synced, renamed over it, and the folder synced.
  ///
  /// - Parameter mode: permissions of the new file, whatever the umask says.
  public static func writeAtomically(_ content: [UInt8], to path: String, mode: mode_t = 0o600) throws(FileError) {
    let temporary = "\(path).\(getpid()).\(UInt32.random(in: .min ... .max)).tmp"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw FileError("create", temporary) }
    do throws(FileError) {
      defer { close(descriptor) }
      guard fchmod(descriptor, mode) == 0 else { throw FileError("change the mode of", temporary) }
      try write(content, to: descriptor, named: temporary)
      guard fsync(descriptor) == 0 else { throw FileError("sync", temporary) }
      guard rename(temporary, path) == 0 else { throw FileError("rename \(temporary) to", path) }
    } catch {
      unlink(temporary)
      throw error
    }
    try syncFolder(of: path)
  }

  /// Makes the names in the folder of `path` durable.
  public static func syncFolder(of path: String) throws(FileError) {
    let folder = parent(of: path)
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError("open", folder) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw FileError("sync", folder) }
  }

  /// Makes a folder and those above it where they are missing.
  ///
  /// - Parameter mode: permissions of the last one when it is made now; those above it get 0755.
  public static func makeFolder(_ path: String, mode: mode_t = 0o755) throws(FileError) {
    if mkdir(path, mode) == 0 { return }
    if errno == ENOENT, parent(of: path) != path {
      try makeFolder(parent(of: path))
      if mkdir(path, mode) == 0 { return }
    }
    let code = errno
    var status = stat()
    if code == EEXIST, stat(path, &status) == 0 {
      if status.st_mode & S_IFMT == S_IFDIR { return }
      throw FileError("make the folder", path, code: ENOTDIR)
    }
    throw FileError("make the folder", path, code: code)
  }

  /// The folder that `path` is in: "." for a bare name, "/" for the root.
  public static func parent(of path: String) -> String {
    let trimmed = path.reversed().drop { $0 == "/" }
    let above = trimmed.drop { $0 != "/" }.drop { $0 == "/" }
    if above.isEmpty { return path.hasPrefix("/") ? "/" : "." }
    return String(above.reversed())
  }

  /// Writes everything, however often the system takes only a part.
  static func write(_ content: [UInt8], to descriptor: Int32, named path: String) throws(FileError) {
    var written = 0
    while written < content.count {
      let count = content.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress.map { $0 + written }, $0.count - written) }
      if count < 0 {
        if errno == EINTR { continue }
        throw FileError("write", path)
      }
      written += count
    }
  }
}
