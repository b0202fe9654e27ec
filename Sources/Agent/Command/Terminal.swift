// Text to the terminal. Unbuffered, so that what is said stands before whatever the process does next; a reader that went away
// is nobody's failure.

import Glibc

enum Terminal {
  /// Whoever started this program may have closed its standard descriptors. The next file opened would get their numbers, and what is
  /// said to the terminal would go into it.
  static func secureDescriptors() {
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
      // The lowest free number is this one: those below are open.
      _ = open("/dev/null", descriptor == STDIN_FILENO ? O_RDONLY : O_WRONLY)
    }
  }

  static func out(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }
  static func error(_ text: String) { write(text + "\n", to: STDERR_FILENO) }
  /// For failures: with the program's name in front, as is usual.
  static func complain(_ text: String) { error("agent: \(text)") }

  private static func write(_ text: String, to descriptor: Int32) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return }
      rest = rest.dropFirst(count)
    }
  }
}
