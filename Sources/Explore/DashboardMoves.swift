// What the dashboard may do next. Each decision is `RunKnowledge`'s, `AgentKnowledge`'s or `CommittedSequence`'s, as in Dashboard/Loops and
// Dashboard/Store; what is here is what those files do around them. Beside each step stands where it is done for real.
import Shared

extension World {
  var isOpen: Bool { store.state < At.succeeded }
  var compared: Bool { dashboard.compared == 1 }
  /// Whom the dashboard takes for the agent: who spoke last (`Desk.address`).
  var addressee: UInt8 { Names.address(store.journal, store.incarnation) }

  var knowledge: RunKnowledge {
    RunKnowledge(
      state: Names.states[Int(store.state)], wantsEnd: store.wantsEnd == 1 ? .cancelled : nil, reported: store.reported == 1,
      closing: store.closing == 1, markedHere: dashboard.marked != 0, denied: dashboard.denied == 1,
      tomb: dashboard.tombstoned == 1 ? .cancelled : nil)
  }

  /// Writes back what a decision changed.
  mutating func keep(_ knowledge: RunKnowledge, alone isAlone: Bool = false) {
    let state = Names.state(knowledge.state)
    if isOpen && state >= At.succeeded {
      if isAlone { alone = 1 }
      judge(verdict: state)
      dashboard.tombstoned = 0
    }
    store.state = state
    store.wantsEnd = knowledge.wantsEnd == nil ? 0 : 1
    store.reported = knowledge.reported ? 1 : 0
    store.closing = knowledge.closing ? 1 : 0
    dashboard.denied = knowledge.denied ? 1 : 0
    if !knowledge.markedHere {
      dashboard.marked = 0
      dashboard.markedNumber = 0
    }
  }

  mutating func dashboardDies() {
    dashboard = DashboardState()
    dashboard.up = 0
    dashboard.compared = 0
  }

  /// A newer dashboard was here: this one stands by, and begins anew under a higher fence.
  mutating func heed(_ refusal: RedisMirror.Refusal?) -> Bool {
    guard refusal != nil else { return true }
    dashboardDies()
    return false
  }
}

extension Setting {
  /// What the scripts are told of the fence. Rule `fence` left out: they neither refuse nor raise.
  @inline(__always) func fenced<T>(_ world: inout World, _ fence: UInt8, _ script: (inout RedisState, UInt8) -> T) -> T {
    if has(.fence) { return script(&world.redis, fence) }
    world.redis.fence = 0
    defer { world.redis.fence = 0 }
    return script(&world.redis, 0)
  }

  func circumstances(_ world: World) -> RunCircumstances {
    RunCircumstances(
      agentLives: world.redis.lease != 0 || !has(.alive), compared: world.compared || !has(.number), silent: true, room: true)
  }

  // MARK: The user, and the clock

  func userMoves(_ world: World, _ out: inout Moves) {
    if world.isOpen && world.store.wantsEnd == 0 {
      out.add("the user cancels it (or its time to start has passed)", world, fault: true) { $0.store.wantsEnd = 1 }
    }
  }

  // MARK: Sender

