// Rows of the store that this program cannot have written. Each is told once in the log; `health` keeps saying that there are some. What
// concerns them is left alone, everything else goes on.
import Logging
import Shared
import Synchronization

final class DamageBook: Sendable {
  private let health: HealthBoard
  private let logger: Logger
  private let known = Mutex<Set<String>>([])
  /// Different ones that are told apart.
  private static let most = 1000

  init(health: HealthBoard, logger: Logger) {
    self.health = health
    self.logger = logger
  }

  func found(_ faults: [String]) {
    guard !faults.isEmpty else { return }
    let (fresh, count) = known.withLock { known in
      (faults.filter { known.count < Self.most && known.insert($0).inserted }, known.count)
    }
    for fault in fresh { logger.error("a row of the store is damaged and left alone", metadata: ["what": "\(fault)"]) }
    guard let first = fresh.first ?? faults.first else { return }
    health.set(
      .damage, "\(count) damaged row\(count == 1 ? "" : "s") in the store, left alone (\(first)); everything else goes on")
  }
}
