// The living descendants of this process, from the process table. As the runner is their subreaper, whoever loses its parent becomes
// a child of the runner, so nobody escapes; one look may still miss a process that is just being forked, hence callers look again
// until the kernel itself says that no child is left.

import CSpawn
import Glibc

enum ProcessTree {
  /// Not in any order; without those that have ended but were not waited for.
  static func livingDescendants() -> [ProcessEntry] {
    let entries = everybody()
    var children: [Int32: [Int]] = [:]
    for (index, entry) in entries.enumerated() { children[entry.parent, default: []].append(index) }
    var found: [ProcessEntry] = []
    var parents: [Int32] = [getpid()]
    var visited: Set<Int32> = [getpid()]
    while let parent = parents.popLast() {
      for index in children[parent] ?? [] where visited.insert(entries[index].pid).inserted {
        parents.append(entries[index].pid)
        if !entries[index].isDead { found.append(entries[index]) }
      }
    }
    return found
  }

  static func everybody() -> [ProcessEntry] {
    guard let folder = opendir("/proc") else { return [] }
    defer { closedir(folder) }
    var entries: [ProcessEntry] = []
    while let item = readdir(folder) {
      let pid = withUnsafePointer(to: &item.pointee.d_name) { name in
        name.withMemoryRebound(to: CChar.self, capacity: 256) { atoi($0) }
      }
      if pid > 0, let entry = ProcessEntry(pid: pid) { entries.append(entry) }
    }
    return entries
  }

  /// Signals exactly this process, never a later one with its pid. Returns an errno; ESRCH where it is gone.
  static func signal(_ entry: ProcessEntry, _ signal: Int32) -> Int32 {
    let handle = Descriptor(cspawn_pidfd_open(entry.pid))
    if handle == nil, !hasNoPidfds(errno) { return errno }
    guard ProcessEntry(pid: entry.pid)?.startTime == entry.startTime else { return ESRCH }
    let error = handle.map { cspawn_pidfd_send_signal($0.raw, signal) } ?? kill(entry.pid, signal)
    return error == 0 ? 0 : errno
  }

  /// Whether this errno of opening a pidfd says that there are none here: an old kernel, or a filter of system calls (a container's) that knows
  /// no better. The kernel itself refuses nobody. Then pid and time of start are all there is to go by.
  static func hasNoPidfds(_ errno: Int32) -> Bool { errno == ENOSYS || errno == EPERM }

  /// The same, and one that was stopped goes on: until then it would not hear the signal.
  static func signalAndWake(_ entry: ProcessEntry, _ signal: Int32) -> Int32 {
    let error = ProcessTree.signal(entry, signal)
    if error == 0 { wake(entry, after: signal) }
    return error
  }

  static func wake(_ entry: ProcessEntry, after signal: Int32) {
    let stops = [SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU]
    guard entry.isStopped, signal != SIGKILL, signal != SIGCONT, !stops.contains(signal) else { return }
    _ = ProcessTree.signal(entry, SIGCONT)
  }
}
