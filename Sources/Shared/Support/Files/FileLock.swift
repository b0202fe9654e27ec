// One process per folder: an advisory lock on a file, held while the object lives. The kernel drops it when the process
// ends, however it ends; close-on-exec keeps it from what the process starts (DESIGN section 3, "Leases").

import Glibc

public final class FileLock: Sendable {
  public enum Failure: Error, Sendable, Equatable {
    /// Somebody else has it; the process id that it wrote, when it can be read.
    case held(path: String, by: Int32?)
    case file(FileError)
  }

  public let path: String
  private let descriptor: Int32

  /// Takes the lock or fails at once; never waits. The file is made where it is missing and stays behind.
  public init(_ path: String) throws(Failure) {
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw .file(FileError("open", path)) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let code = errno
      let holder = code == EWOULDBLOCK ? Self.writtenProcess(descriptor) : nil
      close(descriptor)
      throw code == EWOULDBLOCK ? .held(path: path, by: holder) : .file(FileError("lock", path, code: code))
    }
    self.path = path
    self.descriptor = descriptor
    // Who holds it is only for people: a full disk must not keep a program from starting.
    let text = Array("\(getpid())\n".utf8)
    if ftruncate(descriptor, 0) == 0 { _ = pwrite(descriptor, text, text.count, 0) }
  }

  deinit {
    close(descriptor)
  }

  private static func writtenProcess(_ descriptor: Int32) -> Int32? {
    var buffer = [UInt8](repeating: 0, count: 16)
    let count = pread(descriptor, &buffer, buffer.count, 0)
    guard count > 0 else { return nil }
    return Int32(String(decoding: buffer[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
  }
}

extension FileLock.Failure: CustomStringConvertible {
  public var description: String {
    switch self {
    case .held(let path, .some(let process)): "\(path) is locked by process \(process)"
    case .held(let path, .none): "\(path) is locked by another process"
    case .file(let error): error.description
    }
  }
}
