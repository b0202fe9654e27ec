// Each connection and each open file takes a descriptor; the soft limit is often 1,024.
import Glibc

enum DescriptorLimit {
  /// Beside the server's connections: the store, Redis, the log, and what is just being accepted.
  private static let others = 128

  /// Raises the soft limit to the hard one.
  static func raise() {
    guard var limit = current() else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }

  /// What is risky about the limit; nil where it is large enough for so many connections.
  static func risk(connections: Int, limit: UInt64? = nil) -> String? {
    guard let limit = limit ?? current().map({ UInt64($0.rlim_cur) }), limit < UInt64(connections + others) else { return nil }
    return
      "this process may open \(limit) files, and http.limits.connections is \(connections): raise its limit (ulimit -n, LimitNOFILE) to \(connections + others), or lower the setting"
  }

  private static func current() -> rlimit? {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
    return limit
  }
}
