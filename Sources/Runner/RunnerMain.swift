// The entry of the hidden subcommand `agent runner <records file>`, dispatched before anything else in the agent's main. Descriptor 3 is
// one end of a socket pair; 0 to 2 are /dev/null. No Foundation, no Swift concurrency, one thread: this is the part that must never fail.

import CSpawn
import Glibc

public enum RunnerMain {
  /// - Parameter arguments: those behind the subcommand's name: the path of the records file to make.
  /// - Returns: the exit code: 0, or 2 for wrong usage, 1 where the process's own state cannot be set up, `recordsFault` and the errno where
  ///   the records file cannot be made.
  public static func run(arguments: [String]) -> Int32 {
    guard arguments.count == 1, let path = arguments.first, fcntl(agentSocket, F_GETFD) >= 0 else { return 2 }
    _ = fcntl(agentSocket, F_SETFD, FD_CLOEXEC)
    // Everything is default and blocked: nothing interrupts, and nothing is ignored or handled that commands could inherit.
    let watched: [Int32] = [SIGCHLD, SIGTERM]
    guard cspawn_block_all_signals() == 0, cspawn_default_signals() == 0, cspawn_become_subreaper() == 0,
      let signals = Descriptor(cspawn_signalfd(watched, watched.count)), let process = ProcessIdentity.current()
    else { return 1 }
    _ = setsid()
    let group = ControlGroup.join(process)
    let records: RecordsWriter
    do throws(RunnerFault) {
      records = try RecordsWriter(path: Array(path.utf8), process: process, controlGroup: group)
    } catch {
      return recordsFault + error.error
    }
    RunnerLoop(signals: signals, link: AgentLink(socket: agentSocket), records: records, process: process).run()
    ControlGroup.leave(group)
    return 0
  }

  static let agentSocket: Int32 = 3
  private static let recordsFault: Int32 = 100

  /// The errno for which a runner ended before it did anything; nil for any other end.
  public static func fault(ofStatus status: Int32) -> Int32? {
    let code = status >> 8 & 0xFF
    return status & 0x7F == 0 && code > recordsFault ? code - recordsFault : nil
  }
}
