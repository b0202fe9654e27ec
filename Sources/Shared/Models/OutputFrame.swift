// A run's output on its way: one frame is one entry of an output stream and may carry slices of several runs. Frames of one incarnation are
// numbered by themselves, apart from reports; the dashboard keeps, by run, how far it has the bytes (`OutputSlice.offset`).

/// Which of the command's two streams bytes came from.
public enum OutputStream: UInt8, Sendable, Codable {
  case stdout = 1
  case stderr = 2
}

/// The middle of an attempt's output that is not kept: past `output.cap` only its head and its newest bytes are.
public struct DroppedMiddle: Sendable, Equatable, Codable {
  /// Place of the first byte that is not kept.
  public var from: Int64
  public var count: Int64

  public init(from: Int64, count: Int64) {
    self.from = from
    self.count = count
  }
  /// Nil where the numbers are none that output can have.
  public var range: Range<Int64>? {
    let (end, overflows) = from.addingReportingOverflow(count)
    return from >= 0 && count > 0 && !overflows ? from..<end : nil
  }
}

/// Bytes of one attempt, contiguous from `offset`; the bytes themselves stand in the frame's body, slice after slice.
public struct OutputSlice: Sendable, Equatable, Codable {
  /// `AttemptID` text.
  public var attempt: String
  /// Place of the first byte in everything that the command wrote, both streams in the order in which they were read.
  public var offset: Int64
  /// `[stream, length]` pairs, in order; their lengths add up to the slice's.
  public var segments: [[Int]]
  /// What its host had overwritten when these bytes were read; the dashboard gives it up as well, while the command goes on. Nil: nothing, or
  /// its agent is of an earlier version.
  public var dropped: DroppedMiddle?

  public init(attempt: AttemptID, offset: Int64, segments: [[Int]], dropped: DroppedMiddle? = nil) {
    self.attempt = attempt.description
    self.offset = offset
    self.segments = segments
    self.dropped = dropped
  }
  public var length: Int { segments.reduce(0) { $0 + ($1.count == 2 ? max(0, $1[1]) : 0) } }

  /// Redis takes no message of more than 512 MiB; of such parts no message holds enough that their sum overflows.
  private static let lengths: Range<Int64> = 0..<1 << 31

  /// What in it nobody can have meant; nil where it is within its bounds.
  var fault: String? {
    let numbers = [
      ("an offset of output", offset), ("the beginning of the dropped output", dropped?.from),
      ("the dropped output", dropped?.count),
    ]
    if let fault = numbers.lazy.compactMap({ Bounds.fault($0, $1) }).first { return fault }
    for segment in segments {
      guard segment.count == 2, UInt8(exactly: segment[0]).flatMap(OutputStream.init(rawValue:)) != nil else {
        return "\(segment) is no [stream, length] of output"
      }
      if let fault = Bounds.fault("a length of output", segment[1], in: Self.lengths) { return fault }
    }
    return nil
  }
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

  /// - Throws: `FrameFault`, also for a number beyond its bounds, and when the slices' lengths are not the body's.
  public init(bytes: [UInt8]) throws(FrameFault) {
    let frame = try Frame(bytes: bytes)
    self = try frame.decode(OutputFrame.self, as: .output)
    self.bytes = frame.body
    let faults = slices.lazy.compactMap(\.fault)
    if let fault = Bounds.fault("the sequence", sequence) ?? Bounds.fault("the oldest sequence", oldest) ?? faults.first {
      throw FrameFault(fault)
    }
    guard slices.reduce(0, { $0 + $1.length }) == frame.body.count else {
      throw FrameFault("output slices do not add up to the body")
    }
  }
  public func encoded() throws -> [UInt8] { try Frame(kind: .output, encoding: self, body: bytes).bytes }
}
