// What can keep a server from starting, with the errno that says why.

import Glibc

/// A system call that the server needs has failed.
public struct ServerError: Error, Sendable, CustomStringConvertible {
  /// What was being done, as in "listen on 127.0.0.1:8080".
  public let context: String
  /// The errno; 0 where there is none.
  public let code: Int32

  init(_ context: String, code: Int32) {
    self.context = context
    self.code = code
  }

  public var description: String {
    guard code != 0 else { return "cannot \(context)" }
    var text = [CChar](repeating: 0, count: 128)
    // The XSI form: fills the buffer.
    guard strerror_r(code, &text, text.count) == 0 else { return "cannot \(context): error \(code)" }
    return "cannot \(context): \(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))"
  }
}
