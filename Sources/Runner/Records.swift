// The records in a runner's file: what it did, in the order in which it happened. The agent, also a newer one, reads them.
//
// File: the magic "MUSTRUN1", then records. Record: length of the payload (4 bytes, little endian), CRC-32 of the payload (the
// same), payload. Payload: the kind (one byte), then fields as TLV describes. The first record is `opened`.
// Per attempt: begin, (refused | started, segments and layout in any number), exit; or refused alone, where there was nothing to begin with.
// Unknown kinds are skipped.
// When adding a kind or field, also: a golden file in Tests/RunnerTests/Golden. Nothing here is ever changed, only added to.

/// The first record of a file: whose it is.
public struct OpenedRecord: Sendable, Equatable {
  public var process: ProcessIdentity
  /// The format's version, for people; readers go by the magic and by unknown tags.
  public var version: UInt64 = 1
  public var wallMilliseconds: Int64
  /// Folder of the runner's own control group; empty: it has none.
  public var controlGroup = ""

  public init(process: ProcessIdentity, wallMilliseconds: Int64) {
    self.process = process
    self.wallMilliseconds = wallMilliseconds
  }
}

/// An attempt was taken on. Whether it was started is told by its output file alone.
public struct BeginRecord: Sendable, Equatable {
  public var run: String
  public var attempt: UInt64
  public var outputPath: [UInt8]
  public var cap: UInt64
  public var wallMilliseconds: Int64
  /// As it was ordered (0: no time limit), and CLOCK_MONOTONIC at this record, by which the runner counts the limit: whoever adopts the run
  /// holds the runner to what it was told, whatever the settings say by then. A clock of 0: not known, an earlier runner wrote this.
  public var timeoutMilliseconds: UInt64 = 0
  public var graceMilliseconds: UInt64 = 0
  public var monotonicNanoseconds: UInt64 = 0

  public init(run: String, attempt: UInt64, outputPath: [UInt8], cap: UInt64, wallMilliseconds: Int64) {
    self.run = run
    self.attempt = attempt
    self.outputPath = outputPath
    self.cap = cap
    self.wallMilliseconds = wallMilliseconds
  }
}

/// The program was executed.
public struct StartedRecord: Sendable, Equatable {
  public var pid: Int32
  public var wallMilliseconds: Int64
  /// CLOCK_BOOTTIME right before and after the start, by which the leader is told from a later process with its pid. 0: not known, an
  /// earlier runner wrote this.
  public var bootNanoseconds: UInt64 = 0
  public var bootNanosecondsAfter: UInt64 = 0

  public init(pid: Int32, wallMilliseconds: Int64) {
    self.pid = pid
    self.wallMilliseconds = wallMilliseconds
  }
}

/// The attempt was not taken: nothing was started and no output file was made by this runner.
public struct RefusedRecord: Sendable, Equatable {
  public enum Reason: UInt8, Sendable {
    case other = 0
    /// The output file is there already: it was started before.
    case outputExists = 1
    /// The output file could not be made.
    case outputFailed = 2
    /// Descriptors, memory or room for records are missing: another runner, or later, may do.
    case noResources = 3
    case malformed = 4
  }

  public var run: String
  public var attempt: UInt64
  public var reason: Reason
  public var error: Int32

  public init(run: String, attempt: UInt64, reason: Reason, error: Int32) {
    self.run = run
    self.attempt = attempt
    self.reason = reason
    self.error = error
  }
}

/// The last record of an attempt.
public struct ExitRecord: Sendable, Equatable {
  public enum How: Sendable, Equatable {
    case exited(Int32)
    case signalled(Int32)
    /// errno, and the step that failed (`CSPAWN_STEP_*`; 6: the working directory, 8: the program).
    case couldNotStart(Int32, step: Int32)
  }

  public enum Cause: UInt8, Sendable {
    case none = 0
    case deadline = 1
    case kill = 2
  }

  /// Bits; more may come.
  public struct Notes: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Something still held the output pipe when the verdict was due.
    public static let pipeHeld = Notes(rawValue: 1)
    /// Output could not be stored (disk full, write error): counted in `dropped`.
    public static let storeFailed = Notes(rawValue: 2)
    /// The ring could not be put in order; read the file through `layout`.
    public static let unordered = Notes(rawValue: 4)
    /// This record could not be written; it was only sent.
    public static let unrecorded = Notes(rawValue: 8)
    /// The program dumped core.
    public static let core = Notes(rawValue: 16)
  }

  public var run: String
  public var attempt: UInt64
  public var how: How
  public var cause: Cause = .none
  /// Processes that were sent a signal, and those alive when the runner stopped looking.
  public var signalled: UInt64 = 0
  public var left: UInt64 = 0
  public var notes: Notes = []
  /// Bytes the command wrote; of these the first `stored` went through the spool, which keeps what `layout` says.
  public var total: UInt64 = 0
  public var stored: UInt64 = 0
  public var layout = SpoolLayout(head: 0, ring: 0)
  public var startedWallMilliseconds: Int64 = 0
  public var finishedWallMilliseconds: Int64 = 0
  /// From exec to the end of the leader, by the monotonic clock.
  public var durationNanoseconds: UInt64 = 0

  public init(run: String, attempt: UInt64, how: How) {
    self.run = run
    self.attempt = attempt
    self.how = how
  }

  /// Bytes the command wrote that the file does not hold.
  public var dropped: UInt64 { total - min(total, layout.kept(of: stored)) }
}

public enum RunnerRecord: Sendable, Equatable {
  case opened(OpenedRecord)
  case begin(BeginRecord)
  case started(StartedRecord)
  case segments(SegmentList)
  case layout(SpoolLayout)
  case refused(RefusedRecord)
  case exit(ExitRecord)
}
