// What the tests of single loops share: a real Redis, a real store, and what the composition root would make of them.
import Redis
import RedisTestSupport
import Shared

@testable import Dashboard

struct LoopParts {
  let server: RedisServerProcess
  let store: Store
  let identity: StoreIdentity
  let link: RedisLink
  let health = HealthBoard()
  let mood: RedisMood
  let log = LinesLog()

  fileprivate init(_ server: RedisServerProcess, _ store: Store) async throws {
    self.server = server
    self.store = store
    identity = try await store.write { try StoreIdentity.load($0) }
    link = RedisLink(server.configuration)
    mood = RedisMood(health: health, logger: log.logger)
    try await link.commands.connected(within: .seconds(20))
  }

  /// A dashboard's process, as far as its place goes.
  func keeper(_ standing: Standing) -> StandingKeeper {
    StandingKeeper(
      store: store, link: link, standing: standing, desks: Desks(), fleet: Fleet(), health: health, mood: mood,
      identity: identity,
      logger: log.logger)
  }
}

/// Runs a test with a Redis and a store of its own.
func withLoopParts(_ body: (LoopParts) async throws -> Void) async throws {
  let server = try await RedisServerProcess.start()
  try await withStore { store in
    let parts = try await LoopParts(server, store)
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body(parts)) } catch { outcome = .failure(error) }
    await parts.link.commands.close()
    try outcome.get()
  }
  try await server.stop()
}