  func sendingMoves(_ world: World, _ out: inout Moves) {
    let compared = world.compared || !has(.number)
    if !compared { out.add("the dashboard compares the send numbers", world) { compare(&$0) } }
    let lives = world.redis.lease != 0 || !has(.alive)
    var knowledge = world.knowledge
    if !has(.ask), world.store.state == At.sent, world.dashboard.marked == 0, world.store.wantsEnd == 0 {
      knowledge.denied = true
    }
    switch knowledge.due(circumstances(world)) {
    case .mark where has(.mark):
      // FlowMarks.mark, or Sender.admit inside the accepting transaction.
      out.add("the dashboard marks it as sent in the store", world) { w in
        w.store.state = At.sent
        takeUp(&w, nextMark(&w))
      }
    case .mark
    where world.dashboard.marked == 0 && (world.dashboard.sentUnmarked == 0 || world.dashboard.denied == 1 || !has(.ask)):
      out.add("the dashboard takes it up to send it, unmarked", world) { w in
        takeUp(&w, w.dashboard.sentUnmarked == 0 ? nextMark(&w) : presentMark(w))
        w.dashboard.denied = 0
      }
    case .send where world.dashboard.marked == 0:
      // FlowMarks.load: denied since.
      out.add("the dashboard reads it to send it again", world) { w in
        takeUp(&w, presentMark(w))
        w.dashboard.denied = 0
      }
    default: break
    }
    if world.dashboard.marked != 0, compared, lives {
      out.add("the dashboard sends it", world) { w in
        let journal = meantFor(w)
        let number = w.dashboard.markedNumber
        let answer = fenced(&w, w.dashboard.fence) {
          RedisMirror.send(&$0, fence: $1, number: number, journal: journal, envelopeNumber: number)
        }
        if case .refused(let refusal) = answer, !w.heed(refusal) { return }
        wasSent(&w, refused: answer == .tombstoned)
      }
      if world.left.net > 0 {
        if world.network.send == 0 {
          out.add("the dashboard sends it, the command is delayed, it sees a timeout", world, fault: true) { w in
            w.left.net -= 1
            w.network.send = 1 + meantFor(w)
            w.network.sendFence = w.dashboard.fence
            w.network.sendNumber = w.dashboard.markedNumber
            wasSent(&w, refused: false)
          }
        }
        out.add("the dashboard sends it, the reply is lost", world, fault: true) { w in
          w.left.net -= 1
          let journal = meantFor(w)
          let number = w.dashboard.markedNumber
          _ = fenced(&w, w.dashboard.fence) {
            RedisMirror.send(&$0, fence: $1, number: number, journal: journal, envelopeNumber: number)
          }
          wasSent(&w, refused: false)
        }
      }
    }
    if world.dashboard.sentUnmarked == 1 {
      out.add("the dashboard marks as sent what it has sent", world) { w in
        w.dashboard.sentUnmarked = 2
        if w.store.state == At.queued { w.store.state = At.sent }
      }
    }
    if world.left.more > 0, compared || !has(.before), world.store.number & 3 < 3 {
      out.add("another run of this agent is marked", world, fault: true) { w in
        w.left.more -= 1
        _ = nextMark(&w)
        w.dashboard.more = 1
      }
    }
    if world.dashboard.more == 1, compared {
      out.add("another run of this agent is sent", world, fault: true) { w in
        w.dashboard.more = 0
        let number = w.store.number
        // A script of that agent: what it does to X's inbox is nothing.
        _ = w.heed(
          fenced(&w, w.dashboard.fence) { redis, fence in
            guard fence >= redis.fence else { return RedisMirror.Refusal.fenced }
            redis.fence = fence
            redis.sends = max(redis.sends, number)
            return nil
          })
      }
    }
  }

  /// FlowMarks.next.
  func nextMark(_ world: inout World) -> SendMark {
    var agent = AgentKnowledge(journal: Names.journal(world.store.journal), number: Names.number(world.store.number))
    let mark = agent.nextMark()
    world.store.number = Names.number(agent.number)
    return mark
  }

  /// FlowMarks.load: of a run that was marked before.
  func presentMark(_ world: World) -> SendMark {
    SendMark(number: Names.number(world.store.number), journal: Names.journal(world.store.journal))
  }

  private func takeUp(_ world: inout World, _ mark: SendMark) {
    guard let journal = mark.journal else { preconditionFailure("a journal has spoken, and the mark names none") }
    world.dashboard.marked = 1 + Names.journal(journal)
    world.dashboard.markedNumber = Names.number(mark.number)
  }

  func meantFor(_ world: World) -> UInt8 { has(.meant) ? world.dashboard.marked - 1 : world.store.journal }

  /// Sender.flush, and FlowMarks.refused.
  func wasSent(_ world: inout World, refused: Bool) {
    var knowledge = world.knowledge
    if refused && has(.heed) { knowledge.sendRefused() } else { knowledge.wasSent() }
    if !has(.mark), world.store.state == At.queued { world.dashboard.sentUnmarked = 1 }
    world.keep(knowledge)
  }

