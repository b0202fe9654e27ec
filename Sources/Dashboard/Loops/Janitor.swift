// Keeps history within `retention.days` and `retention.bytes`, a little at a time so that nobody waits: output goes first, then whole tasks.
// Open runs are never touched, and what they hold is nobody else's loss. Keeps the anchor of the clock for deadlines as well.
//
// Invariant: a clock that jumps forward takes no history with it. What is older than the border goes, and the border never moves faster than
// time really passes (`RetentionBorder`); where the program was not running it does not move at all, which only keeps history longer.
// What if: the disk is full: deleting needs little room in the log, and what fails is tried again.
import GRDB
import Logging
import ServiceLifecycle
import Shared
import Synchronization

final class Janitor: Service {
  private let store: Store
  private let days: Int
  private let bytes: Int64
  private let clock: DeadlineClock
  private let logger: Logger
  /// When the border was moved last, by the clock for deadlines.
  private let movedAt: Mutex<Int64>

  init(store: Store, days: Int, bytes: Int64, clock: DeadlineClock, logger: Logger) {
    self.store = store
    self.days = days
    self.bytes = bytes
    self.clock = clock
    self.logger = logger
    movedAt = Mutex(clock.now)
  }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      await self.anchorClock()
      while await pause(.seconds(30)) {
        do {
          let border = try await self.moveBorder(wall: .now())
          let history = self.bytes
          let room = try await self.store.read { try Retention.room($0, history: history) }
          while try await self.tidy(olderThan: border, room: room), await pause(.milliseconds(50)) {}
        } catch { self.logger.warning("history was not tidied", metadata: ["why": "\(error)"]) }
      }
    }
  }

  /// One small step. Returns true when there may be more to do.
  private func tidy(olderThan border: Int64, room: Int64) async throws -> Bool {
    if try await store.write({ try Retention.step($0, olderThan: border) }) { return true }
    guard let surplus = try await store.read({ try Retention.surplus($0, over: room) }) else { return false }
    return try await store.write { try Retention.take($0, surplus) }
  }

  /// Moves the border by the time that has passed, and keeps it about once an hour.
  func moveBorder(wall: WallTime) async throws -> Int64 {
    let (days, now) = (Int64(days) * 86_400_000, clock.now)
    let passed = now - movedAt.withLock { $0 }
    let (kept, oldest) = try await store.read { db in (try Retention.border(db), try Retention.oldest(db)) }
    let border = RetentionBorder.moved(
      from: kept, by: passed, oldest: oldest?.timestampMilliseconds, days: days, wall: wall.milliseconds)
    if kept.map({ abs(border - $0) >= 3_600_000 }) ?? true {
      let anchor = clock.anchor
      try await store.write { db in
        try Retention.saveBorder(db, border)
        try StoreIdentity.saveClock(db, anchor)
      }
      movedAt.withLock { $0 = now }
    }
    return border
  }

  private func anchorClock() async {
    let anchor = clock.anchor
    do { try await store.write { try StoreIdentity.saveClock($0, anchor) } } catch {
      logger.warning("the clock for deadlines was not kept; a restart reads the wall clock", metadata: ["why": "\(error)"])
    }
  }
}

/// Up to which time history may go. Pure.
enum RetentionBorder {
  /// - Parameters:
  ///   - kept: the border before; nil for none yet.
  ///   - passed: how much time has really passed since then, milliseconds.
  ///   - oldest: when the oldest task was made, as its id says; nil without any.
  ///   - days: how long history is kept, milliseconds.
  ///   - wall: what the wall clock says; believed only where it keeps more.
  static func moved(from kept: Int64?, by passed: Int64, oldest: Int64?, days: Int64, wall: Int64) -> Int64 {
    // Nothing is lost by moving over times of which there is no task, as long as the oldest one keeps its whole time.
    let unused = (oldest ?? wall) - days
    return min(wall - days, max(kept.map { $0 + max(0, passed) } ?? unused, unused))
  }
}
