// What the dashboard puts into an agent's control list: hints, repeated until their effect is reported (DESIGN section 3).
// Each that is about runs names journal, incarnation and attempts, so that an old one coming back does nothing.

public struct ControlMessage: Sendable, Equatable, Codable {
  public enum Kind: String, Sendable, Codable {
    /// Something was put into the inbox.
    case bell
    /// Say what you know of these attempts.
    case reconcile
    /// End these attempts: a tombstone where unknown, killed where running.
    case cancel
    /// The journal changed: a tombstone where unknown, so that they can be called lost.
    case close
    /// Register everything again.
    case refresh
    /// Take nothing more.
    case drain
    /// Of a later version: passed over. Never sent.
    case unrecognised

    public init(from decoder: any Decoder) throws {
      self = Kind(rawValue: try decoder.singleValueContainer().decode(String.self)) ?? .unrecognised
    }
  }
  /// Why a run is to end.
  public enum Cause: String, Sendable, Codable {
    case cancelled, expired

    /// One of a later version is an end all the same.
    public init(from decoder: any Decoder) throws {
      self = Cause(rawValue: try decoder.singleValueContainer().decode(String.self)) ?? .cancelled
    }
  }

  /// The sender's protocol; nil: 1.
  public var `protocol` = Protocol.marked
  public var kind: Kind
  /// Nil for a bell.
  public var to: AgentAddress?
  public var fence: Fence?
  public var number: SendNumber?
  /// `AttemptID` texts.
  public var attempts: [String]?
  public var cause: Cause?
  /// A signal's name without SIG; nil: TERM.
  public var signal: String?
  /// Seconds between the signal and KILL; nil: the agent's default.
  public var grace: Double?
  /// With `reconcile`: send their output from its beginning as well.
  public var output: Bool?

  public init(
    _ kind: Kind, to: AgentAddress? = nil, fence: Fence? = nil, number: SendNumber? = nil, attempts: [AttemptID]? = nil,
    cause: Cause? = nil, signal: String? = nil, grace: Double? = nil, output: Bool? = nil
  ) {
    self.kind = kind
    self.to = to
    self.fence = fence
    self.number = number
    self.attempts = attempts.map { $0.map(\.description) }
    self.cause = cause
    self.signal = signal
    self.grace = grace
    self.output = output
  }

  public init(bytes: [UInt8]) throws(FrameFault) {
    self = try Frame(bytes: bytes).decode(ControlMessage.self, as: .control)
    try Frame.check(self.protocol, of: "the dashboard")
    // A fence that is believed silences every dashboard with a smaller one.
    if let fault = Bounds.fault("the fence", fence, in: Fences.all) { throw FrameFault(fault) }
  }
  public func encoded() throws -> [UInt8] { try Frame(kind: .control, encoding: self).bytes }
}
