// A wall clock that a test sets while the program runs, by Debian's libfaketime; the monotonic clocks are left alone.
import Foundation

final class FakeClock {
  private let file: URL
  private let preloaded: String
  private static let names = Atomic()
  private static let library = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
  ].first { FileManager.default.fileExists(atPath: $0) }

  init() throws {
    guard let library = Self.library else { throw StandFault("libfaketime is missing: scripts/bootstrap --tests installs it") }
    preloaded = "\(try Binaries.url("libFakeClockShim.so").path) \(library)"
    file = FileManager.default.temporaryDirectory.appendingPathComponent("muster-clock-\(getpid())-\(Self.names.next())")
    try set("+0")
  }

  deinit { try? FileManager.default.removeItem(at: file) }

  /// For a redis-server: its allocator asks for the time before libfaketime is ready, so it gets the C library's.
  var redisEnvironment: [String: String] { environment.merging(["LD_PRELOAD": "\(preloaded) libc.so.6"]) { $1 } }

  /// For the program whose clock this is.
  var environment: [String: String] {
    [
      "LD_PRELOAD": preloaded, "FAKETIME_TIMESTAMP_FILE": file.path, "FAKETIME_NO_CACHE": "1",
      "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    ]
  }

  /// From now on the clock is that far from the true one: `+5h`, `-400d`.
  func set(_ offset: String) throws {
    try Data("\(offset)\n".utf8).write(to: file, options: .atomic)
  }
}
