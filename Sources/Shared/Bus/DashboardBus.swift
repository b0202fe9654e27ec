// The dashboard's calls to Redis as typed commands; scripts and keys stand in `Scripts` and `Keys`. Commands are values, so that a loop
// can put those for many agents into one pipeline.
import Redis

public enum DashboardBus {
  /// Result of one (id, envelope) pair of `send`.
  public enum Sent: Int64, Sendable {
    case added = 1
    case alreadyThere = 0
    case tombstoned = -1
  }

  private static let bell: [UInt8] = (try? ControlMessage(.bell).encoded()) ?? []

  public static func send(_ agent: AgentID, fence: Fence, number: SendNumber, _ entries: [(id: AttemptID, envelope: [UInt8])])
    -> RedisCommand
  {
    var command = Scripts.send.call(
      keys: [Keys.inbox(agent), Keys.tombs(agent), Keys.fence(agent), Keys.sends(agent), Keys.control(agent)],
      [fence, number.raw, bell])
    for entry in entries {
      command.append(entry.id.description)
      command.append(entry.envelope)
    }
    return command
  }

  /// Control messages kept before an agent; more are refused and repeated later.
  static let controlLength = 1000

  public static func control(_ agent: AgentID, fence: Fence, number: SendNumber, _ message: ControlMessage) throws -> RedisCommand
  {
    var message = message
    message.fence = fence
    message.number = number
    return Scripts.control.call(
      keys: [Keys.control(agent), Keys.fence(agent), Keys.sends(agent)],
      [fence, number.raw, controlLength, try message.encoded()])
  }

  /// Answers `causes(_:)` for each of them.
  public static func tombstones(
    _ agent: AgentID, fence: Fence, number: SendNumber, _ tombs: [(id: AttemptID, cause: EndCause)]
  ) -> RedisCommand {
    var command = Scripts.tombstone.call(
      keys: [Keys.tombs(agent), Keys.fence(agent), Keys.sends(agent)], [fence, number.raw, BusLimits.tombSeconds])
    for tomb in tombs {
      command.append(tomb.id.description)
      command.append(tomb.cause.rawValue)
    }
    return command
  }

  /// Answers how many of them were in the inbox.
  public static func withdraw(_ agent: AgentID, fence: Fence, _ ids: [AttemptID]) -> RedisCommand {
    Scripts.withdraw.call(
      keys: [Keys.inbox(agent), Keys.fence(agent)], [fence] + ids.map { $0.description as any RedisArgument })
  }

  /// As what each of them has ended, by the tombstone that stands; nil: the answer is not one for so many.
  public static func causes(_ reply: RedisValue, count: Int) -> [EndCause]? {
    let causes = reply.array?.compactMap { $0.string.flatMap(EndCause.init) }
    return causes?.count == count ? causes : nil
  }

  public static func fenceJournals(_ agent: AgentID, fence: Fence, number: SendNumber, _ journals: [JournalID]) -> RedisCommand {
    Scripts.fenceJournals.call(
      keys: [Keys.fenced(agent), Keys.fence(agent), Keys.sends(agent)],
      [fence, number.raw] + journals.map { $0.description as any RedisArgument })
  }

  /// Answers the texts of all journals of the agent that are fenced then.
  public static func removeAgent(_ agent: AgentID, fence: Fence, number: SendNumber, _ journals: [JournalID]) throws
    -> RedisCommand
  {
    let refresh = try ControlMessage(.refresh, fence: fence).encoded()
    return Scripts.removeAgent.call(
      keys: [
        Keys.fenced(agent), Keys.fence(agent), Keys.sends(agent), Keys.lease(agent), Keys.journal(agent), Keys.info(agent),
        Keys.inbox(agent), Keys.control(agent), Keys.acked(agent),
      ], [fence, number.raw, refresh] + journals.map { $0.description as any RedisArgument })
  }

  public static func compare(_ agent: AgentID, fence: Fence) -> RedisCommand {
    Scripts.compare.call(keys: [Keys.fence(agent), Keys.sends(agent)], [fence])
  }

  /// - Parameter held: the agent's fence, which is known to be no dashboard's.
  public static func lowerFence(_ agent: AgentID, from held: Fence, to fence: Fence) -> RedisCommand {
    Scripts.lowerFence.call(keys: [Keys.fence(agent)], [held, fence])
  }

  public static func acknowledge(_ agent: AgentID, fence: Fence, _ acknowledgement: Acknowledgement) -> RedisCommand {
    Scripts.acknowledge.call(
      keys: [Keys.acked(agent), Keys.fence(agent)],
      [fence, acknowledgement.incarnation.description, acknowledgement.reports, acknowledgement.output])
  }

  public static func takeDashboard(store: Nonce, process: Nonce, fence: Fence) -> RedisCommand {
    Scripts.takeDashboard.call(
      keys: [Keys.dashboard],
      [store.description, process.description, fence, BusLimits.dashboardLeaseMilliseconds])
  }

  public static func renewDashboard(store: Nonce, process: Nonce, fence: Fence) -> RedisCommand {
    Scripts.renewDashboard.call(keys: [Keys.dashboard], ["\(store):\(process):\(fence)", BusLimits.dashboardLeaseMilliseconds])
  }

  public static func dropDashboard(store: Nonce, process: Nonce, fence: Fence) -> RedisCommand {
    Scripts.dropDashboard.call(keys: [Keys.dashboard], ["\(store):\(process):\(fence)"])
  }

  /// - Parameter whenFull: also where Redis has no room; the other form tells that by its error.
  public static func raiseFence(to fence: Fence, whenFull: Bool = false) -> RedisCommand {
    (whenFull ? Scripts.raiseFenceWhenFull : Scripts.raiseFence).call(keys: [Keys.fenceOfAll], [fence])
  }

  /// Says how far Redis's clock is ahead of the clock for deadlines.
  public static func clock(ahead milliseconds: Int64) -> RedisCommand { RedisCommand("SET", Keys.clock, milliseconds) }

  /// True for an error reply that says that a newer dashboard writes here.
  public static func isFenced(_ error: RedisReplyError) -> Bool { error.message.hasPrefix("FENCED") }

  /// The agent's fence, by which a script refused.
  public static func refusingFence(_ error: RedisReplyError) -> Fence? {
    isFenced(error) ? error.message.split(separator: " ").dropFirst().first.flatMap { Fences.read($0) } : nil
  }
}
