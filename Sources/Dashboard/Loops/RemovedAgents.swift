// Agents that an operator removed. Their journals are fenced: first in Redis, where they get no lease and confirm nothing, then in the store,
// which refuses what they report. A Redis that was lost gets the fences again before any report is taken.
// What if: Redis is away: nothing is changed; one agent's keys cannot be used (`Refusals`): the others' fences stand, its own is tried again every
// second; killed between fence and store: the agent is fenced and its runs are `unknown`; removing it again
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
    var closed: [(task: ULID, state: RunState)]
  }

  private struct Guarded {
    var fenced: [AgentID: [JournalID]]
    /// The fences are known to stand in Redis since; nil: not yet.
    var standSince: SuspendingClock.Instant?
    /// All but these.
    var lacking: Set<AgentID> = []
  }
  private let store: Store
  private let link: RedisLink
  private let fleet: Fleet
  private let desks: Desks
  private let standing: Standing
  private let sender: Sender
  private let refusals: Refusals
  private let logger: Logger
  /// Told after the commit, with the runs that it ended.
  private let gone: @Sendable (AgentID, [(task: ULID, state: RunState)]) -> Void
  private let guarded: Mutex<Guarded>

  /// - Parameter fenced: what the store holds (`FlowRemoval.fenced`).
  init(
    fenced: [AgentID: [JournalID]], store: Store, link: RedisLink, fleet: Fleet, desks: Desks, standing: Standing, sender: Sender,
    refusals: Refusals, logger: Logger, gone: @escaping @Sendable (AgentID, [(task: ULID, state: RunState)]) -> Void
  ) {
    self.store = store
    self.link = link
    self.fleet = fleet
    self.desks = desks
    self.standing = standing
    self.sender = sender
    self.refusals = refusals
    self.logger = logger
    self.gone = gone
    guarded = Mutex(Guarded(fenced: fenced))
  }

  // MARK: Fences

  /// Writes the fences into Redis, unless they are known to stand there.
  /// - Parameter andLacking: those as well that could not be written before.
  func standAgain(_ fence: Fence, andLacking: Bool = false) async throws {
    let lost = fleet.redisLostAt
    let missing: [AgentID: [JournalID]]? = guarded.withLock { guarded in
      guard let since = guarded.standSince, lost < since else { return guarded.fenced }
      guard andLacking, !guarded.lacking.isEmpty else { return nil }
      return guarded.fenced.filter { guarded.lacking.contains($0.key) }
    }
    guard let missing else { return }
    let began = SuspendingClock.now
    let list = Array(missing)
    let numbers = try await store.read { db in try list.map { try AgentRow.number(db, $0.key) } }
    let commands = zip(list, numbers).map {
      (agent: $0.key, command: DashboardBus.fenceJournals($0.key, fence: fence, number: $1, $0.value))
    }
    var written: Set<AgentID> = []
    for part in commands.chunks(of: 500) {
      for (call, reply) in zip(part, try await refusals.answers(part)) where reply != nil { written.insert(call.agent) }
    }
    guarded.withLock { guarded in
      guarded.standSince = max(guarded.standSince ?? began, began)
      guarded.lacking.formUnion(missing.keys)
      guarded.lacking.subtract(written)
    }
    if !written.isEmpty {
      logger.info("the fences of removed agents stand in Redis again", metadata: ["agents": "\(written.count)"])
    }
  }

  // MARK: Removing

  /// Removes an agent. Nil where there is none.
  /// - Parameter who: the operator's address, for the log and the runs' notes.
  /// - Throws: `RemovalFault` where Redis did not do it: then nothing is changed, or removing it again finishes it.
  func remove(_ name: String, by who: String) async throws -> Removal? {
    let agent = AgentID(name)
    // Those of a former removal as well: Redis may have lost them since.
    let (found, journals) = try await store.read { db in
      let former = try FlowRemoval.fenced(db)[agent] ?? []
      return (try AgentQueries.find(db, agent), former + (try FlowRemoval.journal(db, agent).map { [$0] } ?? []))
    }
    guard let found else { return nil }
    let presence = fleet.presence(of: agent)
    let fenced: [JournalID]
    do { fenced = try await takeAway(agent, found.projects, journals) } catch let error as RedisError {
      throw RemovalFault("\(error)")
    } catch let error as RedisReplyError { throw RemovalFault("Redis answered: \(error)") }
    let now = WallTime.now().milliseconds
    let closed = try await store.write { try FlowRemoval.remove($0, agent, journals: fenced, by: who, now: now) }
    guarded.withLock { guarded in
      guarded.fenced[agent] = fenced
      guarded.lacking.remove(agent)
    }
    desks.forget(agent)
    fleet.forget(agent)
    gone(agent, closed)
    logger.notice(
      "an agent was removed: its journal is fenced, its open runs are ended",
      metadata: [
        "agent": "\(agent)", "by": "\(who)", "runs": "\(closed.count)",
        "journals": "\(fenced.map(\.description).joined(separator: " "))",
      ])
    return Removal(agent: found, presence: presence, closed: closed)
  }

  /// In Redis: fences its journals and takes its keys away. Returns all of its journals that are fenced.
  private func takeAway(_ agent: AgentID, _ projects: [String], _ journals: [JournalID]) async throws -> [JournalID] {
    guard let fence = standing.fence else { throw RemovalFault("this dashboard does not write now") }
    // Rule `asks`: the numbers are compared first, and the removal raises them.
    try await sender.compare([agent], fence)
    guard desks.desk(agent).compared else { throw RemovalFault(refusals.reason(agent) ?? "its send numbers cannot be compared") }
    let number = try await store.read { try AgentRow.number($0, agent) }
    let removal = try DashboardBus.removeAgent(agent, fence: fence, number: number, journals)
    guard let reply = try await refusals.answers([(agent, removal)])[0] else {
      throw RemovalFault(refusals.reason(agent) ?? "its keys cannot be taken away")
    }
    // What is left of these tells nobody anything but its name.
    let entries =
      [RedisCommand("ZREM", Keys.agents, agent.text)] + projects.map { RedisCommand("SREM", Keys.project($0), agent.text) }
    for outcome in await link.commands.outcomes(of: entries) {
      let why: String? =
        switch outcome {
        case .success(let value): value.error?.description
        case .failure(let error): error.description
        }
      guard let why else { continue }
      logger.warning("an entry of a removed agent was left in Redis", metadata: ["agent": "\(agent)", "why": "\(why)"])
    }
    return (reply.array ?? []).compactMap { $0.string.flatMap { Nonce($0) } }
  }
}

/// Why an agent was not removed: Redis did not do it.
struct RemovalFault: Error, Equatable, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
