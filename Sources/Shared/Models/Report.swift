// Messages from an agent to the dashboard: one batch is one entry of a verdict stream. Every event has a sequence number: the batch's
// `first` plus its place. The dashboard commits contiguous sequences of one incarnation and drops what it has committed (`SequenceFlow`).

/// A batch of events in order.
public struct ReportBatch: Sendable, Equatable, Codable {
  /// The protocol that the sender speaks.
  public var `protocol`: Int
  public var agent: AgentID
  public var from: AgentAddress
  /// The journal's last synced record when the batch was made.
  public var count: UInt64
  public var nonce: Nonce
  /// Sequence of the first event, from 1.
  public var first: UInt64
  /// The oldest sequence that the agent still keeps: a restored dashboard does not wait for what is before.
  public var oldest: UInt64
  public var events: [ReportEvent]
  /// Output that the events carry themselves; stands after the header as raw bytes.
  public var tails: [UInt8] = []
  /// Why an event, or the output of events, was passed over when it was read.
  public var passedOver: [String] = []

  enum CodingKeys: String, CodingKey { case `protocol`, agent, from, count, nonce, first, oldest, events }

  public init(
    agent: AgentID, from: AgentAddress, position: JournalPosition, first: UInt64, oldest: UInt64, events: [ReportEvent],
    tails: [UInt8] = []
  ) {
    self.protocol = Protocol.version
    self.agent = agent
    self.from = from
    count = position.count
    nonce = position.nonce
    self.first = first
    self.oldest = oldest
    self.events = events
    self.tails = tails
  }

  /// - Throws: also for a name or a number beyond its bounds, and where the sender speaks a protocol that this program does not: it keeps what
  ///   was not acknowledged and says it again.
  public init(bytes: [UInt8]) throws(FrameFault) {
    let frame = try Frame(bytes: bytes)
    self = try frame.decode(ReportBatch.self, as: .report)
    tails = frame.body
  }
  public func encoded() throws -> [UInt8] { try Frame(kind: .report, encoding: self, body: tails).bytes }
}

extension ReportBatch {
  /// An event that cannot be read, or that says what nobody can have meant, holds up no other: a batch that is refused would be sent again for
  /// ever.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.protocol = try container.decode(Int.self, forKey: .protocol)
    agent = try container.decode(AgentID.self, forKey: .agent)
    try Protocol.check(self.protocol, of: "agent \(agent)")
    from = try container.decode(AgentAddress.self, forKey: .from)
    count = try container.decode(UInt64.self, forKey: .count)
    nonce = try container.decode(Nonce.self, forKey: .nonce)
    first = try container.decode(UInt64.self, forKey: .first)
    oldest = try container.decode(UInt64.self, forKey: .oldest)
    let numbers = [("the position", count), ("the sequence", first), ("the oldest sequence", oldest)]
    if let fault = numbers.lazy.compactMap({ Bounds.fault($0, $1) }).first { throw FrameFault(fault) }
    let read = try container.decode([LenientEvent].self, forKey: .events)
    events = read.map(\.event)
    passedOver = read.compactMap(\.fault)
    // Where a length is unknown, so is whose the bytes behind it are. Losing output never blocks a verdict.
    guard let lost = read.firstIndex(where: \.hasLostTail) else { return }
    for index in events[lost...].indices { events[index].tail = nil }
  }

  private enum TailKey: String, CodingKey { case tail }

  private struct LenientEvent: Decodable {
    var event: ReportEvent
    var fault: String?
    /// It may carry bytes, and nobody knows how many.
    var hasLostTail = false

    init(from decoder: any Decoder) throws {
      do {
        event = try ReportEvent(from: decoder)
        fault = event.fault
      } catch {
        event = ReportEvent(.unrecognised)
        fault = (error as? DecodingError)?.sentence ?? "\(error)"
        do {
          event.tail = try decoder.container(keyedBy: TailKey.self).decodeIfPresent(OutputSlice.self, forKey: .tail)
        } catch { hasLostTail = true }
      }
      // The bytes it carries stand before those of the next.
      if fault != nil { event = ReportEvent(.unrecognised, tail: event.tail) }
      guard let tail = event.tail?.fault else { return }
      hasLostTail = true
      fault = fault ?? tail
    }
  }
}

