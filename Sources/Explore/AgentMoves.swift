// What the agent may do next. Each decision is `AttemptFlow`'s, as in Agent/Work; what is here is what those files do around them: what a new
// process knows, what goes into a confirm, what is said and when. Beside each step stands where it is done for real.
import Shared

extension World {
  var address: UInt8 { Names.address(disk.journal, agent.incarnation) }
  var isTaken: Bool { disk.word == Word.taken }
  /// With a runner, or maybe with one (`Attempt.Stage.working`).
  var isWorking: Bool { isTaken && disk.handed == 1 && agent.again == 0 }
  var isWaiting: Bool { isTaken && !isWorking }
  var hasEnded: Bool { disk.word >= Word.tombstone }
  /// The position that a confirm records.
  func position(_ setting: Setting) -> UInt8 { disk.synced == 0 && setting.has(.posSync) ? disk.count - 1 : disk.count }

  mutating func agentDies() {
    let incarnation = agent.incarnation
    agent = AgentState()
    agent.up = 0
    agent.incarnation = incarnation
    agent.oldest = 1
  }

  mutating func record(_ word: UInt8, synced: UInt8) {
    disk.word = word
    disk.count += 1
    disk.synced = synced
    disk.acknowledged = 0
    agent.looked = 0
    agent.saidEnded = 0
    if word != Word.taken {
      agent.hand = 0
      agent.again = 0
    }
  }

  mutating func lose() {
    if disk.exit != 0 { bad |= Bad.lostThoughExit }
    record(Word.lost, synced: 0)
    if disk.handed == 0 && agent.confirmed == 0 { agent.unconfirmed = 1 }
  }

  mutating func say(_ kind: UInt8, _ setting: Setting) {
    agent.append(kind)
    if kind >= Saying.tombstone {
      agent.saidEnded = 1
      if setting.has(.endSync) { disk.synced = 1 }
    }
    if kind == Saying.running { agent.saidRunning = 1 }
    deliver()
  }

  /// The next report that was not sent goes into the stream.
  mutating func deliver() {
    let report = Report(
      agent.saying(agent.cursor), journal: disk.journal, incarnation: agent.incarnation, sequence: agent.oldest + agent.cursor,
      behind: agent.cursor)
    guard RedisMirror.append(&redis, report) else { return }
    if report.kind == Saying.hello { redis.told = max(redis.told, disk.sends) }
    agent.cursor += 1
  }

  /// Worker+Courier: what the store has committed is not kept any longer.
  mutating func acknowledge() {
    guard store.incarnation == agent.incarnation else { return }
    while agent.count > 0, agent.oldest <= store.sequence {
      if agent.say0 >= Saying.tombstone, hasEnded { disk.acknowledged = 1 }
      agent.dropFirst()
    }
  }

  /// Something new is said only when all before it was sent and there is room: saying and sending are one step.
  var canSay: Bool { agent.up == 2 && agent.cursor == agent.count && agent.count < 3 && !redis.isFull }
}

extension Setting {
  /// What the agent knows of X (`Attempts.knowledge`).
  func knowledge(_ world: World) -> AttemptKnowledge {
    if world.hasEnded && world.disk.acknowledged == 1 { return AttemptKnowledge(record: .ended, confirmed: true) }
    var known = AttemptKnowledge(
      record: Names.record(world.disk.word), takenThisBoot: world.disk.reboot == 0, confirmed: world.agent.confirmed == 1)
    if world.disk.handed == 1 { known.wasHandedOff() }
    if world.agent.again == 1 { known.goesBack() }
    return known
  }

  private func forgotten(_ world: World) -> ULID? { world.disk.forgot == 1 && has(.horizon) ? Names.task : nil }

  func mayReport(_ world: World) -> Bool {
    var known = knowledge(world)
    if !has(.sure) || world.disk.word == Word.tombstone && !has(.tombSure) { known.wasConfirmed() }
    return AttemptFlow.mayReport(known)
  }

  private func judge(_ world: World, exit: Bool) -> Judgement {
    var known = knowledge(world)
    if !has(.boot) { known.takenThisBoot = true }
    let traces = AttemptTraces(
      runnerLives: has(.gone) && world.runner != 0, exitRecord: exit, outputFile: has(.file) && world.disk.file == 1)
    return AttemptFlow.judge(known, traces)
  }

