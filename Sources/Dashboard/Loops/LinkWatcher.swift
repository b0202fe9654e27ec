// Follows the state of the command connection: says in `health` that Redis is away, and lets silence count anew when it is back.
import Redis
import ServiceLifecycle
import Shared

struct LinkWatcher: Service {
  let link: RedisLink
  let health: HealthBoard
  let fleet: Fleet

  func run() async throws {
    await cancelWhenGracefulShutdown {
      for await state in link.commands.states() {
        switch state {
        case .connected: health.set(.redis, nil)
        case .connecting: break
        case .down(let fault, _), .closed(let fault):
          fleet.contact(false)
          health.set(.redis, "Redis is away (\(fault)): tasks are accepted and wait in the store")
        }
      }
    }
  }
}
