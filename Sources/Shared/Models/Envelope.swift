// What stands in an agent's inbox: one attempt to start. Opaque bytes to Redis; a signature may cover all of them.
// Two kinds reach an inbox: the dashboard's envelopes, and plain tasks that the plain-hash script wrote (name and command as they were).

/// One attempt, addressed to one journal of one agent.
public struct Envelope: Sendable, Equatable, Codable {
  /// The sender's protocol; nil: 1.
  public var `protocol` = Protocol.marked
  public var agent: AgentID
  /// An envelope meant for another journal is left alone.
  public var journal: JournalID
  public var task: ULID
  public var attempt: Int
  public var number: SendNumber
  public var spec: TaskSpec
  /// The clock for deadlines (`Keys.clock` tells it from Redis's), milliseconds since 1970: not to be started later. Nil: no limit.
  public var startBefore: Int64?

  public init(
    agent: AgentID, journal: JournalID, task: ULID, attempt: Int = 1, number: SendNumber, spec: TaskSpec,
    startBefore: Int64? = nil
  ) {
    self.agent = agent
    self.journal = journal
    self.task = task
    self.attempt = attempt
    self.number = number
    self.spec = spec
    self.startBefore = startBefore
  }

  public var id: AttemptID { AttemptID(task: task, attempt: attempt) }
  public func encoded() throws -> [UInt8] { try Frame(kind: .envelope, encoding: self).bytes }
}

/// What an inbox entry holds.
public enum InboxEntry: Sendable, Equatable {
  case envelope(Envelope)
  /// From the seeds' plain hash: the field's name and its value, byte for byte.
  case plain(name: [UInt8], command: [UInt8])

  public init(bytes: [UInt8]) throws(FrameFault) {
    let frame = try Frame(bytes: bytes)
    switch frame.kind {
    case .plain: self = .plain(name: frame.header, command: frame.body)
    default:
      let envelope = try frame.decode(Envelope.self, as: .envelope)
      try Frame.check(envelope.protocol, of: "the dashboard")
      self = .envelope(envelope)
    }
  }
}
