// The dashboard's decisions about one run (DESIGN section 3), without I/O and without a clock.
// `RunKnowledge` is what it knows; `hear` takes an agent's word in; `due` says what has to be done now. The loops carry events in and effects
// out and decide nothing themselves. Each rule names its switch in `shared/model`. Change a rule only after running that search.
//
// A run is one attempt after the other (`RunFlow+Attempts`): state and flags are those of the present one, and only the last one's verdict is
// the run's. Without `retries` there is one attempt, and everything about more than one is out of reach.

/// Why a run is to end before or while it runs.
public typealias EndCause = ControlMessage.Cause

/// What the dashboard knows of one run.
public struct RunKnowledge: Sendable, Equatable {
  // Kept in the store.
  public var state: RunState
  /// Somebody asked for its end, or its time to start has passed.
  public var wantsEnd: EndCause?
  /// Its agent has said at least once that it has it.
  public var reported: Bool
  /// The journal changed while it may have been taken: a matter of the new journal.
  public var closing: Bool
  /// The present attempt, from 1.
  public var attempt: Int
  public var retries: Retries
  /// How the attempt before the present one ended; nil: there is none, or a restored copy has forgotten it.
  public var lastVerdict: RunState?
  /// The delay before the present attempt is not over.
  public var held: Bool
  /// The present attempt was marked before the store was last found to be a restored copy: a later one may have been sent before that, too.
  public var doubtful: Bool
  // Forgotten with the process.
  /// Marked by this process and not yet handed to the send script.
  public var markedHere: Bool
  /// The agent answered "unknown", and it was not sent since.
  public var denied: Bool
  /// As what a tombstone in Redis says that the present attempt ended, once this process has written it or found it there. The first one
  /// stands, so that a restored copy of the database, which has forgotten why, comes to the same verdict.
  public var tomb: EndCause?

  public init(
    state: RunState, wantsEnd: EndCause? = nil, reported: Bool = false, closing: Bool = false, markedHere: Bool = false,
    denied: Bool = false, tomb: EndCause? = nil, attempt: Int = 1, retries: Retries = .none, lastVerdict: RunState? = nil,
    held: Bool = false, doubtful: Bool = false
  ) {
    self.state = state
    self.wantsEnd = wantsEnd
    self.reported = reported
    self.closing = closing
    self.attempt = attempt
    self.retries = retries
    self.lastVerdict = lastVerdict
    self.held = held
    self.doubtful = doubtful
    self.markedHere = markedHere
    self.denied = denied
    self.tomb = tomb
  }

  public var isOpen: Bool { !state.isVerdict }
  /// Rule `mark`: an unmarked run was never sent.
  public var maybeSent: Bool { state != .queued }
}

/// What an agent says about one attempt.
public enum AgentWord: Sendable, Equatable {
  case taken
  case running
  case ended(RunState)
  /// The journal never took it and never will.
  case tombstone(EndCause)
  /// Answer to `reconcile`: not in the journal.
  case unknown

  /// What an event of a report says about an attempt; nil where it says nothing that a run could hear.
  public init?(_ event: ReportEvent) {
    switch event.kind {
    case .taken: self = .taken
    case .running: self = .running
    case .unknown: self = .unknown
    case .ended:
      guard let verdict = event.verdict, verdict.state.isVerdict else { return nil }
      switch (event.tombstone == true, verdict.state) {
      case (false, let state): self = .ended(state)
      case (true, .cancelled): self = .tombstone(.cancelled)
      case (true, .expired): self = .tombstone(.expired)
      // What was never taken has not been started either.
      case (true, _): return nil
      }
    case .hello, .bye, .unrecognised: return nil
    }
  }
}

/// What became of an agent's word.
public enum Hearing: Sendable, Equatable {
  /// Nothing new, or a denial that only the process remembers.
  case noted
  /// The run has a verdict already: refused and counted.
  case refused
  /// Rule `tomb`: a tombstone has to stand in Redis before this word may be committed; then hear it again.
  case tombstoneFirst
  /// The open state changed, or the run went to another attempt than the one of which it is said.
  case moved
  /// The attempt ended so, and the run goes on with the next one, not before its delay.
  case nextAttempt(after: RunState)
  /// The run has its verdict: that of its present attempt.
  case ended(RunState)
}

/// What surrounds a run when `due` is asked.
public struct RunCircumstances: Sendable {
  /// The agent holds its lease as far as the dashboard knows.
  public var agentLives: Bool
  /// Rule `before`: the send numbers were compared since this process started.
  public var compared: Bool
  /// 30 s without a word about it from a living agent, or the agent came with a new incarnation: not yet put to it.
  public var silent: Bool
  /// There is room in the agent's window.
  public var room: Bool
  public init(agentLives: Bool, compared: Bool, silent: Bool, room: Bool) {
    self.agentLives = agentLives
    self.compared = compared
    self.silent = silent
    self.room = room
  }
}

