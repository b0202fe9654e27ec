// Takes and keeps `muster:dashboard`, and finds the fence (DESIGN section 3, "One dashboard writes"). The file lock on the data folder is
// held by the composition root, so a lease of our own store is one of our dead predecessor and is taken at once when the process starts.
// Another store's is never taken. Whoever saw one stands by for the rest of its life, also while nobody holds the place: that one may be cut off,
// Redis may have been flushed, and an orderly stop is a restart most of the time. An operator hands over by stopping the other and restarting
// this one: a process that finds the place free takes it.
// What if: Redis is away: `starting`, or the present fence stays (scripts fail anyway); Redis came back empty: lease and fence are written
// again; it is full: the place is taken and kept all the same, so that somebody reads what fills it; the lease is taken by another process:
// stand by at once.
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
      var otherStore: String?
      while !Task.isCancelled {
        do {
          try await link.commands.connected(within: .seconds(3600))
          if standing.fence == nil {
            try await take(atStart: mayTakeOver, &otherStore)
            mayTakeOver = false
          }
          // Also where it was just taken: taking says nothing about whether Redis has room.
          if let fence = standing.fence { try await renew(fence) }
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

  /// - Parameter otherStore: one whose dashboard was seen to write here.
  private func take(atStart: Bool, _ otherStore: inout String?) async throws {
    let holder = Self.parts(try await link.commands.send(RedisCommand("GET", Keys.dashboard)))
    let isOurs = holder.first == identity.id.description
    if let store = holder.first, !isOurs { otherStore = store }
    if let otherStore, !isOurs {
      let remedy = "to have this one write, stop the other and restart this one"
      return standBy(
        holder.isEmpty
          ? "another dashboard (store \(otherStore)) wrote to this Redis and may come back; \(remedy)"
          : "another dashboard (store \(otherStore)) writes to this Redis; give this one a Redis of its own; \(remedy)")
    }
    if holder.count > 1, holder[1] != process.description, !atStart {
      return standBy("another dashboard with a copy of this store writes to this Redis; stop one of the two")
    }
    var fence = try await store.read { try StoreIdentity.fence($0) } + 1
    // Redis may know a higher one: the store is a restored copy, or another dashboard was here.
    while true {
      guard Fences.all.contains(fence) else {
        return standBy("there is no fence above \(fence - 1), which the store or muster:fence holds")
      }
      let before = try await link.commands.send(DashboardBus.raiseFence(to: fence, whenFull: true))
      guard let text = before.string else { throw StandingFault.unreadable("muster:fence", "\(before)") }
      guard let number = Fences.read(text) else {
        logger.error("Redis held a fence that no dashboard had: it was written over", metadata: ["value": "\(text)"])
        break
      }
      if number < fence { break }
      fence = number + 1
    }
    let taken = fence
    try await store.write { try StoreIdentity.saveFence($0, taken) }
    let answer = try await link.commands.send(DashboardBus.takeDashboard(store: identity.id, process: process, fence: taken))
    guard answer.array?.first?.string == "ok" else {
      otherStore = answer.array?.last.flatMap { Self.parts($0).first }
      return standBy("another dashboard writes to this Redis")
    }
    desks.forget()
    health.set(.standby, nil)
    logger.info("this dashboard writes", metadata: ["fence": "\(taken)"])
    standing.move(to: .writing(taken))
  }

  /// Of `store:process:fence`; none where nobody holds the place.
  private static func parts(_ held: RedisValue) -> [String] {
    (held.string ?? "").split(separator: ":").map(String.init)
  }

  private func renew(_ fence: Fence) async throws {
    let commands = [
      DashboardBus.renewDashboard(store: identity.id, process: process, fence: fence), DashboardBus.raiseFence(to: fence),
    ]
    let values = try await link.commands.pipeline(commands)
    // A server that is loading, read-only, … says nothing about who holds the lease. One that is full does, and refuses only the other.
    if let error = values[0].error { throw error }
    switch values[0].integer {
    case 1: break
    case -1:
      // Redis came back without it, or we were cut off for longer than the lease.
      fleet.redisWasLost()
      let taken = try await link.commands.send(
        DashboardBus.takeDashboard(store: identity.id, process: process, fence: fence))
      guard taken.array?.first?.string == "ok" else { return standBy("another dashboard has taken this one's place in Redis") }
    default: return standBy("another dashboard has taken this one's place in Redis")
    }
    if let error = values[1].error { throw error }
    if let text = values[1].string, let known = Fences.read(text), known > fence {
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
