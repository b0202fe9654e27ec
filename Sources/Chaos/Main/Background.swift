// Threads and time. The harness blocks in sockets and waits all the time, so every part of it is a thread of its own, none is a Swift task.

import Glibc

/// A thread that can be waited for.
final class Background: @unchecked Sendable {  // `thread` is written once, before anybody else has it
  private final class Body {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }
  private var thread = pthread_t()

  init(_ run: @escaping @Sendable () -> Void) {
    let body = Unmanaged.passRetained(Body(run))
    let code = pthread_create(
      &thread, nil,
      { body in
        guard let body else { return nil }
        Unmanaged<Body>.fromOpaque(body).takeRetainedValue().run()
        return nil
      }, body.toOpaque())
    precondition(code == 0, "no thread: \(code)")
  }

  func join() { pthread_join(thread, nil) }
}

enum Monotonic {
  static var milliseconds: Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
  }

  /// How far the machine's uptime is ahead of this clock, which does not count the time that it slept; 0 where it cannot be read.
  static var uptimeAhead: Int {
    let words = String(decoding: ProcessFile.read("/proc/uptime"), as: UTF8.self).split(separator: " ")
    return words.first.flatMap(milliseconds(ofUptime:)).map { $0 - milliseconds } ?? 0
  }

  /// Of the first word of /proc/uptime: seconds.
  static func milliseconds(ofUptime seconds: some StringProtocol) -> Int? { Double(seconds).map { Int(($0 * 1000).rounded()) } }

  static func pause(_ milliseconds: Int) {
    var time = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
    var rest = timespec()
    while nanosleep(&time, &rest) != 0, errno == EINTR { time = rest }
  }

  /// Looks every 20 ms. False: not within that time.
  static func wait(upTo milliseconds: Int, until isTrue: () -> Bool) -> Bool {
    let end = self.milliseconds + milliseconds
    while !isTrue() {
      guard self.milliseconds < end else { return false }
      pause(20)
    }
    return true
  }
}

/// The harness itself cannot go on: no violation, no result.
struct HarnessFault: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

func systemError(_ number: Int32) -> String { String(cString: strerror(number)) }
