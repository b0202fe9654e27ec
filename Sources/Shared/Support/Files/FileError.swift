// Why a system call on a file failed, as a value and as a sentence. Used by everything in Support that touches files.

import Glibc

/// A failed system call on one path.
public struct FileError: Error, Sendable, Equatable {
  /// What was tried, as a verb: "open", "write", "rename", …
  public let action: String
  public let path: String
  /// `errno` of the call.
  public let code: Int32

  public init(_ action: String, _ path: String, code: Int32 = errno) {
    self.action = action
    self.path = path
    self.code = code
  }

  /// The system's words for `code`: "No such file or directory".
  public var reason: String { systemErrorText(code) }
}

extension FileError: CustomStringConvertible {
  public var description: String { "cannot \(action) \(path): \(reason)" }
}

/// The C library's words for an `errno`, safe from any thread.
public func systemErrorText(_ code: Int32) -> String {
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
    guard let base = buffer.baseAddress, strerror_r(code, base, buffer.count) == 0 else { return "error \(code)" }
    return String(cString: base)
  }
}
