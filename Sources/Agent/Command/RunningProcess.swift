// The agent that runs on a state folder, seen from outside: found by its record, and held by a pidfd, so that a signal can never hit
// another process that got its number in between.

import CSpawn
import Glibc
import Runner
import Shared

struct RunningProcess: ~Copyable {
  let pid: Int32
  let uuid: String
  private let descriptor: Int32

  /// Nil when none is running.
  init?(_ settings: AgentSettings) throws(AgentFailure) {
    let record: ProcessRecord?
    do throws(FileError) { record = try ProcessRecord.read(settings) } catch { throw .file(error) }
    guard let record else { return nil }
    let descriptor = cspawn_pidfd_open(record.pid)
    guard descriptor >= 0 else {
      let code = errno
      if code == ESRCH || code == EINVAL { return nil }
      throw .system(action: "watch process \(record.pid)", code: code)
    }
    // Judged after the descriptor was opened: what it names now, it names for good.
    guard record.isAlive else {
      close(descriptor)
      return nil
    }
    self.descriptor = descriptor
    pid = record.pid
    uuid = record.uuid
  }

  deinit { close(descriptor) }

  func signal(_ number: Int32) throws(AgentFailure) {
    guard cspawn_pidfd_send_signal(descriptor, number) < 0 else { return }
    switch errno {
    case ESRCH: return
    case EPERM: throw .mayNotSignal(pid: pid)
    case let code: throw .system(action: "signal process \(pid)", code: code)
    }
  }

  /// Waits for its end.
  func hasEnded(within limit: Duration) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, Int32(limit.components.seconds * 1000 + limit.components.attoseconds / 1_000_000_000_000_000)) > 0
  }
}
