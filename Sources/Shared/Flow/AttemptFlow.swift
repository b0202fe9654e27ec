// The agent's decisions about one attempt (DESIGN section 3), without I/O and without a clock. The counterpart of `RunFlow`.
// Rules are named as in `shared/model`; change one only after running that search.

/// The journal's word on an attempt. An id's first record, taken or tombstone, holds for good (rule `first`).
public enum AttemptRecord: Sendable, Equatable {
  case none
  case taken
  case tombstone(EndCause)
  case ended
}

/// What the agent knows of one attempt.
public struct AttemptKnowledge: Sendable, Equatable {
  public var record: AttemptRecord
  /// Taken on the present boot of the host (rule `taking`).
  public var takenThisBoot: Bool
  /// A confirm that named it has succeeded in this process, or a hand-off proves an earlier one.
  public var confirmed: Bool
  /// The hand-off to a runner is recorded (rule `handFirst`).
  public var handedOff: Bool

  public init(record: AttemptRecord = .none, takenThisBoot: Bool = true, confirmed: Bool = false, handedOff: Bool = false) {
    self.record = record
    self.takenThisBoot = takenThisBoot
    self.confirmed = confirmed
    self.handedOff = handedOff
  }

  /// A confirm that named it has succeeded.
  public mutating func wasConfirmed() { confirmed = true }

  /// The hand-off is recorded; a runner may get it now (rule `handFirst`).
  public mutating func wasHandedOff() { handedOff = true }

  /// The hand-off came to nothing (`Judgement.handOverAgain`). That there was one proves an earlier confirm.
  public mutating func goesBack() {
    handedOff = false
    confirmed = true
  }

  /// The journal has taken a new identity (rule `position`): it may have forgotten a start, so nothing that it took before is started.
  public mutating func changedIdentity() { takenThisBoot = false }
}

/// What to do with an inbox entry.
public enum Taking: Sendable, Equatable {
  /// Journal it as taken, then confirm.
  case take
  /// Known: only confirm, so that it leaves the inbox.
  case confirmAway
  /// Meant for another journal (rule `bind`).
  case leaveAlone
  /// Not newer than what the journal has forgotten (rule `horizon`): journal it as `lost`, then confirm.
  case lost
}

/// What to do about a control message.
public enum ControlReply: Sendable, Equatable {
  /// Write a tombstone; report it once a confirm has succeeded (rules `word`, `tombSure`).
  case tombstone(EndCause)
  /// Taken, not handed to a runner: ends with this verdict, no start.
  case endUnstarted(RunState)
  /// A runner has it: ask it to end the tree.
  case kill
  /// Report again what the journal says.
  case report
  /// Say that the journal does not know it.
  case sayUnknown
  /// Unknown and not newer than what was forgotten.
  case lost
  /// An old message, or nothing to do yet: what becomes of it will be reported anyway.
  case nothing
}

/// What the host shows of an attempt that was handed off, looked at in this order (rules `gone`, `order`).
public struct AttemptTraces: Sendable, Equatable {
  /// The runner that the hand-off names is still a live process.
  public var runnerLives: Bool
  /// Its records hold the attempt's exit. Looked for after `runnerLives` was found false.
  public var exitRecord: Bool
  /// The output file is there: the proof that the command was started (rule `file`).
  public var outputFile: Bool
  public init(runnerLives: Bool, exitRecord: Bool, outputFile: Bool) {
    self.runnerLives = runnerLives
    self.exitRecord = exitRecord
    self.outputFile = outputFile
  }
}

public enum Judgement: Sendable, Equatable {
  /// Its runner goes on: watch it.
  case adopt
  /// The exit record tells how it ended.
  case ended
  /// It was started and nobody can know how it ended, or the host was booted since the taking.
  case lost
  /// Never started, same boot: may be handed to a runner again.
  case handOverAgain
}

