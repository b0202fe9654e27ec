// What Redis's answers to calls about agents mean, and who has to wait because of them. Every agent may write its own keys, `muster:{<uuid>}:…`, and
// so may whoever has a redis-cli: what is wrong with them is that agent's matter, whoever else stands in the same pipeline. So each call is
// judged by itself:
//
//   a value                                   done
//   full, read-only, loading, no right, away  everybody's matter: `RedisMood`; thrown where nobody got a value
//   FENCED, and a newer dashboard is known    this one stands by
//   FENCED otherwise                          this agent waits; a fence that nobody wrote who could is taken back
//   any other error; its Cluster slot moves   this agent waits
//
// An agent that waits is told once in the log, and in `health` meanwhile; it is tried again by whoever tried. When adding a call about one agent,
// also: bring it through here.
// What if: a newer dashboard writes: it had raised `muster:fence` before it touched any agent, and writes it again every few seconds in case
// Redis forgets it; so an agent's fence is only taken back when that one has stayed below ours for longer.
import Logging
import Redis
import Shared
import Synchronization

final class Refusals: Sendable {
  /// What came of a call about one agent.
  enum Answer {
    case value(RedisValue)
    /// For `heed`, once the whole pipeline is judged.
    case fenced(RedisReplyError)
    /// This agent has to wait.
    case waits
    /// Everybody has to.
    case refused(any Error)
  }

  private struct Trouble {
    var met: SuspendingClock.Instant
    var why: String
    /// What stands as its fence, where that is the trouble, and since when that is known.
    var fence: (held: Fence, since: SuspendingClock.Instant)?
  }
  private let link: RedisLink
  private let standing: Standing
  private let desks: Desks
  private let mood: RedisMood
  private let health: HealthBoard
  private let logger: Logger
  private let troubles = Mutex<[AgentID: Trouble]>([:])

  /// It is over once it was not met for so long: longer than anybody waits before he tries again.
  static let quiet: Duration = .seconds(30)
  /// A dashboard that lives has renewed its lease and its fence by then.
  static let fencePatience: Duration = .milliseconds(BusLimits.dashboardLeaseMilliseconds + 5000)
  /// Agents that are told apart in the log.
  private static let mostTold = 20

  init(link: RedisLink, standing: Standing, desks: Desks, mood: RedisMood, health: HealthBoard, logger: Logger) {
    self.link = link
    self.standing = standing
    self.desks = desks
    self.mood = mood
    self.health = health
    self.logger = logger
  }

  // MARK: Calls

  /// One pipeline of calls, each about one agent. Nil where that agent has to wait.
  /// - Throws: where nobody got a value and it is everybody's matter; when a newer dashboard writes.
  func answers(_ calls: [(agent: AgentID, command: RedisCommand)]) async throws -> [RedisValue?] {
    let outcomes = await link.commands.outcomes(of: calls.map(\.command))
    var fenced: [AgentID: RedisReplyError] = [:]
    var failure: (any Error)?
    var values: [RedisValue?] = []
    for (call, outcome) in zip(calls, outcomes) {
      var value: RedisValue?
      switch judge(call.agent, outcome) {
      case .value(let answer): value = answer
      case .fenced(let error): fenced[call.agent] = error
      case .waits: break
      case .refused(let error): failure = error
      }
      values.append(value)
    }
    try await heed(fenced)
    if let failure, !values.contains(where: { $0 != nil }) { throw failure }
    return values
  }

  func judge(_ agent: AgentID, _ outcome: Result<RedisValue, RedisError>) -> Answer {
    switch outcome {
    case .success(.error(let error)):
      if DashboardBus.isFenced(error) { return .fenced(error) }
      if error.isPassing || error.isRefusedRight {
        mood.refused(error)
        return .refused(error)
      }
      waits(agent, "\(error)")
      return .waits
    case .success(let value): return .value(value)
    case .failure(let error):
      guard case .unavailable(let reason)? = error.fault, RedisReplyError(message: reason).code == .tryAgain else {
        return .refused(error)
      }
      waits(agent, "\(error)")
      return .waits
    }
  }

  /// An error reply to what concerns no agent in particular.
  func met(_ error: RedisReplyError) { mood.refused(error) }

  // MARK: Agents that wait

