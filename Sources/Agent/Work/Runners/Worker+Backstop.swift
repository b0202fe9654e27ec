// Deadlines and kills are the runner's work. What if the runner does not work: it was stopped (`kill -STOP $PPID` in a command is enough),
// or hangs? Then nobody would keep the deadline, the slot would be lost, and a kill would never be answered. So the agent has a clock of its
// own for everything it asked for: first it wakes the runner (SIGCONT), then, when it should long have answered, it ends it by its pidfd.
// The run is then judged like any whose runner is gone, and what it left behind is found and ended (`Worker+Leftovers`).
//
// One look per second while anything is at work; none while the agent is idle.

import CSpawn
import Glibc
import Runner
import Shared

/// How long a runner may take beyond what it was asked for. Tests are less patient.
struct Patience: Sendable {
  /// Beyond deadline and grace.
  var backstop: Duration = .seconds(30)
  /// The same while the agent ends all its commands in order to stop, which has a limit itself (`MainLoop.killMargin`).
  var stopping: Duration = .seconds(6)
  /// Beyond the deadline, or for a start: then it is woken, whether it was stopped or not.
  var waking: Duration = .seconds(1)
  /// More for one whose command has ended, which then waits for the disk to take its exit record.
  var recording: Duration = .seconds(3600)

  static var standard: Patience {
    guard let text = Pretending.value("MUSTER_PRETEND_PATIENCE"), let seconds = Double(text) else { return Patience() }
    return Patience(backstop: .seconds(seconds), stopping: .seconds(seconds))
  }
}

/// What a runner is held to about one attempt.
struct Backstop {
  var handedOverAt = MonotonicTime.never
  var deadline = MonotonicTime.never
  var grace = Duration.zero
  /// Its process, once it has begun.
  var leader: Int32 = 0
  var wasEnded = false
  /// Why the runner was ended, for the verdict's note.
  var story: String?

  /// - Parameter timeout: 0: none.
  mutating func keep(_ timeout: UInt64, from start: MonotonicTime, grace: UInt64) {
    deadline = timeout > 0 ? start + .milliseconds(Int64(clamping: min(timeout, 1 << 60))) : .never
    self.grace = .milliseconds(Int64(clamping: grace))
  }
}

extension Worker {
  /// - Parameter order: as the runner gets it.
  func hold(_ attempt: Attempt, to order: AttemptOrder) {
    let now = MonotonicTime.now
    attempt.backstop = Backstop(handedOverAt: now)
    attempt.backstop.keep(order.timeoutMilliseconds, from: now, grace: order.graceMilliseconds)
    armBackstop()
  }

  /// For a run of an earlier process: to what its runner was told, which the records say; the settings may be others by now. Records of an
  /// earlier version do not say it: then only kills are answered for. One that was held up past its limit gets its time from now on.
  func hold(adopted attempt: Attempt, _ state: RecordedAttempt) {
    attempt.backstop.leader = state.started?.pid ?? 0
    if let begin = state.begin, begin.monotonicNanoseconds > 0 {
      let began = MonotonicTime(nanoseconds: begin.monotonicNanoseconds)
      attempt.backstop.keep(begin.timeoutMilliseconds, from: began, grace: begin.graceMilliseconds)
      attempt.backstop.deadline = max(.now, attempt.backstop.deadline)
    }
    armBackstop()
  }

  func armBackstop() {
    guard !backstopIsArmed else { return }
    backstopIsArmed = true
    engine.at(.now + min(surroundings.patience.waking, surroundings.patience.backstop)) { [weak self] in
      self?.assumeIsolated { worker in
        worker.backstopIsArmed = false
        worker.lookAtRunners()
      }
    }
  }

  private func lookAtRunners() {
    for link in links.values {
      guard let attempt = link.attempt, attempt.stage == .working else { continue }
      look(at: attempt, runner: link.process.pid) { self.signal(link, $0) }
    }
    for runner in adopted.values {
      // Not before its records were looked at: it may have let go of the attempt and be at work on another one.
      look(at: runner.attempt.id)
      guard adopted[runner.attempt.id] === runner else { continue }
      look(at: runner.attempt, runner: runner.identity.pid) { runner.signal($0) }
    }
    if attempts.working > 0 { armBackstop() }
  }

  private func look(at attempt: Attempt, runner pid: Int32, _ signal: (Int32) -> Void) {
    let patience = surroundings.patience
    let now = MonotonicTime.now
    let hasNotBegun = attempt.startedAt == nil && now >= attempt.backstop.handedOverAt + patience.waking
    if hasNotBegun || now >= attempt.backstop.deadline + patience.waking || attempt.killAsked != nil {
      signal(SIGCONT)
    }
    guard !attempt.backstop.wasEnded else { return }
    let margin = mode == .kill ? min(patience.backstop, patience.stopping) : patience.backstop
    var endAt = attempt.backstop.deadline + attempt.backstop.grace + margin
    if let kill = attempt.killAsked { endAt = min(endAt, kill.hardAt + margin) }
    guard now >= endAt else { return }
    // A runner whose command is over has nothing to end any more; it may be waiting for room on the disk.
    let leader = ProcessIdentity(of: attempt.backstop.leader)
    if attempt.backstop.leader > 0, leader == nil, now < endAt + patience.recording { return }
    attempt.backstop.wasEnded = true
    attempt.backstop.story = "its runner did not end it in time and was ended itself"
    logger.error("a runner does not do what it was told: it is ended", metadata: ["run": "\(attempt.run)", "runner": "\(pid)"])
    signal(SIGKILL)
  }

  /// It is this process's child and was not waited for, so its pid is nobody else's.
  private func signal(_ link: RunnerLink, _ number: Int32) {
    if link.process.pidfd >= 0 {
      _ = cspawn_pidfd_send_signal(link.process.pidfd, number)
    } else {
      _ = Glibc.kill(link.process.pid, number)
    }
  }

  /// A runner that was stopped (`kill -STOP $PPID` is enough) goes on.
  func wake(_ link: RunnerLink) { signal(link, SIGCONT) }
}