  // MARK: Worker+Recovery

  func agentStart(_ world: World, _ out: inout Moves) {
    out.add("the agent starts", world) { w in
      w.agent.up = 1
      w.agent.incarnation += 1
      guard w.disk.word != Word.none, w.disk.acknowledged == 0, w.disk.handed == 0 else { return }
      // LostHandOffs: the runners' records are looked through, they name it from the runner's beginning on.
      if has(.records), w.isTaken, w.disk.exit != 0 || w.runner == 2 {
        w.disk.handed = 1
        return
      }
      w.agent.unconfirmed = 1
      guard w.isTaken, has(.taking) else { return }
      if judge(w, exit: false) == .lost { w.lose() }
    }
  }

  func agentMoves(_ world: World, _ out: inout Moves) {
    if world.agent.up == 1 { registrationMoves(world, &out) }
    if world.agent.up == 2 {
      if world.redis.lease != world.address {
        out.add("the agent finds its lease gone", world) { $0.agent.up = 1 }
      } else {
        takingMoves(world, &out)
        controlMoves(world, &out)
      }
      reportMoves(world, &out)
      startMoves(world, &out)
    }
    lookingMoves(world, &out)
    if world.left.other > 0, world.disk.synced == 1 {
      out.add("the agent records the end of another run", world, fault: true) { w in
        w.left.other -= 1
        w.disk.count += 1
      }
    }
    if world.left.agent > 0 {
      out.add("the agent crashes", world, fault: true) { w in
        w.left.agent -= 1
        w.agentDies()
      }
    }
  }

  // MARK: Worker+Registration

  private func registrationMoves(_ world: World, _ out: inout Moves) {
    var asked = world.redis
    let first = RedisMirror.takeLease(&asked, address: world.address, checked: false)
    guard first == .ok || first == .position else { return }
    if first == .position, lacks(world) {
      out.add("the agent's journal lacks the last record that Redis holds: it takes a new id", world) { w in
        let isWaiting = w.isWaiting
        w.disk.journal = w.nextJournal
        w.nextJournal += 1
        w.disk.count += 1
        w.disk.synced = 1
        w.agent.seen = 0
        guard w.isTaken else { return }
        var known = knowledge(w)
        known.changedIdentity()
        w.disk.reboot = known.takenThisBoot ? 0 : 1
        if isWaiting { w.lose() }
      }
      return
    }
    out.add("the agent takes its lease", world) { w in
      _ = RedisMirror.takeLease(&w.redis, address: w.address, checked: true)
      w.agent.up = 2
      w.agent.cursor = 0
      // Worker+Registration goes on with a confirm, also of nothing: the position stands in Redis.
      _ = confirm(
        &w, from: w.address, journal: w.disk.journal, count: w.position(self), epoch: w.disk.epoch, removes: false)
      if !w.agent.says(Saying.hello), w.agent.count < 4 { w.agent.append(Saying.hello) }
    }
  }

  /// Rule `position`, by the real function; a journal's nonces are those of its lives.
  private func lacks(_ world: World) -> Bool {
    guard has(.position) else { return false }
    let redis = world.redis
    let disk = world.disk
    let stored = JournalPosition(
      journal: Names.journal(redis.positionJournal), count: UInt64(redis.positionCount), nonce: Nonce(UInt64(redis.positionEpoch))
    )
    return AttemptFlow.lacks(stored, journal: Names.journal(disk.journal)) { count in
      guard count <= UInt64(disk.count) else { return nil }
      return count <= UInt64(disk.branch) || !has(.nonce) ? stored.nonce : Nonce(UInt64(disk.epoch))
    }
  }

  // MARK: Worker+Taking

  private func taking(_ world: World) -> Taking {
    var known = knowledge(world)
    if !has(.first) { known = AttemptKnowledge() }
    return AttemptFlow.take(
      known, task: Names.task, meantFor: has(.bind) ? Names.journal(world.redis.inbox - 1) : nil,
      journal: Names.journal(world.disk.journal), forgotten: forgotten(world))
  }