  /// Sender.compare: the script, then one transaction.
  func compare(_ world: inout World) {
    let answer = fenced(&world, world.dashboard.fence) { redis, fence in
      let before = redis.fence
      let answer = RedisMirror.compare(&redis, fence: fence)
      if !has(.raises) { redis.fence = before }
      return answer
    }
    guard world.heed(answer.refusal) else { return }
    var agent = AgentKnowledge(number: Names.number(world.store.number))
    let restored = agent.compares(Names.number(answer.known), under: has(.pair) ? Fence(world.dashboard.fence) : 0)
    world.store.number = Names.number(agent.number)
    world.dashboard.compared = 1
    if restored { storeWasRestored(&world) }
  }

  /// AgentRow.storeWasRestored: one statement for every queued run.
  func storeWasRestored(_ world: inout World) {
    var knowledge = world.knowledge
    knowledge.storeWasRestored()
    world.keep(knowledge)
  }

  // MARK: Reconciler: ends

  func endingMoves(_ world: World, _ out: inout Moves) {
    guard world.isOpen, world.store.wantsEnd == 1 else {
      if world.store.tombOwed == 1 {
        out.add("the dashboard writes the tombstone that it owed", world) { w in
          w.redis.tomb = 1
          w.store.tombOwed = 0
        }
      }
      return
    }
    var knowledge = world.knowledge
    if !has(.tomb) { knowledge.tomb = .cancelled }
    // A rule left out: what may have been sent is taken for never sent.
    let neverSentByMistake = !has(.word) && world.store.state == At.sent || !has(.noDenial) && knowledge.denied
    if neverSentByMistake, !knowledge.closing { knowledge.state = .queued }
    if !has(.mark), world.dashboard.sentUnmarked != 0 { knowledge.state = .sent }
    if knowledge.isToBeWithdrawn, world.redis.inbox != 0 {
      out.add("the dashboard takes it out of the inbox", world) { w in
        _ = w.heed(fenced(&w, w.dashboard.fence) { RedisMirror.withdraw(&$0, fence: $1).refusal })
      }
    }
    switch knowledge.due(circumstances(world)) {
    case .tombstone:
      out.add("the dashboard puts a tombstone into Redis", world) { w in entomb(&w) }
      if !has(.tombFirst), world.left.away > 0 {
        out.add("Redis is away: the dashboard ends it in the store alone and owes the tombstone", world, fault: true) { w in
          w.left.away -= 1
          w.store.tombOwed = 1
          endAlone(&w, knowledge)
        }
      }
    case .endAlone:
      out.add("the dashboard ends it in the store alone: cancelled", world) { w in endAlone(&w, knowledge) }
    case .askToCancel: ask(world, Asked.cancel, "the dashboard asks the agent to cancel it", &out)
    default: break
    }
  }

  /// CollectorTools.entomb.
  func entomb(_ world: inout World) {
    let number = world.store.number
    guard world.heed(fenced(&world, world.dashboard.fence) { RedisMirror.tombstone(&$0, fence: $1, number: number) }) else {
      return
    }
    world.dashboard.tombstoned = 1
  }

  /// FlowEnds.endAlone judges once more, with the tombstone there.
  func endAlone(_ world: inout World, _ knowledge: RunKnowledge) {
    var knowledge = knowledge
    knowledge.tomb = .cancelled
    let now = RunCircumstances(agentLives: false, compared: true, silent: false, room: false)
    guard case .endAlone(let verdict) = knowledge.due(now) else { return }
    knowledge.state = verdict
    world.keep(knowledge, alone: true)
  }

  // MARK: Reconciler: questions

