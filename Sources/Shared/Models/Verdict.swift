// How a run ended, as its agent says it and as the store keeps it.

public struct Verdict: Sendable, Equatable, Codable {
  /// Always one of `RunState`'s verdicts.
  public var state: RunState
  /// Nil when a signal ended it, or nothing was started.
  public var exitCode: Int?
  /// A name without SIG: `TERM`.
  public var signal: String?
  /// A code: `ENOENT`, `EACCES`, `output_cap`, `expired`, …
  public var reason: String?
  /// One sentence for people.
  public var note: String?
  /// The agent's wall clock, milliseconds since 1970.
  public var startedAt: Int64?
  public var finishedAt: Int64?
  /// Everything the command wrote, in bytes.
  public var outputBytes: Int64
  /// Of these, not kept: the middle, past `output.cap`.
  public var droppedBytes: Int64
  /// First byte that is not kept; meaningful where `droppedBytes` > 0.
  public var droppedFrom: Int64?
  /// Hexadecimal, of the kept bytes of each stream.
  public var stdoutSha256: String?
  public var stderrSha256: String?
  /// Processes that were sent a signal, and that were still there at the end.
  public var signalled: Int
  public var left: Int

  public init(
    state: RunState, exitCode: Int? = nil, signal: String? = nil, reason: String? = nil, note: String? = nil,
    startedAt: Int64? = nil,
    finishedAt: Int64? = nil, outputBytes: Int64 = 0, droppedBytes: Int64 = 0, droppedFrom: Int64? = nil,
    stdoutSha256: String? = nil,
    stderrSha256: String? = nil, signalled: Int = 0, left: Int = 0
  ) {
    self.state = state
    self.exitCode = exitCode
    self.signal = signal
    self.reason = reason
    self.note = note
    self.startedAt = startedAt
    self.finishedAt = finishedAt
    self.outputBytes = outputBytes
    self.droppedBytes = droppedBytes
    self.droppedFrom = droppedFrom
    self.stdoutSha256 = stdoutSha256
    self.stderrSha256 = stderrSha256
    self.signalled = signalled
    self.left = left
  }

  /// What in it nobody can have meant; nil where it is within its bounds.
  var fault: String? {
    Bounds.fault("the output", outputBytes) ?? Bounds.fault("the dropped output", droppedBytes)
      ?? Bounds.fault("the beginning of the dropped output", droppedFrom)
  }
}
