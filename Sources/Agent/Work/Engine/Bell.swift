// How one part of the work wakes another: a loop waits at its bell until somebody rings, or a time comes. A ring while nobody waits is
// kept. Belongs to the engine's thread, as everything that rings or waits does.

final class Bell {
  private let engine: Engine
  private var isRung = false
  private var waiting: CheckedContinuation<Void, Never>?
  private var timer: UInt64?

  init(_ engine: Engine) { self.engine = engine }

  func ring() {
    isRung = true
    wake()
  }

  /// Returns once it was rung since the last return, or at the time. Where that has passed, everybody else who is ready has had a turn before.
  func wait(until time: MonotonicTime = .never, worker: isolated Worker) async {
    if !isRung {
      await withCheckedContinuation { continuation in
        waiting = continuation
        if time < .never {
          timer = engine.at(time) {
            self.timer = nil
            self.wake()
          }
        }
      }
    }
    isRung = false
  }

  private func wake() {
    if let timer {
      engine.cancel(timer: timer)
      self.timer = nil
    }
    waiting.take()?.resume()
  }
}
