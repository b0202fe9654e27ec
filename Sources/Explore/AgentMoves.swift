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

  func forgotten(_ world: World) -> ULID? { world.disk.forgot == 1 && has(.horizon) ? Names.task : nil }

  func mayReport(_ world: World) -> Bool {
    var known = knowledge(world)
    if !has(.sure) || world.disk.word == Word.tombstone && !has(.tombSure) { known.wasConfirmed() }
    return AttemptFlow.mayReport(known)
  }

  func judge(_ world: World, exit: Bool) -> Judgement {
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

  func registrationMoves(_ world: World, _ out: inout Moves) {
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
  func lacks(_ world: World) -> Bool {
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

  func taking(_ world: World) -> Taking {
    var known = knowledge(world)
    if !has(.first) { known = AttemptKnowledge() }
    return AttemptFlow.take(
      known, task: Names.task, meantFor: has(.bind) ? Names.journal(world.redis.inbox - 1) : nil,
      journal: Names.journal(world.disk.journal), forgotten: forgotten(world))
  }

  func takingMoves(_ world: World, _ out: inout Moves) {
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

  func take(_ world: inout World) {
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

  func confirmed(_ world: inout World, refusal: RedisMirror.Refusal?) {
    guard refusal == nil else {
      world.agent.up = 1
      return
    }
    world.agent.unconfirmed = 0
    var known = knowledge(world)
    known.wasConfirmed()
    world.agent.confirmed = known.confirmed ? 1 : 0
  }

  func confirm(_ world: inout World) -> RedisMirror.Refusal? {
    confirm(
      &world, from: world.address, journal: world.disk.journal, count: world.position(self), epoch: world.disk.epoch,
      removes: world.agent.unconfirmed == 1)
  }

  func delayConfirm(_ world: World, _ out: inout Moves) {
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
}