  private func takingMoves(_ world: World, _ out: inout Moves) {
    if world.redis.inbox != 0, world.agent.seen == 0 {
      switch taking(world) {
      case .leaveAlone: break
      case .confirmAway where world.agent.unconfirmed == 1: break
      case .confirmAway:
        out.add("the agent reads an id that it knows and confirms it away", world) { w in
          w.agent.unconfirmed = 1
          confirmed(&w, refusal: confirm(&w))
        }
      case .take where faults.twin == 0:
        // What comes between the reading and the writing changes nothing of either: one step, unless the host may be cut off there.
        out.add("the agent reads the inbox and journals it as taken", world) { w in
          w.agent.seen = 1 + w.redis.inboxNumber
          take(&w)
        }
      case .take, .lost: out.add("the agent reads the inbox", world) { $0.agent.seen = 1 + $0.redis.inboxNumber }
      }
    }
    if world.agent.seen != 0 {
      // Judged anew at the moment of the writing: a control message may have come between.
      var bound = world
      bound.redis.inbox = 1 + world.disk.journal
      switch taking(bound) {
      case .leaveAlone: break
      case .confirmAway:
        out.add("the agent knows by now what it read", world) { w in
          w.agent.seen = 0
          w.agent.unconfirmed = 1
        }
      case .take:
        out.add("the agent journals it as taken", world) { take(&$0) }
      case .lost:
        out.add("the agent journals as lost what is older than its memory", world) { w in
          w.agent.seen = 0
          w.record(Word.lost, synced: 1)
          w.agent.confirmed = 0
          w.agent.unconfirmed = 1
        }
      }
    }
    guard world.agent.unconfirmed == 1 else {
      if world.left.net > 0, world.network.confirm == 0 { delayConfirm(world, &out) }
      return
    }
    out.add("the agent confirms", world) { w in confirmed(&w, refusal: confirm(&w)) }
    if world.left.net > 0 {
      out.add("the agent confirms, the reply is lost", world, fault: true) { w in
        w.left.net -= 1
        _ = confirm(&w)
      }
      if world.network.confirm == 0 { delayConfirm(world, &out) }
    }
  }

  private func take(_ world: inout World) {
    world.disk.sends = max(world.disk.sends, world.agent.seen - 1)
    world.agent.seen = 0
    world.record(Word.taken, synced: 1)
    world.disk.reboot = 0
    world.disk.handed = 0
    world.agent.hand = 0
    world.agent.again = 0
    world.agent.confirmed = 0
    world.agent.unconfirmed = 1
    world.agent.saidRunning = 0
  }

  private func confirmed(_ world: inout World, refusal: RedisMirror.Refusal?) {
    guard refusal == nil else {
      world.agent.up = 1
      return
    }
    world.agent.unconfirmed = 0
    var known = knowledge(world)
    known.wasConfirmed()
    world.agent.confirmed = known.confirmed ? 1 : 0
  }

  private func confirm(_ world: inout World) -> RedisMirror.Refusal? {
    confirm(
      &world, from: world.address, journal: world.disk.journal, count: world.position(self), epoch: world.disk.epoch,
      removes: world.agent.unconfirmed == 1)
  }

  private func delayConfirm(_ world: World, _ out: inout Moves) {
    out.add("a confirm (of whatever run) is delayed, the agent sees a timeout", world, fault: true) { w in
      w.left.net -= 1
      w.network.confirm = w.address
      w.network.confirmCount = w.position(self)
      w.network.confirmEpoch = w.disk.epoch
    }
  }

  /// The confirm script, without the rules that are left out.
  func confirm(_ world: inout World, from address: UInt8, journal: UInt8, count: UInt8, epoch: UInt8, removes: Bool)
    -> RedisMirror.Refusal?
  {
    let before = world.redis
    if !has(.lease) { world.redis.lease = address }
    if !has(.fenced) { world.redis.fenced = 0 }
    if !has(.forward) { world.redis.positionJournal = 0 }
    let refusal = RedisMirror.confirm(
      &world.redis, address: address, journal: journal, count: count, epoch: epoch, removes: removes)
    world.redis.lease = before.lease
    world.redis.fenced = before.fenced
    if refusal != nil { world.redis = before }
    return refusal
  }

