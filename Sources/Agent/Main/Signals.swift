// Signals of a running agent: blocked in every thread and read from a descriptor by the main one (`MainLoop`), so that no handler
// ever runs. What the agent starts for others begins with an empty mask and default dispositions (`CSpawn`).

import CSpawn
import Glibc

struct Signals: ~Copyable {
  /// Readable when a signal has come.
  let descriptor: Int32

  /// Blocks them and opens the descriptor. Has to come before the process has a second thread.
  static func block() throws(AgentFailure) -> Signals {
    // A reader that goes away is an error of the write, not the end of the agent.
    signal(SIGPIPE, SIG_IGN)
    // Shells start background jobs with SIGINT ignored; a terminal's end is as good a reason to stop as any, unless `nohup` said no.
    let watched = [SIGTERM, SIGINT, SIGUSR1, SIGUSR2] + (Signals.isIgnored(SIGHUP) ? [] : [SIGHUP])
    for number in watched { signal(number, SIG_DFL) }
    var mask = sigset_t()
    sigemptyset(&mask)
    for number in watched { sigaddset(&mask, number) }
    let code = pthread_sigmask(SIG_BLOCK, &mask, nil)
    guard code == 0 else { throw .system(action: "block signals", code: code) }
    let descriptor = cspawn_signalfd(watched, watched.count)
    guard descriptor >= 0 else { throw .system(action: "open a descriptor for signals", code: errno) }
    return Signals(descriptor: descriptor)
  }

  private init(descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  /// The signals that have come, each once.
  func take() -> [Int32] {
    let set = cspawn_take_signals(descriptor)
    return (1...64).filter { set >> UInt64($0 - 1) & 1 == 1 }
  }

  private static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    guard sigaction(number, nil, &action) == 0 else { return false }
    // SIG_IGN is the function pointer 1, a macro with a cast that Swift does not import.
    return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
  }
}
