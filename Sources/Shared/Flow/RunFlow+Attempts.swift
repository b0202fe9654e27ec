// A run of several attempts (DESIGN section 3, "at least one start on request"). The run is open from its acceptance to its last attempt's
// verdict; between two attempts it is `queued` again, as the next one. The rules:
//
// - There is a next attempt only where the task asked for it, after a verdict that it named, and when nobody wants the run's end.
// - "Never sent" is only true of an attempt that was not marked in a store that is no restored copy. After a restore the attempt that follows
//   one which was marked before it (`doubtful`) may have been sent, started and ended already: it begins as `sent`, a question first, and a
//   run that is to end is not final before its agent was asked about that attempt, too.
// - A word about an earlier attempt is refused. One about a later attempt shows a restored copy: the run goes forward to it, what became of
//   those before it is not known.
// - A later attempt that was never started (cancelled or rejected while it waited) leaves the run with the last started attempt's verdict;
//   where a restored copy has forgotten that one, the run goes back to it and asks its agent, who has not.
// - Only an attempt's own verdict is final: the numbers never exceed `retries` + 1, and two of them are never open at once.

extension RunKnowledge {
  /// The delay before the present attempt is over.
  public mutating func delayIsOver() { held = false }

  /// Ends a run that was never sent, or whose later attempt never was (`RunDuty.endAlone`). The verdict is that of the present attempt then.
  public mutating func endAlone(_ verdict: RunState) {
    if attempt > 1 { attempt -= 1 }
    held = false
    state = verdict
  }

  /// The verdict of a run that ends in the store alone.
  func verdictAlone(_ cause: EndCause) -> RunState {
    if attempt > 1 { return lastVerdict ?? .lost }
    return cause == .expired ? .expired : .cancelled
  }

  /// The present attempt ended and was, or may have been, started.
  /// - Parameter closing: the word came from a journal that never had it: the next one may be a matter of the old journal as well.
  mutating func attemptEnded(_ verdict: RunState, closing: Bool) -> Hearing {
    guard retries.follows(attempt, verdict), wantsEnd == nil || doubtful else {
      state = verdict
      return .ended(verdict)
    }
    attempt += 1
    begin(doubtful ? .sent : .queued)
    self.closing = doubtful && closing
    lastVerdict = verdict
    held = true
    return .nextAttempt(after: verdict)
  }

  /// The present attempt ended and never was started.
  mutating func neverStarted(_ verdict: RunState) -> Hearing {
    guard attempt > 1 else {
      state = verdict
      return .ended(verdict)
    }
    if let last = lastVerdict {
      endAlone(last)
      return .ended(last)
    }
    goBack(to: attempt - 1, wantsEnd ?? .cancelled)
    return .moved
  }

  /// A word about another attempt than the present one. Nil: the run has gone forward to that one, and the word is about the present one now.
  mutating func hearOfAnother(_ word: AgentWord, _ number: Int) -> Hearing? {
    guard number > attempt, number <= retries.attempts else { return .refused }
    switch word {
    case .unknown:
      // That it was asked about once says that it may exist, and nothing else.
      return .noted
    case .tombstone(let cause): return overtaken(by: number, cause)
    case .ended(let verdict) where verdict.saysNeverStarted:
      return overtaken(by: number, verdict == .expired ? .expired : .cancelled)
    case .taken, .running, .ended:
      goForward(to: number)
      return nil
    }
  }

  /// A later attempt was ended before it was started: the one before it is the last.
  private mutating func overtaken(by number: Int, _ cause: EndCause) -> Hearing {
    if number - 1 > attempt { goForward(to: number - 1) }
    if wantsEnd == nil { wantsEnd = cause }
    return .moved
  }

  private mutating func goForward(to number: Int) {
    attempt = number
    begin(.sent)
    doubtful = true
  }

  /// It was there once, and its agent tells how it ended.
  private mutating func goBack(to number: Int, _ cause: EndCause) {
    attempt = number
    begin(.sent)
    reported = true
    wantsEnd = cause
  }

  private mutating func begin(_ state: RunState) {
    self.state = state
    reported = false
    closing = false
    markedHere = false
    denied = false
    tomb = nil
    lastVerdict = nil
    held = false
  }
}
