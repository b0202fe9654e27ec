// Keeps history within `retention.days` and `retention.bytes`, a little at a time so that nobody waits: output goes first, then whole tasks.
// Open runs are never touched. What if: the disk is full: deleting needs little room in the log, and what fails is tried again.
import Logging
import ServiceLifecycle
import Shared

struct Janitor: Service {
  let store: Store
  let days: Int
  let bytes: Int64
  let logger: Logger

  func run() async throws {
    await cancelWhenGracefulShutdown {
      while await pause(.seconds(30)) {
        do {
          while try await tidy(now: .now()), await pause(.milliseconds(50)) {}
        } catch { logger.warning("history was not tidied", metadata: ["why": "\(error)"]) }
      }
    }
  }

  /// One small step. Returns true when there may be more to do.
  func tidy(now: WallTime) async throws -> Bool {
    let border = now.milliseconds - Int64(days) * 86_400_000
    let limit = bytes
    return try await store.write { try Retention.step($0, olderThan: border, bytes: limit) }
  }
}
