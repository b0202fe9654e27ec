// The dashboard's decisions about one agent (DESIGN section 3: identity, send numbers), without I/O and without a clock. `AgentKnowledge` is what
// the store keeps of it; the loops and the explorer call the same functions. What follows for each of the agent's runs stands in `RunFlow`.

/// What the dashboard knows of one agent.
public struct AgentKnowledge: Sendable, Equatable {
  /// The journal that spoke last in its stream; nil: none ever did.
  public var journal: JournalID?
  /// The highest send number given out.
  public var number: SendNumber

  public init(journal: JournalID? = nil, number: SendNumber = .zero) {
    self.journal = journal
    self.number = number
  }

  /// Rule `stream`: the agent speaks, in the order of its stream, with this journal. True: the identity changed, and each of its runs has to
  /// hear of it (`RunKnowledge.journalChanged`).
  public mutating func speaks(with journal: JournalID) -> Bool {
    guard self.journal != journal else { return false }
    defer { self.journal = journal }
    return self.journal != nil
  }

  /// Rules `number`, `told`: Redis or the agent knows this send number. True: it is above the store's own, so the store is a restored copy,
  /// and each of the agent's open runs may have been sent (`RunKnowledge.storeWasRestored`). One whose fence is above the present one is no
  /// mistake: it is all that tells a copy that was put back beside an empty Redis, which has forgotten the fences.
  public mutating func learns(_ known: SendNumber) -> Bool {
    guard known > number, known.isCredible else { return false }
    number = known
    return true
  }

  /// Rule `pair`: the comparison under a fence also raises the number to `fence:0`, so that what this process gives out is above whatever an
  /// earlier one did. True as for `learns`.
  public mutating func compares(_ known: SendNumber, under fence: Fence) -> Bool {
    let restored = learns(known)
    number = max(number, SendNumber(fence: fence))
    return restored
  }

  /// Rule `mark`: for the next run that is marked as sent; the number is committed with the mark.
  public mutating func nextMark() -> SendMark {
    number = number.next
    return SendMark(number: number, journal: journal)
  }
}

/// What a run carries from its marking to its sending.
public struct SendMark: Sendable, Equatable {
  public var number: SendNumber
  /// Rule `meant`: the journal that the store took for the agent's when the run was marked, or read to be sent again; the envelope is for that one
  /// and no other. When another journal speaks for the agent by the time of the sending, the run is that one's matter already (rule `close`):
  /// taken by it, it could be started a second time. Nil: no journal has ever spoken for this agent.
  public var journal: JournalID?

  public init(number: SendNumber, journal: JournalID?) {
    self.number = number
    self.journal = journal
  }
}
