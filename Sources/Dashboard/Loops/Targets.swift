// Who is known (API.md, "Who is known"): an agent whose hello the store holds, one in `muster:agents`, or a member of any project, also one put
// there by hand. A project's members are what Redis says within 250 ms, else what the store last knew. An agent that has not been heard since Redis
// may have lost what it held is a member of what it was a member of: the sets fill again agent by agent, and "patch all of web" must not
// silently leave out a host that is slow or away.
// What if: Redis answers with an error (it loads, is busy, its master is away, a right is missing): that tells as little as no answer, and
// nothing is remembered of it. Only what is wrong with one key counts as "nobody there".
import Redis
import Shared
import Synchronization

final class Targets: Sendable {
  private let store: Store
  private let link: RedisLink
  private let fleet: Fleet
  private let standing: Standing
  private let known = Mutex<Set<AgentID>>([])
  private static let patience: Duration = .milliseconds(250)

  init(store: Store, link: RedisLink, fleet: Fleet, standing: Standing) {
    self.store = store
    self.link = link
    self.fleet = fleet
    self.standing = standing
  }

  /// An agent of that name. Throws `TargetFault`.
  func agent(_ name: String) async throws -> AgentID {
    let agent = AgentID(name)
    if known.withLock({ $0.contains(agent) }) { return agent }
    switch try await store.read({ db in try TargetQueries.standing(db, name) }) {
    case .removed: throw TargetFault.unknown(name)
    case .heard: return remember(agent)
    case .unheard: break
    }
    do {
      if !(try await answers(to: [RedisCommand("ZSCORE", Keys.agents, name)])[0].isNull) { return remember(agent) }
      if try await isMemberOfAnything(name) { return agent }
    } catch is RedisError { throw TargetFault.redisAway(name) }
    throw TargetFault.unknown(name)
  }

  /// A project's members, in order of their names. Throws `TargetFault`.
  func project(_ name: String) async throws -> [AgentID] {
    let fromRedis: [String]?
    do {
      let answers = try await answers(
        to: [RedisCommand("SMEMBERS", Keys.project(name)), RedisCommand("EXISTS", Keys.dashboard)],
        // Another type than a set is an agent's plain hash or somebody else's key.
        butFor: .wrongType)
      // Our own lease is gone: Redis has just come back empty, and nobody has noticed yet.
      if standing.fence != nil, answers[1].integer == 0 { fleet.redisWasLost() }
      fromRedis = answers[0].array?.compactMap(\.string) ?? []
    } catch is RedisError { fromRedis = nil }
    let (stored, removed) = try await store.read { db in (try TargetQueries.members(db, of: name), try TargetQueries.removed(db))
    }
    let names = fromRedis.map { Array(Set($0).union(stored.filter { fleet.isGathering(AgentID($0)) })) } ?? stored
    let members = names.filter { nameFault($0) == nil && !removed.contains($0) }.sorted().map { AgentID($0) }
    guard members.isEmpty else { return members }
    throw fromRedis == nil ? TargetFault.redisAway(name) : TargetFault.unknown(name)
  }

  /// An agent, or a project of that name. Throws `TargetFault`.
  func either(_ name: String) async throws -> Target {
    if known.withLock({ $0.contains(AgentID(name)) }) { return .agent(AgentID(name)) }
    do { return .project(name, members: try await project(name)) } catch let fault as TargetFault {
      do { return .agent(try await agent(name)) } catch TargetFault.unknown { throw fault }
    }
  }

  /// It was removed.
  func forget(_ agent: AgentID) { _ = known.withLock { $0.remove(agent) } }

  private func remember(_ agent: AgentID) -> AgentID {
    _ = known.withLock { $0.insert(agent) }
    return agent
  }

  /// Some set that is no key of Muster's own holds the name.
  private func isMemberOfAnything(_ name: String) async throws -> Bool {
    for server in link.commands.servers() where try await isMember(name, ofAnythingOn: server) { return true }
    return false
  }

  private func isMember(_ name: String, ofAnythingOn server: RedisConnection) async throws -> Bool {
    var cursor = "0"
    repeat {
      let from = cursor
      let page = try await ask { try await server.pipeline([RedisCommand("SCAN", from, "COUNT", 1000, "TYPE", "set")]) }[0]
      if let error = page.error { throw RedisError.reply(error) }
      guard let parts = page.array, parts.count == 2, let next = parts[0].string else { return false }
      cursor = next
      let keys = (parts[1].array ?? []).compactMap(\.bytes).filter { !$0.starts(with: "muster:".utf8) }
      guard !keys.isEmpty else { continue }
      // One that is no set any more has no members.
      let answers = try await answers(to: keys.map { RedisCommand("SISMEMBER", $0, name) }, butFor: .wrongType)
      if answers.contains(where: { $0.integer == 1 }) { return true }
    } while cursor != "0"
    return false
  }

  /// - Parameter expected: an error that is about a key and stays among the answers; any other one is thrown.
  private func answers(to commands: [RedisCommand], butFor expected: RedisReplyError.Code? = nil) async throws -> [RedisValue] {
    let link = link
    let answers = try await ask { try await link.commands.pipeline(commands) }
    for case .error(let error) in answers where error.code != expected { throw RedisError.reply(error) }
    return answers
  }

  /// Waits no longer than `patience`, whatever Redis is doing.
  private func ask(_ question: @escaping @Sendable () async throws -> [RedisValue]) async throws -> [RedisValue] {
    try await withThrowingTaskGroup(of: [RedisValue].self) { group in
      group.addTask { try await question() }
      group.addTask {
        // The limit of the question beside it, which cancels this when it is answered.
        try await Task.sleep(for: Self.patience)
        throw RedisError.outcomeUnknown(.timedOut(operation: "asking Redis who is known", after: Self.patience))
      }
      defer { group.cancelAll() }
      guard let first = try await group.next() else { return [] }
      return first
    }
  }
}
