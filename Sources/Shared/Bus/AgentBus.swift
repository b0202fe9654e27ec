// The agent's calls to Redis as typed commands; scripts and keys stand in `Scripts` and `Keys`. Commands are values, so that a loop can
// put several into one pipeline; what a reply means is told by the functions beside them.
import Redis

public enum AgentBus {
  // MARK: Lease and registration

  public enum LeaseReply: Sendable, Equatable {
    /// It is the agent's; what stood there before ('' for nothing).
    case taken(previous: String)
    /// Another journal holds it.
    case held([UInt8])
    /// This position has to be checked against the journal first.
    case position(String)
    case unreadable
  }

  /// - Parameter checked: the position that the agent has checked; '' for none.
  public static func takeLease(_ agent: AgentID, journal: JournalID, lease: [UInt8], checked: String) -> RedisCommand {
    Scripts.takeLease.call(
      keys: [Keys.lease(agent), Keys.journal(agent), Keys.fenced(agent)],
      [journal.description, lease, BusLimits.leaseMilliseconds, checked])
  }

  public static func leaseReply(_ value: RedisValue) -> LeaseReply {
    guard let parts = value.array, parts.count == 2, let word = parts[0].string, let rest = parts[1].bytes else {
      return .unreadable
    }
    switch word {
    case "ok": return .taken(previous: String(decoding: rest, as: UTF8.self))
    case "held": return .held(rest)
    case "position": return .position(String(decoding: rest, as: UTF8.self))
    default: return .unreadable
    }
  }

  public static func renewLease(_ agent: AgentID, _ address: AgentAddress, lease: [UInt8]) -> RedisCommand {
    Scripts.renewLease.call(keys: [Keys.lease(agent)], [address.description, lease, BusLimits.leaseMilliseconds])
  }

  public static func dropLease(_ agent: AgentID, _ address: AgentAddress) -> RedisCommand {
    Scripts.dropLease.call(keys: [Keys.lease(agent)], [address.description])
  }

  public static func lease(_ agent: AgentID) -> RedisCommand { RedisCommand("GET", Keys.lease(agent)) }
  public static func info(_ agent: AgentID, _ hello: [UInt8]) -> RedisCommand { RedisCommand("SET", Keys.info(agent), hello) }
  public static func join(_ agent: AgentID, project: String) -> RedisCommand {
    RedisCommand("SADD", Keys.project(project), agent.text)
  }
  public static func leave(_ agent: AgentID, project: String) -> RedisCommand {
    RedisCommand("SREM", Keys.project(project), agent.text)
  }
  /// Says that the agent is there. Answers Redis's clock, milliseconds since 1970.
  /// - Parameter whenFull: also where Redis has no room; the other form tells that by its error.
  public static func presence(_ agent: AgentID, whenFull: Bool = false) -> RedisCommand {
    (whenFull ? Scripts.presenceWhenFull : Scripts.presence).call(keys: [Keys.agents], [agent.text])
  }
  /// How far Redis's clock is ahead of the clock for deadlines, milliseconds. Null while no dashboard has said it.
  public static let clock = RedisCommand("GET", Keys.clock)
  /// What kind of value an agent's plain key is: a set would be a project's.
  public static func kindOfPlainKey(_ agent: AgentID) -> RedisCommand { RedisCommand("TYPE", Keys.plain(agent)) }
  /// Null unless an agent has that name.
  public static func agentNamed(_ name: String) -> RedisCommand { RedisCommand("ZSCORE", Keys.agents, name) }

  // MARK: Inbox and control

  public static func inbox(_ agent: AgentID) -> RedisCommand { RedisCommand("HGETALL", Keys.inbox(agent)) }

  /// Field and value of each entry of an `inbox` reply.
  public static func entries(_ value: RedisValue) -> [(id: [UInt8], entry: [UInt8])] {
    guard let flat = value.array else { return [] }
    var entries: [(id: [UInt8], entry: [UInt8])] = []
    for index in stride(from: 0, to: flat.count - 1, by: 2) {
      if let id = flat[index].bytes, let entry = flat[index + 1].bytes { entries.append((id, entry)) }
    }
    return entries
  }