/// One thing that an agent says.
public struct ReportEvent: Sendable, Equatable, Codable {
  public enum Kind: String, Sendable, Codable {
    /// The agent has (again) its lease: `hello` is filled.
    case hello
    /// The agent stops in good order.
    case bye
    /// The attempt stands in the journal and is confirmed.
    case taken
    /// The command was started.
    case running
    /// The attempt has its verdict.
    case ended
    /// Asked by `reconcile`: the journal does not know this attempt.
    case unknown
    /// Of a later version: its place in the sequence counts, what it says is passed over. Never sent.
    case unrecognised
  }
  public var kind: Kind
  /// `AttemptID` text; nil for `hello` and `bye`.
  public var attempt: String?
  public var hello: Hello?
  /// The agent's wall clock, milliseconds since 1970.
  public var startedAt: Int64?
  /// `running`: when its time limit ends it, by the clock for deadlines (`Keys.clock`), milliseconds since 1970. Nil: no limit, or it is
  /// not known any more.
  public var deadline: Int64?
  public var verdict: Verdict?
  /// The verdict is a tombstone: the journal had never taken it.
  public var tombstone: Bool?
  /// Set in `taken` and `ended` of a task that came by the plain hash.
  public var plain: PlainTask?
  /// `ended`: the output that was not shipped before, where it is short.
  public var tail: OutputSlice?

  public init(
    _ kind: Kind, attempt: AttemptID? = nil, hello: Hello? = nil, startedAt: Int64? = nil, deadline: Int64? = nil,
    verdict: Verdict? = nil, tombstone: Bool? = nil, plain: PlainTask? = nil, tail: OutputSlice? = nil
  ) {
    self.kind = kind
    self.attempt = attempt?.description
    self.hello = hello
    self.startedAt = startedAt
    self.deadline = deadline
    self.verdict = verdict
    self.tombstone = tombstone
    self.plain = plain
    self.tail = tail
  }

  /// What in it nobody can have meant, but for its tail; nil where it is within its bounds.
  var fault: String? { hello?.fault ?? verdict?.fault }
}

/// The name and the command line of a task from the plain hash, as bytes.
public struct PlainTask: Sendable, Equatable, Codable {
  public var name: Base64Bytes
  public var command: Base64Bytes
  /// Wall clock at the taking, milliseconds since 1970.
  public var takenAt: Int64
  public init(name: [UInt8], command: [UInt8], takenAt: Int64) {
    self.name = Base64Bytes(name)
    self.command = Base64Bytes(command)
    self.takenAt = takenAt
  }
}

/// What an agent says of itself, in `hello` and in `muster:{uuid}:info`.
public struct Hello: Sendable, Equatable, Codable {
  public var `protocol`: Int
  public var projects: [String]
  public var hostname: String
  /// The address of the interface that reaches Redis.
  public var address: String
  public var version: String
  public var os: String
  public var arch: String
  /// The agent's wall clock, milliseconds since 1970.
  public var startedAt: Int64
  public var concurrency: Int
  /// Nil when its own HTTP does not listen.
  public var httpPort: Int?
  /// The highest send number that its journal has read.
  public var sends: SendNumber

  public init(
    projects: [String], hostname: String, address: String, version: String, os: String, arch: String, startedAt: Int64,
    concurrency: Int,
    httpPort: Int?, sends: SendNumber
  ) {
    self.protocol = Protocol.version
    self.projects = projects
    self.hostname = hostname
    self.address = address
    self.version = version
    self.os = os
    self.arch = arch
    self.startedAt = startedAt
    self.concurrency = concurrency
    self.httpPort = httpPort
    self.sends = sends
  }

  /// Linux has no more processes.
  private static let slots: Range<Int64> = 0..<1 << 22

  /// What in it nobody can have meant; nil where it is within its bounds.
  var fault: String? {
    for project in projects { if let fault = nameFault(project) { return "a project's name \(fault)" } }
    return Bounds.fault("the concurrency", concurrency, in: Self.slots)
  }
}
