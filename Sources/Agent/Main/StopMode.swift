// How an agent ends, and the signals that ask for it: so `agent stop`, a service manager and `kill` all say the same thing, and none
// depends on anything but the process itself.

import Glibc

enum StopMode: Sendable, Equatable, CaseIterable {
  /// Runs go on under their runners, and the next agent takes them over. Within 10 s.
  case leave
  /// Nothing new is started; ends when the last run has ended.
  case drain
  /// Ends every run, reports their verdicts, then ends.
  case kill

  /// Also SIGINT and SIGHUP, for `leave`.
  var signal: Int32 {
    switch self {
    case .leave: SIGTERM
    case .drain: SIGUSR1
    case .kill: SIGUSR2
    }
  }

  init?(signal: Int32) {
    switch signal {
    case SIGTERM, SIGINT, SIGHUP: self = .leave
    case SIGUSR1: self = .drain
    case SIGUSR2: self = .kill
    default: return nil
    }
  }
}