  /// Waits for a control message; for `RedisConnection.blocking`.
  public static func awaitControl(_ agent: AgentID, seconds: Double) -> RedisCommand {
    RedisCommand("BLPOP", Keys.control(agent), seconds)
  }
  public static func moreControl(_ agent: AgentID, limit: Int) -> RedisCommand {
    RedisCommand("LPOP", Keys.control(agent), limit)
  }

  public static func confirm(_ agent: AgentID, _ address: AgentAddress, _ position: JournalPosition, _ ids: [AttemptID])
    -> RedisCommand
  {
    Scripts.confirm.call(
      keys: [Keys.lease(agent), Keys.fenced(agent), Keys.inbox(agent), Keys.journal(agent)],
      [address.description, position.journal.description, position.count, position.nonce.description]
        + ids.map { $0.description as any RedisArgument })
  }

  /// 1 where the plain key is there at all.
  public static func plainExists(_ agent: AgentID) -> RedisCommand { RedisCommand("EXISTS", Keys.plain(agent)) }

  public static func movePlain(_ agent: AgentID, _ address: AgentAddress, ids: [ULID]) -> RedisCommand {
    Scripts.movePlain.call(
      keys: [Keys.plain(agent), Keys.inbox(agent), Keys.lease(agent)],
      [address.description, BusLimits.inboxFull] + ids.map { $0.description as any RedisArgument })
  }

  /// True for an error reply that says that the lease is not this incarnation's.
  public static func isLeaseGone(_ error: RedisReplyError) -> Bool { error.message.hasPrefix("NOLEASE") }
  /// True for an error reply that says that this journal was removed.
  public static func isRemoved(_ error: RedisReplyError) -> Bool { error.message.hasPrefix("REMOVED") }

  // MARK: Reports, output, results

  public static func acked(_ agent: AgentID) -> RedisCommand { RedisCommand("GET", Keys.acked(agent)) }
  /// Null while no dashboard writes.
  public static let dashboard = RedisCommand("GET", Keys.dashboard)

  /// Answers the stream's length, or -1 when it is full and nothing was appended.
  public static func report(shard: Int, _ messages: [[UInt8]]) -> RedisCommand {
    append(Keys.verdicts(shard), BusLimits.verdictStreamLength, messages)
  }
  public static func output(shard: Int, _ messages: [[UInt8]]) -> RedisCommand {
    append(Keys.output(shard), BusLimits.outputStreamLength, messages)
  }

  private static func append(_ stream: String, _ limit: Int, _ messages: [[UInt8]]) -> RedisCommand {
    var command = Scripts.append.call(keys: [stream], [limit])
    for message in messages { command.append(message) }
    return command
  }

  /// What a result hash says (API.md, "By redis-cli alone").
  public struct Result: Sendable {
    public var agent: AgentID
    public var task: ULID
    public var taskname: [UInt8]
    public var log: [UInt8]
    public var state: RunState
    /// 128 + n for signal n; nil without one.
    public var exit: Int?
    public init(agent: AgentID, task: ULID, taskname: [UInt8], log: [UInt8], state: RunState, exit: Int?) {
      self.agent = agent
      self.task = task
      self.taskname = taskname
      self.log = log
      self.state = state
      self.exit = exit
    }
  }

  /// - Parameter key: the run's `auuid`, or its alias.
  public static func result(_ key: [UInt8], _ result: Result) -> RedisCommand {
    var command = Scripts.result.call(
      keys: [Keys.result(key)],
      [
        BusLimits.resultSeconds, result.task.description, "uuid", result.agent.text, "taskname", result.taskname, "log",
        result.log,
        "state", result.state.rawValue,
      ])
    if let exit = result.exit {
      command.append("exit")
      command.append(exit)
    }
    return command
  }
}
