// A run's output on its way: one frame is one entry of an output stream and may carry slices of several runs. Frames of one incarnation are
// numbered by themselves, apart from reports; the dashboard keeps, by run, how far it has the bytes (`OutputSlice.offset`).

/// Which of the command's two streams bytes came from.
public enum OutputStream: UInt8, Sendable, Codable {
  case stdout = 1
  case stderr = 2
}

/// Bytes of one attempt, contiguous from `offset`; the bytes themselves stand in the frame's body, slice after slice.
public struct OutputSlice: Sendable, Equatable, Codable {
  /// `AttemptID` text.
  public var attempt: String
  /// Place of the first byte in everything that the command wrote, both streams in the order in which they were read.
  public var offset: Int64
  /// `[stream, length]` pairs, in order; their lengths add up to the slice's.
  public var segments: [[Int]]

  public init(attempt: AttemptID, offset: Int64, segments: [[Int]]) {
    self.attempt = attempt.description
    self.offset = offset
    self.segments = segments
  }
  public var length: Int { segments.reduce(0) { $0 + ($1.count == 2 ? max(0, $1[1]) : 0) } }
}

public struct OutputFrame: Sendable, Equatable, Codable {
  public var agent: AgentID
  public var from: AgentAddress
  /// From 1; output frames only.
  public var sequence: UInt64
  public var oldest: UInt64
  public var slices: [OutputSlice]
  public var bytes: [UInt8] = []

  enum CodingKeys: String, CodingKey { case agent, from, sequence, oldest, slices }

  public init(agent: AgentID, from: AgentAddress, sequence: UInt64, oldest: UInt64, slices: [OutputSlice], bytes: [UInt8]) {
    self.agent = agent
    self.from = from
    self.sequence = sequence
    self.oldest = oldest
    self.slices = slices
    self.bytes = bytes
  }

  /// - Throws: `FrameFault`, also when the slices' lengths are not the body's.
  public init(bytes: [UInt8]) throws(FrameFault) {
    let frame = try Frame(bytes: bytes)
    self = try frame.decode(OutputFrame.self, as: .output)
    self.bytes = frame.body
    guard slices.reduce(0, { $0 + $1.length }) == frame.body.count else {
      throw FrameFault("output slices do not add up to the body")
    }
  }
  public func encoded() throws -> [UInt8] { try Frame(kind: .output, encoding: self, body: bytes).bytes }
}
