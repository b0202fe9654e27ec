// How Redis takes what this dashboard asks of it: away, refusing (full, read-only, failing to save, …), or well. Everybody who was refused says
// so here; it is in the log once when it begins and once when it is over, and in `health` meanwhile. `StandingKeeper` tells of success: its
// renewal is a real write, so a server that is full or read-only is noticed while there is nothing to send.
import Logging
import Redis
import Shared

final class RedisMood: Sendable {
  private let health: HealthBoard
  private let logger: Logger
  private let refusing: Trouble
  private let away: Trouble

  init(health: HealthBoard, logger: Logger) {
    self.health = health
    self.logger = logger
    refusing = Trouble(
      logger, begins: "Redis refuses what it is asked: tasks are accepted and wait in the store",
      ends: "Redis does what it is asked again")
    away = Trouble(logger, begins: "Redis is away: tasks are accepted and wait in the store", ends: "Redis is back")
  }

  /// A command was answered with an error that is about the server and not about the command.
  func refused(_ error: RedisReplyError) {
    refusing.met(error.message, kind: "\(error.code)")
    show()
  }

  func lost(_ fault: RedisFault) {
    // Each attempt may fail in another way.
    away.met("\(fault)", kind: "away")
    health.set(.redis, "Redis is away (\(fault)): tasks are accepted and wait in the store")
  }

  /// There is a connection, and nobody knows yet what it is worth.
  func connected(at place: String) {
    if let reason = away.reason { logger.info("connected to Redis again", metadata: ["where": "\(place)", "was": "\(reason)"]) }
    away.passed()
    show()
  }

  /// A write was done.
  func obeyed() {
    away.passed()
    refusing.passed()
    show()
  }

  var isRefusing: Bool { refusing.reason != nil }

  /// Agents cannot renew their leases either, so their silence says nothing. One that is only full still lets them (`Scripts`), and what this
  /// dashboard alone may not do says nothing about them.
  var silencesAgents: Bool {
    guard let reason = refusing.reason else { return false }
    let error = RedisReplyError(message: reason)
    return error.isPassing && error.code != .oom
  }

  private func show() {
    health.set(
      .redis, refusing.reason.map { "Redis refuses what it is asked (\($0)): tasks are accepted and wait in the store" })
  }
}
