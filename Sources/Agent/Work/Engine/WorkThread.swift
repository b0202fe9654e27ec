// Threads outside Swift's cooperative pool, for what may block. All signals are masked in them: they belong to the main thread.

import Glibc

enum WorkThread {
  private final class Body {
    let name: String
    let run: @Sendable () -> Void

    init(name: String, run: @escaping @Sendable () -> Void) {
      self.name = name
      self.run = run
    }

    func begin() {
      WorkThread.nameThread(name)
      run()
    }
  }

  /// Runs the closure on a new detached thread.
  /// - Parameter name: at most 15 bytes.
  /// - Returns: 0 or an errno; with one the closure never runs.
  static func start(name: String, _ run: @escaping @Sendable () -> Void) -> Int32 {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 512 * 1024)
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    let body = Unmanaged.passRetained(Body(name: name, run: run))
    var thread = pthread_t()
    let code = pthread_create(
      &thread, &attributes,
      { body in
        guard let body else { return nil }
        let taken = Unmanaged<Body>.fromOpaque(body).takeRetainedValue()
        taken.begin()
        return nil
      }, body.toOpaque())
    if code != 0 { body.release() }
    return code
  }

  /// For `top -H`. Where /proc is missing the thread keeps the program's name.
  private static func nameThread(_ name: String) {
    let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    _ = write(descriptor, Array(name.utf8), name.utf8.count)
    close(descriptor)
  }
}
