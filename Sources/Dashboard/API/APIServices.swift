// Everything that the API needs from the rest of the dashboard, as values and closures: the composition root fills them from the loops,
// tests from a script. The API itself owns nothing that lives on.

import GRDB
import Shared

/// Whether an agent is there, as far as the loops know.
struct Presence: Sendable {
  var online = false
  /// Milliseconds since 1970; nil: ask the store.
  var lastSeenAt: Int64?
  var beat: Heartbeat?
}

/// Whom a task is posted to.
enum Target: Sendable, Equatable {
  case agent(AgentID)
  /// Never without members.
  case project(String, members: [AgentID])
}

/// Why a target cannot be told.
enum TargetFault: Error, Sendable, Equatable {
  /// Nobody of that name is known.
  case unknown(String)
  /// Only Redis could tell, and it does not answer.
  case redisAway(String)
}

/// Whether tasks are accepted now.
enum APIStanding: Sendable, Equatable {
  case accepting
  /// Another dashboard writes; the sentence says which.
  case standby(String)
  case draining
}

/// `GET /v1/health`.
struct HealthParts: Sendable, Equatable {
  /// `healthy`, or what is wrong.
  var store: String
  /// `connected`, or what is wrong: a warning only.
  var redis: String
  /// Which kind of Redis, and where: one server, a master by Sentinel, a Cluster.
  var redisServer = ""
  var warnings: [String]
  /// The store takes tasks. Whether this dashboard is the one to do so, `APIServices.standing` says.
  var canAccept: Bool
  var reports = ReportTally.Counts()
}

struct APIServices: Sendable {
  var store: Store
  var watch: RunWatch
  /// Its floor is `FreshTask.newest`.
  var ids: ULIDGenerator
  /// What deadlines are written by.
  var clock: DeadlineClock
  var version: String
  /// An agent of that name; throws `TargetFault`.
  var agent: @Sendable (String) async throws -> AgentID
  /// A project's members, never empty; throws `TargetFault`.
  var project: @Sendable (String) async throws -> [AgentID]
  /// An agent, or a project of that name; throws `TargetFault`.
  var either: @Sendable (String) async throws -> Target
  var presence: @Sendable (AgentID) -> Presence
  var online: @Sendable () -> Set<AgentID>
  /// Called in the accepting transaction, before the task is written: may set runs to `.sent` with their number. May be called again with
  /// the same runs under another id when the transaction is run again (`Store.write`), so what it remembers must be undone or kept apart
  /// until `accepted`.
  var admit: @Sendable (inout FreshTask, Database) throws -> Void
  /// Called after the commit, before the answer; must not block.
  var accepted: @Sendable (FreshTask) -> Void
  /// Called where that commit was told as failed: it may be done all the same. Must not block.
  var doubted: @Sendable ([AgentID], any Error) -> Void = { _, _ in }
  /// Called after the commit that asks for the end of these runs; must not block.
  var stopped: @Sendable ([RunID]) -> Void = { _ in }
  /// Removes an agent for the operator at an address; nil where there is none; throws `RedisError`.
  var remove: @Sendable (String, _ who: String) async throws -> RemovedAgents.Removal? = { _, _ in nil }
  var standing: @Sendable () -> APIStanding
  var health: @Sendable () -> HealthParts
  /// Output may come after the verdict: `?wait` and `?follow` wait for it so long.
  var outputGrace: Duration = .seconds(2)
  /// Told of errors that end in a 500 or cut a stream, with the request's target.
  var failed: @Sendable (any Error, String) -> Void = { _, _ in }
}
