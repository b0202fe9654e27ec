// How many descriptors the agent may have open. It takes all that the system allows it; what it starts for others does not
// inherit that: programs that use `select` or close "all" descriptors one by one break or crawl under a high limit, and the
// operator's own setting is the one that commands were written for.

import Glibc
import Shared

/// RLIMIT_NOFILE as the agent found it.
struct DescriptorLimit: Sendable, Equatable {
  var soft: UInt64
  var hard: UInt64

  static func current() -> DescriptorLimit {
    var limit = rlimit()
    // Cannot fail for a known resource and a valid pointer.
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return DescriptorLimit(soft: UInt64(limit.rlim_cur), hard: UInt64(limit.rlim_max))
  }

  /// What an agent may need at once, in round numbers: 64 of its own (journal, logs, sockets, files that are read for a moment), 3 for each
  /// runner (socket, pidfd, and one on its way), and a few connections to its own port.
  static func needed(concurrency: Int) -> UInt64 { 96 + 3 * UInt64(clamping: concurrency) }

  /// What to tell an operator whose limit is too low; nil: it will do.
  func warning(concurrency: Int) -> String? {
    let needed = DescriptorLimit.needed(concurrency: concurrency)
    guard hard < needed else { return nil }
    return "\(concurrency) runs at once may need \(needed) open files, and this process may have \(hard): raise its limit "
      + "(LimitNOFILE in systemd, ulimit -n), or lower task.concurrency; runs wait where descriptors are missing"
  }

  /// Raises the soft limit of this process to the hard one.
  /// - Returns: the limit before, which runners and their commands are to get.
  static func raise() -> DescriptorLimit {
    let original = current()
    var limit = rlimit(rlim_cur: rlim_t(original.hard), rlim_max: rlim_t(original.hard))
    // A refusal leaves the agent with what it had, which the HTTP server and the pools can live with.
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return original
  }
}
