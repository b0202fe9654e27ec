// As process 1 of a container without an init the agent becomes the parent of everything there that loses its own: what a run left behind on
// purpose, once its runner has left. Those that end have to be waited for, or they would stay in the process table for ever.
// What if: a runner that has ended comes first in the kernel's list: it is waited for by who knows it (`Worker+Runners`), the others then.

import CSpawn
import Glibc

extension Worker {
  private static let orphanPeriod = Duration.seconds(5)

  /// Waits for those that have ended, from now on.
  func waitForOrphans() {
    guard ProcessBoot.pid == 1 else { return }
    let runners = Set(links.values.map(\.process.pid)).union(departing.keys)
    while true {
      let pid = cspawn_ended_child()
      guard pid > 0, !runners.contains(pid), waitpid(pid, nil, WNOHANG) == pid else { break }
    }
    engine.at(.now + Worker.orphanPeriod) { [weak self] in self?.assumeIsolated { $0.waitForOrphans() } }
  }
}