/// One thing to do about a run. Each is done again until its effect is known.
public enum RunDuty: Sendable, Equatable {
  /// Compare the agent's send numbers first.
  case compare
  /// Mark it as sent in the store, with the next send number; then `send` is due.
  case mark
  /// Run the send script.
  case send
  /// Write a tombstone into Redis, which says this where none stands there.
  case tombstone(EndCause)
  /// End it in the store alone: it was never sent.
  case endAlone(RunState)
  /// Ask the agent to end it.
  case askToCancel(EndCause)
  /// Put it to the journal that took the old one's place.
  case askToClose
  /// Ask the agent what it knows.
  case reconcile
}

extension RunKnowledge {
  /// Takes an agent's word in. `current` is false when the word comes from a journal that the dashboard no longer takes for the agent's.
  /// - Parameter number: the attempt of which it is said; nil: the present one.
  public mutating func hear(_ word: AgentWord, of number: Int? = nil, current: Bool = true) -> Hearing {
    guard isOpen else { return .refused }
    if let number, number != attempt, let hearing = hearOfAnother(word, number) { return hearing }
    switch word {
    case .taken:
      let news = !reported || !maybeSent || state == .unknown
      if state != .running { state = .sent }
      reported = true
      denied = false
      held = false
      return news ? .moved : .noted
    case .running:
      let news = state != .running || !reported
      state = .running
      reported = true
      denied = false
      held = false
      // It was started in time: the agent judged that, and heard nothing of an end by then.
      if wantsEnd == .expired { wantsEnd = nil }
      return news ? .moved : .noted
    case .ended(let verdict):
      if closing && (verdict == .cancelled || verdict == .expired) { return attemptEnded(.lost, closing: true) }
      if verdict.saysNeverStarted && tomb == nil { return .tombstoneFirst }
      return verdict.saysNeverStarted ? neverStarted(verdict) : attemptEnded(verdict, closing: false)
    case .tombstone:
      // Rule `close`: what a changed journal never took may have been started from the old one.
      if closing { return attemptEnded(.lost, closing: true) }
      guard let tomb else { return .tombstoneFirst }
      return neverStarted(tomb == .expired ? .expired : .cancelled)
    case .unknown:
      guard current, !closing else { return .noted }
      guard !reported else {
        // Rule `reported`: it was there once, so it is not sent again but put to the journal for good.
        closing = true
        return .moved
      }
      denied = true
      guard state == .running || state == .unknown else { return .noted }
      state = .sent
      return .moved
    }
  }

  /// The agent's lease lapsed while the run may be out. Returns true where that is news.
  public mutating func agentLapsed() -> Bool {
    guard isOpen, maybeSent, state != .unknown else { return false }
    state = .unknown
    return true
  }

  /// Rule `heed`: the send script found a tombstone: the run is to be cancelled as if the user had asked.
  public mutating func sendRefused() {
    markedHere = false
    denied = false
    if wantsEnd == nil { wantsEnd = .cancelled }
  }

  /// The send script was called; whether it was executed may be unknown. From here on only a question tells (rule `ask`).
  public mutating func wasSent() {
    markedHere = false
    denied = false
  }

  /// Rule `number`: Redis or a hello knows a higher send number than the store: the store is a restored copy.
  public mutating func storeWasRestored() {
    doubtful = true
    if state == .queued { state = .sent }
  }

  /// The agent speaks with another journal than the one known. Returns true when that made the run a matter of the new journal.
  public mutating func journalChanged() -> Bool {
    denied = false
    guard isOpen, maybeSent, !closing else { return false }
    closing = true
    return true
  }

  /// Whether the envelope is to be taken out of the inbox: it may lie there unread, and who reads it later would start what
  /// somebody wants ended. It says nothing of what became of the run: an agent that has read it knows, and one that has not makes a tombstone
  /// (docs/decisions/0018).
  public var isToBeWithdrawn: Bool { isOpen && wantsEnd != nil && maybeSent && !reported && !closing }

  /// What has to be done now, or nil.
  public func due(_ now: RunCircumstances) -> RunDuty? {
    guard isOpen else { return nil }
    if let cause = wantsEnd {
      if !maybeSent && !closing {
        guard now.compared else { return .compare }
        return tomb.map { .endAlone(verdictAlone($0)) } ?? .tombstone(cause)
      }
      if closing { return now.agentLives ? .askToClose : nil }
      return now.agentLives ? .askToCancel(cause) : nil
    }
    guard now.agentLives else { return nil }
    if closing { return .askToClose }
    if state == .queued {
      guard now.room, !held else { return nil }
      return now.compared ? .mark : .compare
    }
    if state == .sent && (markedHere || denied) {
      guard !held else { return nil }
      return now.compared ? .send : .compare
    }
    return now.silent ? .reconcile : nil
  }
}
