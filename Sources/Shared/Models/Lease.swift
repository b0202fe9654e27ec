// What stands in `muster:{uuid}:lease`: the address (compared by scripts up to the first space), then the heartbeat as JSON.

public struct Lease: Sendable, Equatable {
  public var address: AgentAddress
  public var beat: Heartbeat

  public init(address: AgentAddress, beat: Heartbeat) {
    self.address = address
    self.beat = beat
  }
  /// Nil when the text is no lease.
  public init?(bytes: [UInt8]) {
    guard let space = bytes.firstIndex(of: 0x20), let address = AgentAddress(String(decoding: bytes[..<space], as: UTF8.self)),
      let beat = try? JSONCoder.decode(Heartbeat.self, from: Array(bytes[(space + 1)...]))
    else { return nil }
    self.init(address: address, beat: beat)
  }
  public func encoded() throws -> [UInt8] { Array("\(address) ".utf8) + (try JSONCoder.encode(beat)) }
}

/// Said every 5 s.
public struct Heartbeat: Sendable, Equatable, Codable {
  /// Beats since the agent's start.
  public var count: Int
  /// The host's load average over a minute.
  public var load1: Double
  public var running: Int
  /// Taken, not yet started.
  public var waiting: Int
  public var concurrency: Int
  /// `healthy`, or why the agent could not take work now.
  public var health: String
  /// For the one who is refused the lease: where its holder runs.
  public var hostname: String
  public var pid: Int

  public init(
    count: Int, load1: Double, running: Int, waiting: Int, concurrency: Int, health: String, hostname: String, pid: Int
  ) {
    self.count = count
    self.load1 = load1
    self.running = running
    self.waiting = waiting
    self.concurrency = concurrency
    self.health = health
    self.hostname = hostname
    self.pid = pid
  }
}

/// What `muster:{uuid}:acked` says: `incarnation:reports:output`, the highest contiguous sequences that are committed.
public struct Acknowledgement: Sendable, Equatable, CustomStringConvertible {
  public var incarnation: Incarnation
  public var reports: UInt64
  public var output: UInt64
  public init(incarnation: Incarnation, reports: UInt64, output: UInt64) {
    self.incarnation = incarnation
    self.reports = reports
    self.output = output
  }
  public init?(_ text: String) {
    let parts = text.split(separator: ":")
    guard parts.count == 3, let incarnation = Nonce(String(parts[0])), let reports = UInt64(parts[1]),
      let output = UInt64(parts[2])
    else { return nil }
    self.init(incarnation: incarnation, reports: reports, output: output)
  }
  public var description: String { "\(incarnation):\(reports):\(output)" }
}