  func askingMoves(_ world: World, _ out: inout Moves) {
    guard world.isOpen else { return }
    if world.store.closing == 1, world.knowledge.due(circumstances(world)) == .askToClose {
      ask(world, Asked.close, "the dashboard puts it to the new journal", &out)
    }
    // From here on an agent that holds its lease and is the one that the dashboard takes for it: a question and the hearing of it are one step,
    // for what a question says does not depend on when it is heard.
    let listens = world.agent.up == 2 && world.redis.lease == world.address
    // Reconciler.askAgain: after a new incarnation, process or fence, and after 30 s of silence.
    if listens, world.canSay, world.addressee == world.address, world.dashboard.marked == 0,
      world.knowledge.maybeSent || world.dashboard.sentUnmarked != 0
    {
      out.add("the dashboard asks the agent what became of it", world) { w in
        let number = has(.asks) ? w.store.number : 0
        let address = w.address
        let refusal = fenced(&w, w.dashboard.fence) { redis, fence in
          let asked = (redis.asked, redis.askedOf)
          defer { (redis.asked, redis.askedOf) = asked }
          return RedisMirror.control(&redis, fence: fence, number: number, kind: 0, to: address)
        }
        if w.heed(refusal) { answer(.reconcile, &w) }
      }
    }
    // PresenceWatcher.greetStranger: a lease whose holder the dashboard has never heard, nor is about to.
    if listens, world.agent.incarnation != world.store.incarnation, !world.redis.stream0.isThere, world.agent.count == 0 {
      out.add("the dashboard asks a stranger to introduce itself", world) { $0.agent.up = 1 }
    }
  }

  /// Reconciler.say. Hints: not repeated here while one of them waits.
  func ask(_ world: World, _ kind: UInt8, _ words: StaticString, _ out: inout Moves) {
    let address = world.addressee
    // To somebody who is gone: of no effect.
    guard address == world.redis.lease || !has(.named) else { return }
    guard world.redis.askedOf != address || world.redis.asked & kind == 0 else { return }
    out.add(words, world) { w in
      let number = has(.asks) ? w.store.number : 0
      _ = w.heed(fenced(&w, w.dashboard.fence) { RedisMirror.control(&$0, fence: $1, number: number, kind: kind, to: address) })
    }
  }

  // MARK: Life

  func dashboardLife(_ world: World, _ out: inout Moves) {
    if world.dashboard.up == 0 {
      // StandingKeeper.take.
      out.add("the dashboard starts", world) { w in
        w.dashboard.up = 1
        guard fences else { return }
        var fence = w.store.fence + 1
        if has(.kept) {
          while true {
            let before = RedisMirror.raiseFence(&w.redis, to: fence)
            if before < fence { break }
            fence = before + 1
          }
        }
        w.store.fence = fence
        w.dashboard.fence = fence
      }
    } else {
      if world.left.dashboard > 0 {
        out.add("the dashboard crashes", world, fault: true) { w in
          w.left.dashboard -= 1
          w.dashboardDies()
        }
      }
      if world.left.restore > 0, world.hasCopy == 0 {
        out.add("a copy of the database is made", world, fault: true) { w in
          w.hasCopy = 1
          w.copy = w.store
        }
      }
      if world.left.remove > 0, world.isOpen, world.knowledge.maybeSent || world.dashboard.sentUnmarked != 0 {
        out.add("the operator removes the agent: its journal is fenced, the run is lost", world, fault: true) { w in remove(&w) }
      }
    }
    guard world.left.restore > 0, world.hasCopy == 1 else { return }
    out.add("the dashboard is killed and its database restored from the copy", world, fault: true) { w in
      w.left.restore -= 1
      w.dashboardDies()
      w.store = w.copy
      w.copy = StoreState()
      w.hasCopy = 0
      w.past |= Past.restore
    }
    if world.left.restore > 1 {
      out.add("the dashboard is killed and its database restored from the copy, the replaced file kept", world, fault: true) {
        w in
        w.left.restore -= 1
        w.dashboardDies()
        (w.store, w.copy) = (w.copy, w.store)
        w.past |= Past.restore
      }
    }
  }

  func remove(_ world: inout World) {
    world.left.remove -= 1
    world.redis.fenced |= 1 << world.store.journal
    if has(.asks) { world.redis.sends = max(world.redis.sends, world.store.number) }
    // Before the confirm nothing may start; after it nobody can stop an agent that cannot be reached.
    let confirmed = world.agent.confirmed == 1 && world.disk.word == Word.taken
    world.removed = confirmed || world.disk.handed == 1 || world.agent.hand != 0 || world.twin == 2 ? 2 : 1
    if world.verdict == 0 { world.verdict = At.lost }
    world.store.state = At.lost
  }
}
