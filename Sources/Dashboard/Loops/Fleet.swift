// Who is there, in memory: fed by `PresenceWatcher` (heartbeats) and the collectors (hello, bye), read by the API and the sender.
// Absence is judged by our own monotonic clock: unbroken contact with Redis for `BusLimits.absence` without a changed heartbeat. Contact is
// unbroken while the looks at Redis follow each other within `breath`: one that stalled with everybody's heartbeats proves nobody's absence.
import Shared
import Synchronization

final class Fleet: Sendable {
  private struct Member {
    var presence = Presence()
    /// What `muster:agents` said last.
    var score: Double = -1
    var changedAt: SuspendingClock.Instant
    /// When it last gave a sign of life of its own; nil: not since this process began.
    var heardAt: SuspendingClock.Instant?
    /// Judged so: nothing was heard of it for `BusLimits.absence`.
    var isAbsent = false
    /// Absent, and its runs were looked at since.
    var isSettled = false

    mutating func isThere() {
      presence.online = true
      isAbsent = false
      isSettled = false
    }
  }
  private struct Guarded {
    var members: [AgentID: Member] = [:]
    var contactSince: SuspendingClock.Instant?
    var contactAt: SuspendingClock.Instant?
    /// What a former process saw of Redis nobody knows: a start counts as a loss.
    var redisLostAt: SuspendingClock.Instant
  }
  /// The longest pause between two looks that leaves contact unbroken.
  static let breath: Duration = .seconds(5)
  private let guarded: Mutex<Guarded>

  init(now: SuspendingClock.Instant = .now) { guarded = Mutex(Guarded(redisLostAt: now)) }

  func presence(of agent: AgentID) -> Presence { guarded.withLock { $0.members[agent]?.presence ?? Presence() } }
  func isOnline(_ agent: AgentID) -> Bool { guarded.withLock { $0.members[agent]?.presence.online ?? false } }
  func onlineAgents() -> Set<AgentID> {
    guarded.withLock { Set($0.members.lazy.filter { $0.value.presence.online }.map(\.key)) }
  }
  /// Every agent that was heard of.
  var count: Int { guarded.withLock { $0.members.count } }
  func onlineCount() -> Int { guarded.withLock { $0.members.values.reduce(0) { $0 + ($1.presence.online ? 1 : 0) } } }

  /// Redis was away or came back empty: agents write their registrations again, each at its own time.
  func redisWasLost(now: SuspendingClock.Instant = .now) { guarded.withLock { $0.redisLostAt = now } }

  /// Whether what Redis holds of this agent may be incomplete: it has not been heard since Redis may have lost its registration, or only just.
  func isGathering(_ agent: AgentID, now: SuspendingClock.Instant = .now) -> Bool {
    guarded.withLock {
      guard $0.redisLostAt.duration(to: now) >= BusLimits.gathering else { return true }
      guard let heard = $0.members[agent]?.heardAt else { return true }
      return heard < $0.redisLostAt
    }
  }

  /// Contact with Redis began (again) or was lost: silence counts from here.
  func contact(_ there: Bool, now: SuspendingClock.Instant = .now) {
    guarded.withLock {
      let isUnbroken = $0.contactAt.map { $0.duration(to: now) <= Self.breath } ?? false
      $0.contactAt = there ? now : nil
      if !there { $0.contactSince = nil } else if $0.contactSince == nil || !isUnbroken { $0.contactSince = now }
    }
  }

  /// Agents that may have runs out, whether or not Redis knows of them: their silence counts from the first contact.
  func expect(_ agents: some Collection<AgentID>, now: SuspendingClock.Instant = .now) {
    guarded.withLock { for agent in agents where $0.members[agent] == nil { $0.members[agent] = Member(changedAt: now) } }
  }

  /// Agents that were judged absent, and whose runs nobody has looked at since; to be told by `settle` once that is done.
  func lapsed() -> [AgentID] { guarded.withLock { $0.members.filter { $0.value.isAbsent && !$0.value.isSettled }.map(\.key) } }

  /// The runs of an absent agent were looked at: nothing about them changes until it speaks.
  func settle(_ agent: AgentID) {
    guarded.withLock { if $0.members[agent]?.isAbsent == true { $0.members[agent]?.isSettled = true } }
  }
  /// Something may have been marked as sent to it since.
  func unsettle(_ agent: AgentID) { guarded.withLock { $0.members[agent]?.isSettled = false } }

  /// It was removed.
  func forget(_ agent: AgentID) { guarded.withLock { $0.members[agent] = nil } }

  /// When Redis was lost last.
  var redisLostAt: SuspendingClock.Instant { guarded.withLock { $0.redisLostAt } }

  /// The agent spoke in a stream, and is known to be there or holds its lease: a stream also holds what was said long ago. Returns true when it was
  /// not online before.
  @discardableResult
  func spoke(_ agent: AgentID, at wall: Int64, now: SuspendingClock.Instant = .now) -> Bool {
    guarded.withLock {
      var member = $0.members[agent] ?? Member(changedAt: now)
      let came = !member.presence.online
      member.isThere()
      member.presence.lastSeenAt = max(member.presence.lastSeenAt ?? 0, wall)
      member.changedAt = now
      member.heardAt = now
      $0.members[agent] = member
      return came
    }
  }

  /// The agent said that it stops.
  func left(_ agent: AgentID) { guarded.withLock { $0.members[agent]?.presence.online = false } }

  /// Takes in what `muster:agents` holds: returns the agents whose heartbeat changed.
  func seen(_ scores: [(AgentID, Double)], now: SuspendingClock.Instant = .now) -> [AgentID] {
    guarded.withLock {
      var changed: [AgentID] = []
      for (agent, score) in scores {
        if var member = $0.members[agent] {
          guard member.score != score else { continue }
          // The first look after a start only tells what was; a change tells that somebody is there.
          let first = member.score < 0
          member.score = score
          member.presence.lastSeenAt = Int64(score)
          if !first { (member.changedAt, member.heardAt) = (now, now) }
          $0.members[agent] = member
        } else {
          var member = Member(changedAt: now)
          member.score = score
          member.presence.lastSeenAt = Int64(score)
          $0.members[agent] = member
        }
        changed.append(agent)
      }
      return changed
    }
  }

  /// An agent's lease as just read; nil: there is none. A lease that is there counts as presence: it runs out by itself after 15 s.
  func lease(_ agent: AgentID, _ lease: Lease?, now: SuspendingClock.Instant = .now) {
    guarded.withLock {
      guard var member = $0.members[agent] else { return }
      if let lease {
        if member.presence.beat != lease.beat { (member.changedAt, member.heardAt) = (now, now) }
        member.presence.beat = lease.beat
        member.isThere()
      }
      $0.members[agent] = member
    }
  }

  /// Judges who is absent by now; to be asked right after a look at Redis. Returns those that were online until now.
  func judgeAbsence(now: SuspendingClock.Instant = .now) -> [AgentID] {
    guarded.withLock {
      guard let since = $0.contactSince, since.duration(to: now) >= BusLimits.absence else { return [] }
      var gone: [AgentID] = []
      for (agent, member) in $0.members
      where !member.isAbsent && max(member.changedAt, since).duration(to: now) >= BusLimits.absence {
        if member.presence.online { gone.append(agent) }
        $0.members[agent]?.isAbsent = true
        $0.members[agent]?.presence.online = false
      }
      return gone
    }
  }
}