  // MARK: Worker+Control, Worker+Commands

  private func controlMoves(_ world: World, _ out: inout Moves) {
    let asked = world.redis.asked
    guard asked != 0 else { return }
    let isForUs =
      AttemptFlow.heeds(
        Names.address(world.redis.askedOf), fence: nil, at: Names.address(world.address), highest: 0) || !has(.named)
    guard isForUs else {
      out.add("the agent drops a message to somebody else", world) { $0.redis.asked = 0 }
      return
    }
    if asked & Asked.cancel != 0 {
      out.add("the agent is asked to cancel it", world) { w in
        w.redis.asked &= ~Asked.cancel
        answer(.cancel, &w)
      }
    }
    if asked & Asked.close != 0 {
      out.add("the agent is asked to close it", world) { w in
        w.redis.asked &= ~Asked.close
        answer(.close, &w)
      }
    }
  }

  func answer(_ kind: ControlMessage.Kind, _ world: inout World) {
    let reply = AttemptFlow.control(
      kind, cause: .cancelled, knowledge(world), task: Names.task, withRunner: world.isWorking, forgotten: forgotten(world))
    switch reply {
    case .nothing: break
    case .sayUnknown: if !world.agent.says(Saying.unknown) { world.say(Saying.unknown, self) }
    case .tombstone:
      world.record(Word.tombstone, synced: 1)
      world.agent.confirmed = 0
      world.agent.unconfirmed = 1
    case .lost:
      world.record(Word.lost, synced: 1)
      world.agent.confirmed = 0
      world.agent.unconfirmed = 1
    case .endUnstarted:
      guard world.isWaiting else { break }
      world.record(Word.cancelled, synced: 0)
      if world.agent.confirmed == 0 { world.agent.unconfirmed = 1 }
    case .kill:
      // Before it runs, the runner does not listen yet: the message is repeated.
      guard world.runner == 2 else { break }
      world.runner = 0
      world.disk.exit = 2
    case .report:
      if kind == .reconcile && !has(.answer) && world.hasEnded { break }
      if world.hasEnded {
        // Said by `reportMoves`, when there is room.
        // `reportSettled`: known, so confirmed.
        if world.disk.acknowledged == 1 { world.agent.confirmed = 1 }
        world.disk.acknowledged = 0
        if !world.agent.says(Saying.ofWord[Int(world.disk.word)]) { world.agent.saidEnded = 0 }
      } else if kind == .reconcile, mayReport(world) {
        let saying = world.isWorking && world.runner == 2 ? Saying.running : Saying.taken
        if !world.agent.says(saying) { world.say(saying, self) }
      }
    }
  }

  // MARK: Worker+Courier

  private func reportMoves(_ world: World, _ out: inout Moves) {
    let agent = world.agent
    if agent.cursor < agent.count, !world.redis.isFull {
      out.add("the agent sends its next report", world) { $0.deliver() }
    }
    if world.canSay {
      if world.isWorking, world.runner == 2, agent.saidRunning == 0 {
        out.add("the agent says that it runs", world) { $0.say(Saying.running, self) }
      }
      if world.hasEnded, world.disk.acknowledged == 0, agent.saidEnded == 0, mayReport(world) {
        out.add("the agent says how it ended", world) { $0.say(Saying.ofWord[Int($0.disk.word)], self) }
      }
    }
    let isAcknowledged = world.store.incarnation == agent.incarnation && world.store.sequence >= agent.oldest
    if world.dashboard.up == 1, isAcknowledged, agent.count > 0 {
      out.add("an acknowledgement reaches the agent", world) { $0.acknowledge() }
    }
    if agent.cursor > 0, !isAcknowledged, !world.redis.stream0.isThere {
      out.add("nothing is acknowledged: the agent goes back", world) { $0.agent.cursor = 0 }
    }
    if world.left.month > 0, world.hasEnded, world.disk.acknowledged == 1, world.runner == 0, agent.seen == 0 {
      out.add("thirty days pass, the journal forgets it", world, fault: true) { w in
        w.left.month -= 1
        w.disk.word = Word.none
        w.disk.forgot = 1
        w.disk.synced = 1
        w.disk.handed = 0
        w.disk.file = 0
        w.disk.exit = 0
        w.disk.acknowledged = 0
        w.agent.confirmed = 0
        w.agent.unconfirmed = 0
        w.agent.saidEnded = 0
        w.past |= Past.forgot
      }
    }
  }