  /// Told once, until it is over.
  func waits(_ agent: AgentID, _ why: String, now: SuspendingClock.Instant = .now) {
    let (isNew, count) = troubles.withLock { troubles in
      var trouble = troubles[agent] ?? Trouble(met: now, why: why)
      defer { troubles[agent] = trouble }
      (trouble.met, trouble.why) = (now, why)
      return (troubles[agent] == nil, troubles.count)
    }
    guard isNew else { return }
    if count < Self.mostTold {
      logger.warning(
        "an agent is left to wait: Redis refuses what is asked about its keys (muster:{uuid}:…); everybody else goes on",
        metadata: ["agent": "\(agent)", "why": "\(why)"])
    }
    show()
  }

  /// Why it waits; nil: it does not.
  func reason(_ agent: AgentID) -> String? { troubles.withLock { $0[agent]?.why } }

  /// Forgets what was not met for a while. Called every few seconds.
  func settle(now: SuspendingClock.Instant = .now) {
    let over = troubles.withLock { troubles in
      let over = troubles.filter { $0.value.met.duration(to: now) >= Self.quiet }.map(\.key)
      for agent in over { troubles[agent] = nil }
      return over
    }
    guard !over.isEmpty else { return }
    for agent in over.prefix(Self.mostTold) { logger.notice("an agent waits no longer", metadata: ["agent": "\(agent)"]) }
    show()
  }

  private func show() {
    let (count, first) = troubles.withLock { ($0.count, $0.min { $0.key < $1.key }) }
    let some = count == 1 ? "1 agent" : "\(count) agents"
    health.set(
      .agents,
      first.map { "\(some) left to wait: Redis refuses what is asked about its keys (\($0.key): \($0.value.why)); others go on" })
  }

  // MARK: Fences

  /// Scripts about these agents were refused by a higher fence than ours.
  /// - Throws: the refusal, when a newer dashboard writes: this one stands by then.
  func heed(_ fenced: [AgentID: RedisReplyError], now: SuspendingClock.Instant = .now) async throws {
    guard let refusal = fenced.values.first else { return }
    let outcomes = await link.commands.outcomes(of: [RedisCommand("GET", Keys.fenceOfAll), RedisCommand("GET", Keys.dashboard)])
    // Ours may have moved meanwhile; and what Redis does not say now is asked when it refuses again.
    guard let own = standing.fence, case .success(let ofAll) = outcomes[0], case .success(let dashboard) = outcomes[1],
      ofAll.error == nil, dashboard.error == nil
    else { return }
    let writing = dashboard.string?.split(separator: ":").last.flatMap { Fences.read($0) }
    let newest = max(ofAll.string.flatMap { Fences.read($0) } ?? 0, writing ?? 0)
    guard newest <= own else {
      standing.move(to: .standby("a newer dashboard writes to this Redis (its fence is \(newest), this one's \(own))"))
      throw refusal
    }
    for (agent, refusal) in fenced {
      // Not one from before our fence was taken.
      guard let held = DashboardBus.refusingFence(refusal), held > own else { continue }
      waits(agent, "its fence in Redis is \(held), above this dashboard's \(own), and no newer dashboard is there", now: now)
      // Compared again, it is heard and sent to again.
      desks.withDesk(agent) { $0.compared = false }
      if hasStood(agent, held, now) { await takeBack(agent, held, own) }
    }
  }

  /// Whether this fence has been the agent's for as long as a newer dashboard needs at most to say so.
  private func hasStood(_ agent: AgentID, _ held: Fence, _ now: SuspendingClock.Instant) -> Bool {
    troubles.withLock { troubles in
      guard let fence = troubles[agent]?.fence, fence.held == held else {
        troubles[agent]?.fence = (held, now)
        return false
      }
      return fence.since.duration(to: now) >= Self.fencePatience
    }
  }

  private func takeBack(_ agent: AgentID, _ held: Fence, _ own: Fence) async {
    let outcome = await link.commands.outcomes(of: [DashboardBus.lowerFence(agent, from: held, to: own)])[0]
    guard case .value(let done) = judge(agent, outcome), done.integer == 1 else { return }
    logger.warning(
      "an agent's fence in Redis was above every dashboard's: somebody wrote it by hand; it is taken back",
      metadata: ["agent": "\(agent)", "was": "\(held)", "is": "\(own)"])
  }
}
