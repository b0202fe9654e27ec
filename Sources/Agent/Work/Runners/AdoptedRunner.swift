// A runner that an earlier process of this agent started, still at work on its attempt. It can only be watched (its pidfd, its records)
// and told to end its attempt (SIGTERM, and `KillRequest` for which signal and grace). Belongs to the engine's thread.

import CSpawn
import Glibc
import Runner

final class AdoptedRunner {
  let attempt: Attempt
  let identity: ProcessIdentity
  /// -1 once closed.
  private(set) var pidfd: Int32
  var timer: UInt64?

  enum Found {
    case alive(AdoptedRunner)
    /// That very process is not there any more.
    case gone
    /// Nobody can tell now, for want of a descriptor.
    case unclear(errno: Int32)
  }

  static func find(_ identity: ProcessIdentity, attempt: Attempt) -> Found {
    let pidfd = cspawn_pidfd_open(identity.pid)
    guard pidfd >= 0 else {
      let code = errno
      return ReadFault.isShortage(code) ? .unclear(errno: code) : .gone
    }
    // Looked at after the pidfd is held: from here on it can only be this process.
    switch identity.life {
    case true?: return .alive(AdoptedRunner(identity, attempt, pidfd))
    case false?:
      Glibc.close(pidfd)
      return .gone
    case nil:
      Glibc.close(pidfd)
      return .unclear(errno: EMFILE)
    }
  }

  private init(_ identity: ProcessIdentity, _ attempt: Attempt, _ pidfd: Int32) {
    self.identity = identity
    self.attempt = attempt
    self.pidfd = pidfd
  }

  deinit { close() }

  func signal(_ number: Int32) {
    if pidfd >= 0 { _ = cspawn_pidfd_send_signal(pidfd, number) }
  }

  func close() {
    if pidfd >= 0 { Glibc.close(pidfd) }
    pidfd = -1
  }
}
