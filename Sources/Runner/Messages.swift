// What agent and runner say to each other over the socket (descriptor 3 of the runner).
// Frame: length of the rest (4 bytes, little endian), kind (one byte), fields as TLV describes. Unknown kinds and tags are skipped.
// When adding a kind or field, also: a golden file in Tests/RunnerTests/Golden.

/// Everything the runner needs to know to start one attempt. Bytes where the operating system has bytes.
public struct AttemptOrder: Sendable, Equatable {
  public struct Ids: Sendable, Equatable {
    public var user: UInt32
    public var group: UInt32
    public var groups: [UInt32]
    public init(user: UInt32, group: UInt32, groups: [UInt32]) {
      self.user = user
      self.group = group
      self.groups = groups
    }
  }

  public struct Limit: Sendable, Equatable {
    /// `RLIMIT_*`; both bounds in its own unit, `UInt64.max` for none.
    public var resource: Int32
    public var soft: UInt64
    public var hard: UInt64
    public init(resource: Int32, soft: UInt64, hard: UInt64) {
      self.resource = resource
      self.soft = soft
      self.hard = hard
    }
  }

  /// The run's id (`auuid`) and the attempt's number, 1 for the first.
  public var run: String
  public var attempt: UInt64
  /// Explicit path of the program; PATH is not searched.
  public var executable: [UInt8]
  public var arguments: [[UInt8]]
  /// Whole environment, each "NAME=value".
  public var environment: [[UInt8]] = []
  /// Working directory; empty: `/`.
  public var directory: [UInt8] = []
  /// Nil: `/dev/null`.
  public var standardInput: [UInt8]?
  /// From exec to the first signal; 0: none.
  public var timeoutMilliseconds: UInt64 = 0
  /// From that signal to KILL.
  public var graceMilliseconds: UInt64 = 10_000
  /// Bytes of output kept: the first half and the last half.
  public var cap: UInt64 = 32 << 20
  public var outputPath: [UInt8]
  /// Nil: 022.
  public var fileMask: UInt32?
  /// Nil: the runner's own.
  public var ids: Ids?
  public var limits: [Limit] = []

  public init(run: String, attempt: UInt64, executable: [UInt8], arguments: [[UInt8]], outputPath: [UInt8]) {
    self.run = run
    self.attempt = attempt
    self.executable = executable
    self.arguments = arguments
    self.outputPath = outputPath
  }

  /// A NUL would silently cut what the operating system is given.
  var hasNul: Bool {
    [executable, directory, outputPath].contains { $0.contains(0) } || arguments.contains { $0.contains(0) }
      || environment.contains { $0.contains(0) }
  }
}

/// Agent to runner.
public enum RunnerOrder: Sendable, Equatable {
  case attempt(AttemptOrder)
  /// Ends the present attempt's tree: this signal, then KILL after the grace. Repeated with another signal or a shorter grace it
  /// becomes harder. `run` empty: whichever is running. Of no effect once the leader has exited.
  case kill(run: String, signal: Int32, graceMilliseconds: UInt64)
  /// Leave once the present attempt, if any, has ended.
  case retire
}

/// Runner to agent.
public enum RunnerMessage: Sendable, Equatable {
  /// The first message, and again whenever a new records file was begun.
  case records(path: [UInt8], process: ProcessIdentity)
  /// The output file was made and exec succeeded (`pid` > 0) or failed (0; `ended` follows).
  case began(run: String, attempt: UInt64, pid: Int32, wallMilliseconds: Int64)
  /// Recorded output, in order; the bytes lie in the spool. Where `offset` is not the expected one, messages were left out because
  /// the agent did not read: the records file has the rest.
  case output(run: String, attempt: UInt64, SegmentList)
  case ended(EndedMessage)
  /// The attempt was not taken.
  case refused(RefusedRecord)
  /// May take an attempt: the first is sent at start, then one after each `ended` or `refused`.
  case idle
  /// Takes no more and is about to close the socket.
  case retiring
}

/// An attempt has ended and its exit record is written.
public struct EndedMessage: Sendable, Equatable {
  /// Outputs up to so many bytes travel whole in the message.
  public static let inlineOutput: UInt64 = 8192

  public var exit: ExitRecord
  /// What was not sent as `output` before; the whole output (offset 0) where `output` is there.
  public var segments: SegmentList
  /// All bytes of the output, if it is at most `inlineOutput` bytes.
  public var output: [UInt8]?

  public init(exit: ExitRecord, segments: SegmentList, output: [UInt8]?) {
    self.exit = exit
    self.segments = segments
    self.output = output
  }
}
