// What must hold in every state: P1 to P7 of `shared/model`, with the exceptions that DESIGN lists as not closable. P2, that a verdict can be
// reached without a further fault, is `Search`'s.
// When adding a property: its words here, and the state it needs in `World`, below "For the properties alone".

enum Property: String, CaseIterable, Sendable {
  case p1, p2, p3, p4, p5, p6, p7

  var name: String { rawValue.uppercased() }

  var words: String {
    switch self {
    case .p1: "no second start"
    case .p2: "from every state a verdict can be reached without a fault"
    case .p3: "cancelled, expired or rejected: never started"
    case .p4: "succeeded: one start that ran to its end; never lost with the exit record there"
    case .p5: "no verdict is contradicted later"
    case .p6: "nothing starts after a verdict"
    case .p7: "lost only after a runner killed, a reboot or a journal's fault"
    }
  }

  static func broken(_ world: World) -> Property? {
    let tombGone = world.past & Past.redis != 0 && world.past & Past.restore != 0 && world.alone == 1
    let saysNever =
      world.verdict == At.cancelled || world.verdict == At.rejected || world.store.state == At.cancelled
      || world.store.state == At.rejected
    if world.starts > 1 { return .p1 }
    if saysNever && world.starts > 0 && !tombGone { return .p3 }
    if world.store.state == At.succeeded && !(world.starts == 1 && world.ended == 1) { return .p4 }
    if world.bad & Bad.lostThoughExit != 0 { return .p4 }
    if world.bad & Bad.contradicted != 0 { return .p5 }
    if world.bad & Bad.late != 0 && !tombGone { return .p6 }
    if world.bad & Bad.removed != 0 && world.past & Past.redis == 0 { return .p6 }
    if world.bad & Bad.lostForNothing != 0 { return .p7 }
    return nil
  }
}

extension World {
  /// Not closable: a host rolled back and Redis flushed or fallen back. Not followed any further.
  var isBeyondPromise: Bool { past & Past.rollback != 0 && past & Past.redis != 0 }

  /// The store has a verdict now.
  mutating func judge(verdict now: UInt8) {
    guard verdict != 0 else {
      verdict = now
      let causes = Past.kill | Past.reboot | Past.journal | Past.twin | Past.forgot
      if now == At.lost && past & causes == 0 { bad |= Bad.lostForNothing }
      return
    }
    guard verdict != now else { return }
    // Not closable, after a restore: a changed journal knows nothing; the tombstone or the send number of an end in the store alone is gone with
    // Redis; a copy older than the journal's memory.
    let journalGone = past & (Past.journal | Past.twin) != 0 && now == At.lost
    let tombGone = past & Past.redis != 0 && alone == 1
    let forgotten = past & Past.forgot != 0 && now == At.lost
    if !(past & Past.restore != 0 && (journalGone || tombGone || forgotten)) { bad |= Bad.contradicted }
  }

  /// The command was started.
  mutating func started() {
    starts = min(3, starts + 1)
    runner = 2
    guard verdict != 0 else { return }
    // Not closable: an operator removed the agent when it had confirmed already.
    if removed == 1 { bad |= Bad.removed } else if removed == 0 { bad |= Bad.late }
  }
}
