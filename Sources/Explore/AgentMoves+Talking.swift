// What the agent hears and says: control messages and its answers, and the reports that carry its words.
import Shared

extension Setting {
  // MARK: Worker+Control, Worker+Commands

  func controlMoves(_ world: World, _ out: inout Moves) {
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

  func reportMoves(_ world: World, _ out: inout Moves) {
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
}
