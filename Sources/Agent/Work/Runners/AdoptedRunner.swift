// A runner that this process is not connected to, still at work on its attempt: started by an earlier one, or cut off from this one. It can
// only be watched (its pidfd, its records) and told to end its attempt (SIGTERM, and `KillRequest` for which signal and grace).
// What if: there are no pidfds, on an old kernel or under a filter of system calls: then it is looked for by pid and time of start, each time
// that its records are. Belongs to the engine's thread.

import CSpawn
import Glibc
import Runner

final class AdoptedRunner {
  let attempt: Attempt
  let identity: ProcessIdentity
  /// -1 where there is none, and once closed.
  private(set) var pidfd: Int32
  /// Its end is told by the pidfd.
  var isWatched = false
  var timer: UInt64?

  enum Found {
    case alive(AdoptedRunner)
    /// That very process is not there any more.
    case gone
    /// Nobody can tell now, for want of a descriptor.
    case unclear(errno: Int32)
  }

  static func find(_ identity: ProcessIdentity, attempt: Attempt) -> Found {
    guard identity.pid > 0 else { return .gone }
    let pidfd = cspawn_pidfd_open(identity.pid)
    if pidfd < 0 {
      let code = errno
      if code == ESRCH || code == EINVAL { return .gone }
      if ReadFault.isShortage(code) { return .unclear(errno: code) }
    }
    let runner = AdoptedRunner(identity, attempt, pidfd)
    // Looked at after the pidfd is held: from here on it can only be this process.
    switch identity.life {
    case true?: return .alive(runner)
    case false?: return .gone
    case nil: return .unclear(errno: EMFILE)
    }
  }

  private init(_ identity: ProcessIdentity, _ attempt: Attempt, _ pidfd: Int32) {
    self.identity = identity
    self.attempt = attempt
    self.pidfd = pidfd
  }

  deinit { close() }

  func signal(_ number: Int32) {
    if pidfd >= 0 {
      _ = cspawn_pidfd_send_signal(pidfd, number)
    } else if identity.isAlive {
      _ = Glibc.kill(identity.pid, number)
    }
  }

  func close() {
    if pidfd >= 0 { Glibc.close(pidfd) }
    pidfd = -1
  }
}
