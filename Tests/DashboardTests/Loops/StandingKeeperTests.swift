// Which dashboard writes, with a real Redis.
import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Dashboard

@Suite struct StandingKeeperTests {
  /// Runs a process of this store's dashboard until the body has ended.
  private func run(_ parts: LoopParts, _ body: (Standing) async throws -> Void) async throws {
    let standing = Standing()
    let keeper = parts.keeper(standing)
    let running = Task { try await keeper.run() }
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body(standing)) } catch { outcome = .failure(error) }
    running.cancel()
    try await running.value
    try outcome.get()
  }

  private func standsBy(_ standing: Standing, _ words: String) -> Bool {
    if case .standby(let reason) = standing.state { reason.contains(words) } else { false }
  }

  /// Rule `oneWrites`.
  @Test func aPlaceThatAnotherStoresDashboardHadIsNotTakenUnasked() async throws {
    try await withLoopParts { (parts: LoopParts) async throws -> Void in
      let (server, other) = (parts.server, Nonce(7))
      try await server.ask("SET", Keys.dashboard, "\(other):\(Nonce(8)):3")
      try await run(parts) { standing in
        try await eventually("it stands by", within: .seconds(60)) { standsBy(standing, "(store \(other)) writes") }
        // It was cut off for longer than its lease, or Redis was flushed.
        try await server.ask("FLUSHALL")
        try await eventually("it looks again", within: .seconds(60)) {
          if standing.fence != nil { throw TestFailure("it took the other's place") }
          return standsBy(standing, "may come back; to have this one write, stop the other and restart this one")
        }
        #expect(try await server.ask("GET", Keys.dashboard).isNull)
        #expect(parts.health.warnings.contains { $0.contains("may come back") })
      }
      // An operator restarts it: that is asking.
      try await run(parts) { standing in
        try await eventually("it takes the place", within: .seconds(60)) { standing.fence != nil }
        #expect(try await server.ask("GET", Keys.dashboard).string?.hasPrefix("\(parts.identity.id):") ?? false)
        // Nobody else holds it: it is its own again at once.
        try await server.ask("FLUSHALL")
        try await eventually("it takes it again", within: .seconds(60)) { !(try await server.ask("GET", Keys.dashboard).isNull) }
        #expect(standing.fence != nil)
      }
    }
  }

  @Test func aFullRedisKeepsNobodyFromThePlaceAndIsSaidToBeFull() async throws {
    try await withLoopParts { (parts: LoopParts) async throws -> Void in
      let server = parts.server
      try await server.ask("CONFIG", "SET", "maxmemory", 1)
      try await run(parts) { standing in
        try await eventually("it writes", within: .seconds(60)) { standing.fence != nil }
        try await eventually("it says that Redis is full", within: .seconds(60)) {
          parts.health.reason(.redis)?.contains("OOM") ?? false
        }
        // The lease ran out while it was cut off.
        try await server.ask("DEL", Keys.dashboard)
        try await eventually("it takes it again", within: .seconds(60)) { !(try await server.ask("GET", Keys.dashboard).isNull) }
        try await server.ask("CONFIG", "SET", "maxmemory", 0)
        try await eventually("it says that there is room", within: .seconds(60)) { parts.health.reason(.redis) == nil }
        #expect(standing.fence != nil)
      }
    }
  }

  @Test func aFenceThatNoDashboardHadIsWrittenOver() async throws {
    try await withLoopParts { (parts: LoopParts) async throws -> Void in
      let server = parts.server
      for garbage in ["9223372036854775807", "x"] {
        try await server.ask("SET", Keys.fenceOfAll, garbage)
        try await run(parts) { standing in
          try await eventually("it writes", within: .seconds(60)) { standing.fence != nil }
          let fence = try #require(standing.fence)
          #expect(fence < 10)
          #expect(try await server.ask("GET", Keys.fenceOfAll).string == "\(fence)")
          // Also when it comes later.
          try await server.ask("SET", Keys.fenceOfAll, garbage)
          try await eventually("it is written over", within: .seconds(60)) {
            try await server.ask("GET", Keys.fenceOfAll).string == "\(fence)"
          }
          #expect(standing.fence == fence)
        }
      }
      // The last one that there is may be somebody's.
      try await server.ask("SET", Keys.fenceOfAll, Fences.all.upperBound - 1)
      try await run(parts) { standing in
        try await eventually("it stands by", within: .seconds(60)) { standsBy(standing, "there is no fence above 2097151") }
      }
    }
  }
}