/// How the agent stands with Redis, as far as it concerns its lease.
public enum LeaseContact: Sendable, Equatable {
  /// There is no connection: nobody can tell the agent anything.
  case cutOff
  /// There is one again, and the lease was not asked for on it yet.
  case reconnected
  case connected(sinceRenewal: Duration)
}

public enum AttemptFlow {
  /// May this agent start anything at all? An agent that finds its lease taken, or its journal removed, starts nothing more; so whoever can
  /// look, looks first: after a reconnect, and after a time in which the lease may have run out (the process was stopped, the host slept).
  /// One that is merely cut off may start what was confirmed: that is what confirming is for (docs/decisions/0011).
  public static func mayStart(hasLease: Bool, _ contact: LeaseContact, lease: Duration) -> Bool {
    guard hasLease else { return false }
    switch contact {
    case .cutOff: return true
    case .reconnected: return false
    case .connected(let sinceRenewal): return sinceRenewal < lease
    }
  }

  /// - Parameter forgotten: the newest id whose record was dropped after 30 days.
  public static func take(
    _ known: AttemptKnowledge, task: ULID, meantFor: JournalID?, journal: JournalID, forgotten: ULID?
  ) -> Taking {
    if let meantFor, meantFor != journal { return .leaveAlone }
    guard known.record == .none else { return .confirmAway }
    if let forgotten, task <= forgotten { return .lost }
    return .take
  }

  /// Rules `confirm`, `taking`: only a confirmed attempt, taken on this boot and not handed off, may start.
  public static func mayStart(_ known: AttemptKnowledge) -> Bool {
    known.record == .taken && known.confirmed && !known.handedOff && known.takenThisBoot
  }

  /// Rule `sure`: nothing about an attempt is reported before its confirm has succeeded; a hand-off proves one.
  public static func mayReport(_ known: AttemptKnowledge) -> Bool {
    known.record != .none && (known.confirmed || known.handedOff)
  }

  /// Rule `named`: whether a control message is for this journal and incarnation, and from the newest dashboard heard of. One without an
  /// address (a bell, a drain) is for whoever reads it.
  public static func heeds(_ to: AgentAddress?, fence: Fence?, at own: AgentAddress, highest: Fence) -> Bool {
    (to == nil || to == own) && (fence ?? highest) >= highest
  }

  /// What a control message about one attempt asks for. The caller has checked that it names this journal and incarnation (rule `named`).
  /// - Parameter withRunner: a runner has it or may have it.
  public static func control(
    _ kind: ControlMessage.Kind, cause: EndCause?, _ known: AttemptKnowledge, task: ULID, withRunner: Bool, forgotten: ULID?
  ) -> ControlReply {
    let isForgotten = forgotten.map { task <= $0 } ?? false
    switch (kind, known.record) {
    case (.cancel, .none), (.close, .none): return isForgotten ? .lost : .tombstone(cause ?? .cancelled)
    case (.reconcile, .none): return isForgotten ? .lost : .sayUnknown
    case (.cancel, .taken):
      // What was started in time does not expire any more.
      if withRunner { return cause == .expired ? .report : .kill }
      return known.takenThisBoot ? .endUnstarted(cause == .expired ? .expired : .cancelled) : .nothing
    case (.close, .taken), (.reconcile, .taken), (.cancel, _), (.close, _), (.reconcile, _): return .report
    default: return .nothing
    }
  }

  /// What became of an attempt whose runner is not connected.
  public static func judge(_ known: AttemptKnowledge, _ traces: AttemptTraces) -> Judgement {
    if traces.runnerLives { return .adopt }
    if traces.exitRecord { return .ended }
    if traces.outputFile { return .lost }
    return known.takenThisBoot ? .handOverAgain : .lost
  }

  /// Rule `position`: a journal that lacks the last record that Redis holds of it was rolled back or cloned.
  public static func lacks(_ stored: JournalPosition?, journal: JournalID, nonceAt: (UInt64) -> Nonce?) -> Bool {
    guard let stored, stored.journal == journal else { return false }
    return nonceAt(stored.count) != stored.nonce
  }
}
