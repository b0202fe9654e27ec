// What the agent does with its host: hands an attempt to a runner, starts nothing twice, and judges what a runner left.
import Shared

extension Setting {
  // MARK: Worker+Starting

  func startMoves(_ world: World, _ out: inout Moves) {
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
  func lookingMoves(_ world: World, _ out: inout Moves) {
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

  func ended(_ world: inout World) {
    world.record(world.disk.exit == 1 ? Word.succeeded : Word.killed, synced: 0)
  }

  /// Rule `plainFile` left out: the agent makes the output file itself, to be sure that no runner will.
  func makingMoves(_ world: World, _ out: inout Moves) {
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
