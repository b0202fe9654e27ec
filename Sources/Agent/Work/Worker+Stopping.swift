// How the work ends: runners are left at work, waited for, or told to end their attempts; then what can be said is said, and the lease is
// given back. What could not be said stands in the journal.

import Redis
import Shared

extension Worker {
  private static let flushLimit = Duration.seconds(2)

  func stop(_ mode: StopMode) {
    guard self.mode != .leave || mode == .leave else { return }
    self.mode = mode
    logger.notice("stopping", metadata: ["how": "\(mode)", "running": "\(attempts.working)"])
    switch mode {
    case .leave: beginLeaving()
    case .drain: break
    case .kill:
      for attempt in attempts.live.values where attempt.stage == .working {
        kill(attempt, signal: SystemNames.terminate, graceMilliseconds: settings.task.grace.wholeMilliseconds)
      }
    }
    checkDrained()
  }

  /// With drain and kill: the end, once nothing is at work and every end is journaled.
  func checkDrained() {
    guard let mode, mode != .leave, attempts.working == 0, !attempts.live.values.contains(where: { $0.stage == .ending }) else {
      return
    }
    beginLeaving()
  }

  private func beginLeaving() {
    isLeaving = true
    listening?.cancel()
    tellBell.ring()
  }

  /// Says what can be said within two seconds, and goodbye.
  func leave() async {
    guard hasLease else { return }
    let deadline = MonotonicTime.now + Worker.flushLimit
    say(SaidEvent(event: ReportEvent(.bye)))
    while MonotonicTime.now < deadline,
      reports.unsent > 0 || attempts.live.values.contains(where: { $0.stage == .ending }) || !results.isEmpty
    {
      tellBell.ring()
      // What is waited for are three loops' doings, for a moment and once in a process: not worth an event of its own.
      try? await Task.sleep(for: .milliseconds(5))
    }
    forgetSettled()
    _ = try? await control.send(AgentBus.dropLease(uuid, address), timeout: .seconds(1))
    hasLease = false
    leaseFault = "given back"
  }
}