  // MARK: Worker+Starting

  private func startMoves(_ world: World, _ out: inout Moves) {
    if world.isTaken, world.agent.hand == 0, world.runner == 0 {
      var known = knowledge(world)
      if !has(.confirm) { known.wasConfirmed() }
      if !has(.boot) || !has(.taking) { known.takenThisBoot = true }
      if AttemptFlow.mayStart(known) {
        out.add("the agent rejects it (policy, signature, expired)", world) { w in
          w.record(Word.rejected, synced: 0)
          if w.agent.confirmed == 0 { w.agent.unconfirmed = 1 }
        }
        if has(.handFirst) {
          out.add("the agent records the hand-off", world) { w in
            w.disk.handed = 1
            w.agent.again = 0
            w.agent.hand = 1
          }
        } else {
          out.add("the agent gives it to a runner, the hand-off is not recorded yet", world) { w in
            w.runner = 1
            w.agent.hand = 3
          }
        }
      }
    }
  }

  // MARK: Worker+Adoption

  /// Also without a lease: what was started is looked after all the same.
  private func lookingMoves(_ world: World, _ out: inout Moves) {
    guard world.isTaken else { return }
    if world.agent.hand == 1 {
      out.add("the agent gives it to a runner", world) { w in
        w.runner = 1
        w.agent.hand = 2
      }
      return
    }
    if world.agent.hand == 3 {
      out.add("the agent records the hand-off", world) { w in
        w.disk.handed = 1
        w.agent.again = 0
        w.agent.hand = 2
      }
      return
    }
    let isHanded = world.isWorking || !has(.taking) && world.disk.handed == 1
    guard isHanded else { return }
    // A runner of this process says how it ended; one of an earlier process is watched.
    if world.agent.hand == 2, world.runner != 0, has(.gone) { return }
    if !has(.order) {
      // Left out: the exit record is looked for first, then the runner.
      if world.agent.looked == 0, world.disk.exit == 0 {
        out.add("the agent looks: there is no exit record", world) { $0.agent.looked = 1 }
        return
      }
      if world.agent.looked == 0 {
        out.add("the agent finds the exit record", world) { ended(&$0) }
        return
      }
    }
    if !has(.plainFile), world.runner == 0, world.disk.exit == 0 { return makingMoves(world, &out) }
    let exit = has(.order) ? world.disk.exit != 0 : false
    switch judge(world, exit: exit) {
    case .adopt: break
    case .ended: out.add("the agent finds the exit record", world) { ended(&$0) }
    case .lost: out.add("the agent finds that it was started, or that the host was: lost", world) { $0.lose() }
    case .handOverAgain:
      out.add("the agent finds no output file: to be handed over again", world) { w in
        w.agent.again = 1
        w.agent.confirmed = 1
        w.agent.hand = 0
        w.agent.looked = 0
      }
    }
  }

  private func ended(_ world: inout World) {
    world.record(world.disk.exit == 1 ? Word.succeeded : Word.killed, synced: 0)
  }

  /// Rule `plainFile` left out: the agent makes the output file itself, to be sure that no runner will.
  private func makingMoves(_ world: World, _ out: inout Moves) {
    if world.disk.file == 0 {
      out.add("the agent makes the output file itself", world) { w in
        w.disk.file = 2
        w.agent.hand = 4
      }
    } else if world.agent.hand == 4, world.disk.reboot == 0 || !has(.boot) {
      out.add("the agent hands it over again under another file name", world) { w in
        w.disk.file = 0
        w.agent.again = 1
        w.agent.confirmed = 1
        w.agent.hand = 0
      }
    } else {
      out.add("the agent finds the output file: lost", world) { $0.lose() }
    }
  }
}
