// What the network, Redis, the runner and the host may do next. No decision of ours: only what the world does to it.

extension Setting {
  func networkMoves(_ world: World, _ out: inout Moves) {
    if world.network.send != 0 {
      out.add("the delayed send is executed", world, fault: true) { w in
        let late = w.network
        w.network.send = 0
        w.network.sendFence = 0
        w.network.sendNumber = 0
        _ = fenced(&w, late.sendFence) {
          RedisMirror.send(&$0, fence: $1, number: late.sendNumber, journal: late.send - 1, envelopeNumber: late.sendNumber)
        }
      }
    }
    if world.network.confirm != 0 {
      out.add("the delayed confirm is executed", world, fault: true) { w in
        let late = w.network
        w.network.confirm = 0
        w.network.confirmCount = 0
        w.network.confirmEpoch = 0
        _ = confirm(
          &w, from: late.confirm, journal: Names.addressJournal(late.confirm), count: late.confirmCount, epoch: late.confirmEpoch,
          removes: false)
      }
    }
  }

  func redisMoves(_ world: World, _ out: inout Moves) {
    if world.left.redis > 0 {
      if world.hasRedisCopy == 0 {
        out.add("Redis writes to its disk", world, fault: true) { w in
          w.hasRedisCopy = 1
          w.redisCopy = w.redis
        }
      } else {
        out.add("Redis loses what it wrote since", world, fault: true) { w in
          w.redis = w.redisCopy
          redisDied(&w)
        }
      }
      out.add("Redis is flushed", world, fault: true) { w in
        w.redis = RedisState()
        redisDied(&w)
      }
    }
    if world.redis.lease != 0, !(world.agent.up == 2 && world.redis.lease == world.address) {
      out.add("the lease runs out", world) { $0.redis.lease = 0 }
    }
  }

  /// What was in its sockets is gone; the agent registers again.
  private func redisDied(_ world: inout World) {
    world.left.redis -= 1
    world.hasRedisCopy = 0
    world.redisCopy = RedisState()
    world.past |= Past.redis
    world.network = NetworkState()
    if world.agent.up == 2 { world.agent.up = 1 }
  }

  func runnerMoves(_ world: World, _ out: inout Moves) {
    if world.runner == 1 {
      if has(.file), world.disk.file != 0 {
        out.add("the runner finds the output file and drops the attempt", world) { $0.runner = 0 }
      } else {
        out.add("the runner makes the output file and execs", world) { w in
          w.disk.file = 1
          w.started()
        }
      }
      if world.agent.up == 0 {
        out.add("the runner sees its agent gone and leaves without taking it", world) { $0.runner = 0 }
      }
    }
    if world.runner == 2 {
      out.add("the command ends with 0, the exit record is written", world) { w in
        w.runner = 0
        w.disk.exit = 1
        w.ended = 1
      }
    }
    if world.runner != 0, world.left.runner > 0 {
      out.add("the runner is killed", world, fault: true) { w in
        w.left.runner -= 1
        w.runner = 0
        w.past |= Past.kill
      }
    }
  }

  func hostMoves(_ world: World, _ out: inout Moves) {
    if world.left.reboot > 0 { rebootMoves(world, &out) }
    if world.left.journal > 0 {
      if world.hasDiskCopy == 0 {
        out.add("a snapshot of the host is made", world, fault: true) { w in
          w.hasDiskCopy = 1
          w.diskCopy = w.disk
          w.diskCopy.synced = 1
        }
      } else {
        out.add("the host is rolled back to the snapshot", world, fault: true) { w in
          w.left.journal -= 1
          w.agentDies()
          w.runner = 0
          let epoch = w.disk.epoch + 1
          w.disk = w.diskCopy
          w.disk.epoch = epoch
          w.disk.branch = w.disk.count
          w.disk.reboot = 1
          w.hasDiskCopy = 0
          w.diskCopy = Disk()
          w.past |= Past.journal | Past.rollback
        }
      }
      out.add("the host gets a new disk: a new journal", world, fault: true) { w in
        w.left.journal -= 1
        w.newDisk()
        w.hasDiskCopy = 0
        w.diskCopy = Disk()
        w.past |= Past.journal
      }
    }
    twinMoves(world, &out)
  }

  /// What had not reached the disk may be gone, each by itself.
  private func rebootMoves(_ world: World, _ out: inout Moves) {
    for lost in 0..<16 {
      if lost & 1 != 0 && world.disk.synced == 1 || lost & 2 != 0 && world.disk.handed == 0
        || lost & 4 != 0 && world.disk.file == 0 || lost & 8 != 0 && world.disk.exit == 0
      {
        continue
      }
      out.add(
        lost == 0
          ? "the host reboots"
          : "the host loses power: of record, hand-off, file and exit, what was not synced is gone (or a part)",
        world, fault: true
      ) { w in
        w.left.reboot -= 1
        w.agentDies()
        w.runner = 0
        w.disk.reboot = 1
        w.past |= Past.reboot
        if lost & 1 != 0 {
          w.disk.word = Word.taken
          w.disk.count -= 1
        }
        w.disk.synced = 1
        if lost & 2 != 0 { w.disk.handed = 0 }
        if lost & 4 != 0 { w.disk.file = 0 }
        if lost & 8 != 0 { w.disk.exit = 0 }
      }
    }
  }

  private func twinMoves(_ world: World, _ out: inout Moves) {
    if world.left.twin > 0, world.agent.up != 0, world.runner == 0, world.disk.word <= Word.taken, world.disk.handed == 0,
      world.agent.hand == 0
    {
      out.add("the host is cut off; another one with its uuid and a new journal takes its place", world, fault: true) { w in
        w.left.twin -= 1
        w.twin = w.disk.word == Word.taken ? (w.agent.confirmed == 1 ? 2 : 1) : w.agent.seen != 0 ? 1 : 0
        w.twinAddress = w.address
        w.newDisk()
        w.past |= Past.twin
      }
    }
    if world.twin == 1 {
      out.add("the host that was cut off confirms", world, fault: true) { w in
        let refusal = confirm(
          &w, from: w.twinAddress, journal: Names.addressJournal(w.twinAddress), count: 1, epoch: 0, removes: true)
        if refusal == nil {
          w.twin = w.redis.lease == w.twinAddress ? 2 : 3
        } else {
          w.twin = 0
          w.twinAddress = 0
        }
      }
    }
    if world.twin >= 2 {
      out.add("the host that was cut off starts it", world, fault: true) { w in
        // Not closable: confirmed while it held the lease, then cut off.
        let runner = w.runner
        let late = w.bad & Bad.late
        w.started()
        w.runner = runner
        if w.twin == 2 { w.bad = w.bad & ~Bad.late | late }
        w.twin = 0
        w.twinAddress = 0
      }
    }
  }
}

extension World {
  mutating func newDisk() {
    agentDies()
    runner = 0
    disk = Disk()
    disk.journal = nextJournal
    nextJournal += 1
  }
}
