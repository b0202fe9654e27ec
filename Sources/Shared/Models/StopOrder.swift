// How somebody wants a run ended: which signal first, and how long until KILL.

/// A signal to the whole tree, then KILL after a grace. Both are optional: the agent's are TERM and its `task.grace`.
public struct StopOrder: Sendable, Hashable {
  /// A name of `SignalName`, without SIG.
  public var signal: String?
  /// Seconds, 0 to `longestGrace`.
  public var grace: Double?

  /// A day.
  public static let longestGrace: Double = 86_400

  public init(signal: String? = nil, grace: Double? = nil) {
    self.signal = signal
    self.grace = grace
  }

  /// What holds after one more request: the newer signal, but nothing takes KILL back; the shorter grace.
  public func followed(by next: StopOrder) -> StopOrder {
    let grace: Double? = if let mine = grace, let theirs = next.grace { min(mine, theirs) } else { next.grace ?? grace }
    return StopOrder(signal: signal == "KILL" ? "KILL" : next.signal ?? signal, grace: grace)
  }
}

/// The signals of Linux by their names, as API.md shows them: `TERM`.
public enum SignalName {
  public static let all = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
    "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
  ]

  /// The name without SIG and in capitals; nil where there is no such signal.
  public static func canonical(_ text: String) -> String? {
    let upper = text.uppercased()
    let short = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
    return all.contains(short) ? short : nil
  }
}
