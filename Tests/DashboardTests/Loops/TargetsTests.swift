// Who is known, with a real Redis: what it says, and what it does not say when it answers with an error.
import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Dashboard

@Suite struct TargetsTests {
  /// Why a server answers with errors although it is there.
  enum Refusal: CaseIterable {
    case masterIsAway, isBusy, mayNotRead, mayNotLook

    func begin(_ server: RedisServerProcess) async throws {
      switch self {
      case .masterIsAway:
        try await server.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
        try await server.ask("REPLICAOF", "127.0.0.1", 1)
      case .isBusy:
        try await server.ask("CONFIG", "SET", "busy-reply-threshold", 1)
        // Ends when it is killed.
        Task { try? await server.ask("EVAL", "while true do end", 0) }
        try await eventually("the script is at work") {
          do { try await server.ask("EXISTS", "a") } catch RedisError.reply(let error) { return error.code == .busy }
          return false
        }
      case .mayNotRead: try await server.ask("ACL", "SETUSER", "default", "-zscore", "-smembers")
      case .mayNotLook: try await server.ask("ACL", "SETUSER", "default", "-scan")
      }
    }

    func end(_ server: RedisServerProcess) async throws {
      switch self {
      case .masterIsAway: try await server.ask("REPLICAOF", "NO", "ONE")
      case .isBusy: try await server.ask("SCRIPT", "KILL")
      case .mayNotRead, .mayNotLook: try await server.ask("ACL", "SETUSER", "default", "+@all")
      }
    }
  }

  /// A fleet that heard these agents long after Redis was lost: what Redis holds of them is whole.
  private func targets(_ parts: LoopParts, _ members: [String]) async throws -> Targets {
    let fleet = Fleet(now: .now - .seconds(60))
    for name in members { fleet.spoke(AgentID(name), at: 0) }
    try await parts.store.write { db in
      for name in members {
        try db.execute(sql: "INSERT INTO agents (uuid, hello, created_at) VALUES (?, '{}', 0)", arguments: [name])
        try db.execute(sql: "INSERT INTO members (project, uuid) VALUES ('web', ?)", arguments: [name])
      }
    }
    return Targets(store: parts.store, link: parts.link, fleet: fleet, standing: Standing())
  }

  private func fault(_ ask: () async throws -> Void) async throws -> TargetFault? {
    do {
      try await ask()
      return nil
    } catch let fault as TargetFault { return fault }
  }

  @Test(arguments: Refusal.allCases)
  func anErrorMakesNobodyKnownAndNoProjectSmaller(_ refusal: Refusal) async throws {
    try await withLoopParts { (parts: LoopParts) async throws -> Void in
      let targets = try await targets(parts, ["w1", "w2"])
      try await parts.server.ask("SADD", "web", "w1", "w2")
      try await refusal.begin(parts.server)
      #expect(try await fault { _ = try await targets.agent("nobody") } == .redisAway("nobody"))
      #expect(try await fault { _ = try await targets.either("nobody") } == .redisAway("nobody"))
      #expect(try await targets.project("web").map(\.text) == ["w1", "w2"])
      try await refusal.end(parts.server)
      // Nothing was remembered. A slow machine may take longer than Redis is waited for.
      var said: TargetFault?
      try await eventually("nobody is known, but: \(String(describing: said))") {
        said = try await fault { _ = try await targets.agent("nobody") }
        return said == .unknown("nobody")
      }
    }
  }

  @Test func aKeyOfAnotherKindIsAnAnswer() async throws {
    try await withLoopParts { (parts: LoopParts) async throws -> Void in
      let targets = try await targets(parts, ["w1"])
      // A user's own, or an agent's commands.
      try await parts.server.ask("HSET", "web", "a", "true")
      var said: TargetFault?
      try await eventually("the project is unknown, but: \(String(describing: said))") {
        said = try await fault { _ = try await targets.project("web") }
        return said == .unknown("web")
      }
    }
  }
}
