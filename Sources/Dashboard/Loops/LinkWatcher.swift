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
      for await state in link.commands.states() {
        switch state {
        case .connected:
          if isAway {
            fleet.redisWasLost()
            logger.notice("Redis is back")
          }
          isAway = false
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
