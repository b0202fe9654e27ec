// Processes that tests look for and end, always by their number.

import Glibc
import RedisTestSupport
import Shared

func killProcess(_ pid: pid_t, _ signal: Int32 = SIGKILL) -> Bool { kill(pid, signal) == 0 }

func processExists(_ pid: pid_t) -> Bool { kill(pid, 0) == 0 || errno == EPERM }

/// Runners whose records stand in this agent's folder, by their command lines.
func runners(of disk: AgentOnDisk) -> [pid_t] {
  guard let folder = opendir("/proc") else { return [] }
  defer { closedir(folder) }
  var found: [pid_t] = []
  while let entry = readdir(folder) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    guard let pid = pid_t(name), let line = try? Files.read("/proc/\(pid)/cmdline") else { continue }
    let text = String(decoding: line, as: UTF8.self)
    if text.contains("runner"), text.contains(disk.state + "/runners/") { found.append(pid) }
  }
  return found
}

extension AgentOnDisk {
  /// Sets the soft limit of another process.
  func limitDescriptors(of pid: pid_t, to limit: Int) async throws {
    let run = try spawn(["--pid", "\(pid)", "--nofile=\(limit):"], program: "/usr/bin/prlimit")
    guard try await end(of: run).code == 0 else { throw TestFailure("prlimit: \(run.errorText)") }
  }
}
