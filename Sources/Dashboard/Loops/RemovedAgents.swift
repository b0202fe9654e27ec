// Agents that an operator removed. Their journals are fenced: first in Redis, where they get no lease and confirm nothing, then in the store,
// which refuses what they report. A Redis that was lost gets the fences again before any report is taken.
// What if: Redis is away: nothing is changed; killed between fence and store: the agent is fenced and its runs are `unknown`; removing it again
// finishes it; an agent with another journal comes under the name: it is welcome (FlowReports).
import Logging
import Redis
import Shared
import Synchronization

final class RemovedAgents: Sendable {
  /// What a removal did.
  struct Removal: Sendable {
    /// As it was.
    var agent: AgentRecord
    var presence: Presence
    var closed: [ULID]
  }

  private struct Guarded {
    var fenced: [AgentID: [JournalID]]
    /// The fences are known to stand in Redis since; nil: not yet.
    var standSince: SuspendingClock.Instant?
  }
  private let store: Store
  private let link: RedisLink
  private let fleet: Fleet
  private let desks: Desks
  private let standing: Standing
  private let sender: Sender
  private let logger: Logger
  /// Told after the commit, with the runs that it ended.
  private let gone: @Sendable (AgentID, [ULID]) -> Void
  private let guarded: Mutex<Guarded>

  /// - Parameter fenced: what the store holds (`FlowRemoval.fenced`).
  init(
    fenced: [AgentID: [JournalID]], store: Store, link: RedisLink, fleet: Fleet, desks: Desks, standing: Standing, sender: Sender,
    logger: Logger, gone: @escaping @Sendable (AgentID, [ULID]) -> Void
  ) {
    self.store = store
    self.link = link
    self.fleet = fleet
    self.desks = desks
    self.standing = standing
    self.sender = sender
    self.logger = logger
    self.gone = gone
    guarded = Mutex(Guarded(fenced: fenced))
  }

  // MARK: Fences

  /// Writes the fences into Redis, unless they are known to stand there.
  func standAgain(_ fence: Fence) async throws {
    let lost = fleet.redisLostAt
    let missing: [AgentID: [JournalID]]? = guarded.withLock { guarded in
      if let since = guarded.standSince, lost < since { return nil }
      return guarded.fenced
    }
    guard let missing else { return }
    let began = SuspendingClock.now
    let list = Array(missing)
    let numbers = try await store.read { db in try list.map { try AgentRow.number(db, $0.key) } }
    let commands = zip(list, numbers).map { DashboardBus.fenceJournals($0.key, fence: fence, number: $1, $0.value) }
    for part in commands.chunks(of: 500) {
      for reply in try await link.commands.pipeline(part) {
        guard let error = reply.error else { continue }
        sender.fenced(error)
        throw error
      }
    }
    guarded.withLock { $0.standSince = began }
    if !list.isEmpty { logger.info("the fences of removed agents stand in Redis again", metadata: ["agents": "\(list.count)"]) }
  }

  // MARK: Removing

  /// Removes an agent. Nil where there is none.
  /// - Parameter who: the operator's address, for the log and the runs' notes.
  /// - Throws: `RedisError` where Redis did not do it: then nothing is changed, or removing it again finishes it.
  func remove(_ name: String, by who: String) async throws -> Removal? {
    let agent = AgentID(name)
    let (found, journal) = try await store.read { db in
      (try AgentQueries.find(db, agent), try FlowRemoval.journal(db, agent))
    }
    guard let found else { return nil }
    let presence = fleet.presence(of: agent)
    guard let fence = standing.fence else { throw RedisError.notSent(.connecting) }
    // Rule `asks`: the numbers are compared first, and the removal raises them.
    try await sender.compare([agent], fence)
    let number = try await store.read { try AgentRow.number($0, agent) }
    let fenced = try await takeAway(agent, found.projects, fence, number, journal.map { [$0] } ?? [])
    let now = WallTime.now().milliseconds
    let closed = try await store.write { try FlowRemoval.remove($0, agent, journals: fenced, by: who, now: now) }
    guarded.withLock { $0.fenced[agent] = fenced }
    desks.forget(agent)
    fleet.forget(agent)
    gone(agent, closed)
    logger.notice(
      "an agent was removed: its journal is fenced, its open runs are lost",
      metadata: [
        "agent": "\(agent)", "by": "\(who)", "runs": "\(closed.count)",
        "journals": "\(fenced.map(\.description).joined(separator: " "))",
      ])
    return Removal(agent: found, presence: presence, closed: closed)
  }

  /// In Redis: fences its journals and takes its keys away. Returns all of its journals that are fenced.
  private func takeAway(
    _ agent: AgentID, _ projects: [String], _ fence: Fence, _ number: SendNumber, _ journals: [JournalID]
  ) async throws -> [JournalID] {
    var commands = [
      try DashboardBus.removeAgent(agent, fence: fence, number: number, journals), RedisCommand("ZREM", Keys.agents, agent.text),
    ]
    commands += projects.map { RedisCommand("SREM", Keys.project($0), agent.text) }
    let replies = try await link.commands.pipeline(commands)
    if let error = replies[0].error {
      sender.fenced(error)
      throw error
    }
    for error in replies.dropFirst().compactMap(\.error) {
      logger.warning("an entry of a removed agent was left in Redis", metadata: ["agent": "\(agent)", "why": "\(error)"])
    }
    return (replies[0].array ?? []).compactMap { $0.string.flatMap { Nonce($0) } }
  }
}
