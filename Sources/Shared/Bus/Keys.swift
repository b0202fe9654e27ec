// Every Redis key, each a function (DESIGN section 4 says who writes and who reads it). Keys with one hash tag share a cluster slot and may
// share a script. When adding a key, also: DESIGN's table in docs/ARCHITECTURE.md, and the ACL lines in the docs.

public enum Keys {
  // The seeds' plain keys.
  /// Set of uuids.
  public static func project(_ name: String) -> String { name }
  /// Hash: task name → command. Shares its slot with the agent's other keys (`<uuid>` and `{<uuid>}` hash alike).
  public static func plain(_ agent: AgentID) -> String { agent.text }
  /// Result hash of a run, or of the alias `<uuid><task name>`.
  public static func result(_ auuid: [UInt8]) -> [UInt8] { auuid }

  // An agent's own keys.
  public static func inbox(_ agent: AgentID) -> String { "muster:{\(agent.text)}:inbox" }
  public static func control(_ agent: AgentID) -> String { "muster:{\(agent.text)}:control" }
  public static func lease(_ agent: AgentID) -> String { "muster:{\(agent.text)}:lease" }
  public static func journal(_ agent: AgentID) -> String { "muster:{\(agent.text)}:journal" }
  public static func tombs(_ agent: AgentID) -> String { "muster:{\(agent.text)}:tombs" }
  public static func fenced(_ agent: AgentID) -> String { "muster:{\(agent.text)}:fenced" }
  public static func info(_ agent: AgentID) -> String { "muster:{\(agent.text)}:info" }
  public static func acked(_ agent: AgentID) -> String { "muster:{\(agent.text)}:acked" }
  public static func fence(_ agent: AgentID) -> String { "muster:{\(agent.text)}:fence" }
  public static func sends(_ agent: AgentID) -> String { "muster:{\(agent.text)}:sends" }

  // Everybody's.
  public static let agents = "muster:agents"
  public static let dashboard = "muster:dashboard"
  public static let fenceOfAll = "muster:fence"
  /// How far Redis's clock is ahead of the clock for deadlines, milliseconds: written by the dashboard, read by agents.
  public static let clock = "muster:clock"
  public static func verdicts(_ shard: Int) -> String { "muster:verdicts:\(shard)" }
  public static func output(_ shard: Int) -> String { "muster:output:\(shard)" }

  /// Streams of each kind; the same number in every program of this protocol version (docs/decisions/0007).
  public static let shards = 4
  /// An agent always uses one shard: FNV-1a of its name, modulo the number of shards.
  public static func shard(_ agent: AgentID, of shards: Int = Keys.shards) -> Int {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in agent.text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return Int(hash % UInt64(max(1, shards)))
  }
}

/// Times and sizes that both programs must agree on.
public enum BusLimits {
  /// A lease runs out after this without a heartbeat, milliseconds.
  public static let leaseMilliseconds = 15_000
  public static let heartbeat: Duration = .seconds(5)
  /// Unbroken contact with Redis without a changed heartbeat, before an agent counts as absent.
  public static let absence: Duration = .seconds(15)
  /// After a loss of Redis, before what it holds of the fleet is taken for complete: an agent's longest pause between attempts to reconnect,
  /// its heartbeat, and some.
  public static let gathering: Duration = .seconds(20)
  public static let dashboardLeaseMilliseconds = 15_000
  public static let resultSeconds = 7 * 86_400
  public static let tombSeconds = 30 * 86_400
  /// Bytes of log in a result hash.
  public static let resultLog = 128 * 1024
  /// An agent is sent its free slots and so many more.
  public static let windowBeyondSlots = 64
  /// Entries; an agent holds back when its stream is that long.
  public static let verdictStreamLength = 10_000
  public static let outputStreamLength = 512
  /// Bytes of output in one frame.
  public static let outputFrameBytes = 256 * 1024
  /// Output that an `ended` event may carry itself, bytes.
  public static let tailBytes = 8 * 1024
  /// Plain fields moved by one script call.
  public static let plainBatch = 64
  /// A plain hash is left alone while so many entries stand in the inbox.
  public static let inboxFull = 256
  /// A living agent that says nothing of a sent run for so long is asked.
  public static let silence: Duration = .seconds(30)
}
