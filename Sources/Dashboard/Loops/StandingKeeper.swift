// Takes and keeps `muster:dashboard`, and finds the fence (DESIGN section 3, "One dashboard writes"). The file lock on the data folder is
// held by the composition root, so a lease of our own store is one of our dead predecessor and is taken at once when the process starts.
// Another store's is never taken: this dashboard stands by until it is restarted or that store's dashboard has left for good.
// What if: Redis is away: `starting`, or the present fence stays (scripts fail anyway); Redis came back empty: lease and fence are written
// again; the lease is taken by another process: stand by at once.
import GRDB
import Logging
import Redis
import ServiceLifecycle
import Shared

struct StandingKeeper: Service {
  let store: Store
  let link: RedisLink
  let standing: Standing
  let desks: Desks
  let fleet: Fleet
  let health: HealthBoard
  let mood: RedisMood
  let identity: StoreIdentity
  let process = Nonce.random()
  let logger: Logger

  /// How often the lease is renewed or looked at.
  private static let interval: Duration = .seconds(4)
  /// While Redis or the store refuses.
  private static let patience: Duration = .seconds(1)

  func run() async throws {
    await cancelWhenGracefulShutdown {
      var mayTakeOver = true
      while !Task.isCancelled {
        do {
          try await link.commands.connected(within: .seconds(3600))
          if let fence = standing.fence {
            try await renew(fence)
          } else {
            try await take(atStart: mayTakeOver)
            mayTakeOver = false
          }
          mood.obeyed()
        } catch {
          if case .reply(let refusal)? = error as? RedisError { mood.refused(refusal) }
          if let refusal = error as? RedisReplyError { mood.refused(refusal) }
          logger.debug("the dashboard's lease was not renewed", metadata: ["why": "\(error)"])
          if !(await pause(Self.patience)) { break }
          continue
        }
        if !(await pause(mood.isRefusing ? Self.patience : Self.interval)) { break }
      }
    }
    if let fence = standing.fence {
      standing.move(to: .draining)
      let dropped = await link.commands.outcomes(
        of: [DashboardBus.dropDashboard(store: identity.id, process: process, fence: fence)], timeout: .seconds(1))
      if case .failure(let error) = dropped[0] {
        logger.info("the dashboard's lease was left to run out", metadata: ["why": "\(error)"])
      }
    }
  }

  private func take(atStart: Bool) async throws {
    let held = try await link.commands.send(RedisCommand("GET", Keys.dashboard)).string
    let holder = held.map { $0.split(separator: ":").map(String.init) } ?? []
    if let other = holder.first, other != identity.id.description {
      return standBy(
        "another dashboard (store \(other)) writes to this Redis; give this one a Redis of its own, or stop the other")
    }
    if holder.count > 1, holder[1] != process.description, !atStart {
      return standBy("another dashboard with a copy of this store writes to this Redis; stop one of the two")
    }
    var fence = try await store.read { try StoreIdentity.fence($0) } + 1
    // Redis may know a higher one: the store is a restored copy, or another dashboard was here.
    while true {
      let before = try await link.commands.send(DashboardBus.raiseFence(to: fence))
      guard let text = before.string, let number = Fence(text) else {
        throw StandingFault.unreadable("muster:fence", "\(before)")
      }
      if number < fence { break }
      fence = number + 1
    }
    let taken = fence
    try await store.write { try StoreIdentity.saveFence($0, taken) }
    let answer = try await link.commands.send(DashboardBus.takeDashboard(store: identity.id, process: process, fence: taken))
    guard let words = answer.array, words.first?.string == "ok" else {
      return standBy("another dashboard writes to this Redis: \(answer.array?.last?.string ?? "")")
    }
    desks.forget()
    health.set(.standby, nil)
    logger.info("this dashboard writes", metadata: ["fence": "\(taken)"])
    standing.move(to: .writing(taken))
  }

  private func renew(_ fence: Fence) async throws {
    let commands = [
      DashboardBus.renewDashboard(store: identity.id, process: process, fence: fence), DashboardBus.raiseFence(to: fence),
    ]
    let values = try await link.commands.pipeline(commands)
    // A server that is full, loading, read-only, … says nothing about who holds the lease.
    for value in values { if let error = value.error { throw error } }
    switch values[0].integer {
    case 1: break
    case -1:
      // Redis came back without it, or we were cut off for longer than the lease.
      fleet.redisWasLost()
      _ = try await link.commands.send(DashboardBus.takeDashboard(store: identity.id, process: process, fence: fence))
    default: return standBy("another dashboard has taken this one's place in Redis")
    }
    if let text = values[1].string, let known = Fence(text), known > fence {
      return standBy("another dashboard has a newer fence (\(known)) than this one (\(fence))")
    }
  }

  private func standBy(_ reason: String) {
    if standing.state != .standby(reason) { logger.warning("standing by", metadata: ["why": "\(reason)"]) }
    health.set(.standby, reason)
    standing.move(to: .standby(reason))
  }
}

enum StandingFault: Error, CustomStringConvertible {
  case unreadable(String, String)
  var description: String {
    switch self {
    case .unreadable(let key, let value): "the Redis key \(key) holds what no dashboard wrote: \(value)"
    }
  }
}
