// Follows the state of the command connection: says in `health` that Redis is away, and lets silence count anew when it is back.
import Redis
import ServiceLifecycle
import Shared

struct LinkWatcher: Service {
  let link: RedisLink
  let mood: RedisMood
  let fleet: Fleet

  func run() async throws {
    await cancelWhenGracefulShutdown {
      var isAway = false
      var epoch = 0
      for await state in link.commands.states() {
        switch state {
        case .connected(let now):
          // Also without having been away: another server may have taken over.
          if isAway || (epoch != 0 && now != epoch) { fleet.redisWasLost() }
          isAway = false
          epoch = now
          mood.connected(at: link.commands.whereabouts)
        case .connecting: break
        case .down(let fault, _), .closed(let fault):
          fleet.contact(false)
          isAway = true
          mood.lost(fault)
        }
      }
    }
  }
}
