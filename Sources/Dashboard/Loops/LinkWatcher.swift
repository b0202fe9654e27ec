// Follows the state of the command connection: says in `health` that Redis is away, and lets silence count anew when it is back.
import Logging
import Redis
import ServiceLifecycle
import Shared

struct LinkWatcher: Service {
  let link: RedisLink
  let health: HealthBoard
  let fleet: Fleet
  let logger: Logger

  func run() async throws {
    await cancelWhenGracefulShutdown {
      var isAway = false
      var epoch = 0
      for await state in link.commands.states() {
        switch state {
        case .connected(let now):
          // Also without having been away: another server may have taken over.
          if isAway || (epoch != 0 && now != epoch) { fleet.redisWasLost() }
          if isAway { logger.notice("Redis is back", metadata: ["where": "\(link.commands.whereabouts)"]) }
          isAway = false
          epoch = now
          health.set(.redis, nil)
        case .connecting: break
        case .down(let fault, _), .closed(let fault):
          fleet.contact(false)
          if !isAway { logger.warning("Redis is away: tasks are accepted and wait in the store", metadata: ["why": "\(fault)"]) }
          isAway = true
          health.set(.redis, "Redis is away (\(fault)): tasks are accepted and wait in the store")
        }
      }
    }
  }
}
