// The loop that hears: control messages as they come, and between them, at least once a second, the inbox, the plain hash, the
// acknowledgement and the heartbeat, all on one connection (DESIGN, "A busy agent still hears").
// What if: Redis is away: it waits for the connection, then registers everything again; a control message is lost with a connection: it
// was a hint; the lease is gone: it is asked for again, and nothing is started meanwhile.

import Redis
import Shared

extension Worker {
  /// Until a stop, or a fatal fault.
  func listen() async {
    while !isLeaving, fatal == nil {
      publish()
      checkDrained()
      guard await connect() else {
        // Cut off, what is confirmed may start; that came about without anything that ends or comes.
        startNext()
        continue
      }
      guard await registered() else { continue }
      let message = await awaitControl()
      if isLeaving { return }
      let began = MonotonicTime.now
      await look(message)
      checkDrained()
      // Enough to do: more is fetched at once instead of one by one.
      if queue.count - queueHead > settings.task.concurrency { await pause(since: began) }
    }
  }

  private func connect() async -> Bool {
    if case .connected = control.state { return true }
    do throws(RedisError) {
      try await control.connected(within: .milliseconds(500))
      return true
    } catch {
      if case .down(let fault, _) = control.state { away.met("\(fault)", kind: "away") }
      return false
    }
  }

  /// One control message, or nil after at most a second.
  private func awaitControl() async -> [UInt8]? {
    var seconds = Double.random(in: 0.8...1)
    if !confirmable.isEmpty { seconds = 0.05 }
    let call = AgentBus.awaitControl(uuid, seconds: seconds)
    do throws(RedisError) {
      return try await control.blocking(call, for: .seconds(2)).array?.last?.bytes
    } catch {
      // A Redis that refuses to let it wait has to be waited for all the same.
      guard case .reply = error else { return nil }
      await refused(error)
      await pause(since: .now, .milliseconds(500))
      return nil
    }
  }

  /// What is to be looked at beside the control list.
  private func look(_ message: [UInt8]?) async {
    let (now, asked) = (MonotonicTime.now, BootTime.now)
    var commands: [RedisCommand] = [AgentBus.inbox(uuid)]
    let looksAtPlain = now >= nextPlainLook && takesMore
    if looksAtPlain { commands.append(AgentBus.plainExists(uuid)) }
    let wantsAcknowledgement = attempts.unsettledEnds + attempts.parked.count > 0 || reports.count > 0 || frames.count > 0
    if wantsAcknowledgement { commands.append(AgentBus.acked(uuid)) }
    let isStalled = isStalled && !control.isCluster
    if isStalled { commands.append(AgentBus.dashboard) }
    if control.isCluster { goAgainWhereRead() }
    let beats = now >= nextBeat
    if beats { commands.append(renewal()) }
    let saysPresence = beats || (clock.awaitsDashboard && now < clockAwaitedUntil)
    let questions = saysPresence && !control.isCluster ? clockQuestions : []
    commands += questions
    if message != nil { commands.append(AgentBus.moreControl(uuid, limit: 64)) }
    let values: [RedisValue]
    do throws(RedisError) {
      values = try await control.pipeline(commands)
    } catch {
      logger.debug("Redis did not answer", metadata: ["why": "\(error)"])
      if let message { await heed([message]) }
      return
    }
    var next = values.makeIterator()
    let inbox = next.next() ?? .null
    if let error = inbox.error { await refused(.reply(error)) }
    let plain = looksAtPlain ? next.next() : nil
    if wantsAcknowledgement, let text = next.next()?.string { acknowledged(text) }
    if isStalled { goAgain(readByDashboard: isThere(next.next())) }
    if beats { heard(renewal: next.next(), asked: asked) }
    if !questions.isEmpty { hear(questions.map { _ in next.next() }, asked: asked) }
    if saysPresence, control.isCluster { sayPresence() }
    guard hasLease else { return }
    if beats { introduceAgain() }
    let messages = (message.map { [$0] } ?? []) + (message == nil ? [] : next.next()?.array?.compactMap(\.bytes) ?? [])
    await heed(messages)
    if takesMore { await take(AgentBus.entries(inbox)) }
    if looksAtPlain {
      nextPlainLook = now + .milliseconds(900)
      if plain?.integer == 1 { await movePlain() } else { plainTaken.passed() }
    }
    await confirm()
    startNext()
  }

  /// Whether new work is looked for.
  var takesMore: Bool { mode == nil && !drains && hasLease && journal.fault == nil && journalTrouble == nil }

  // MARK: The plain hash

  /// Moves fields of the plain hash into the inbox and takes them.
  private func movePlain() async {
    guard attempts.waiting < BusLimits.inboxFull else { return }
    let fresh = (0..<BusLimits.plainBatch).map { _ in ids.next() }
    do throws(RedisError) {
      let moved = try await control.send(AgentBus.movePlain(uuid, address, ids: fresh)).integer ?? 0
      if moved < 0 {
        plainTaken.met("it carries muster, as results do, or is no hash", kind: "taken")
        nextPlainLook = .now + .seconds(5)
      } else {
        plainTaken.passed()
      }
      guard moved > 0 else { return }
      // There may be more.
      nextPlainLook = .distantPast
      await take(AgentBus.entries(try await control.send(AgentBus.inbox(uuid))))
    } catch {
      await refused(error)
    }
  }

  // MARK: The heartbeat

  private func renewal() -> RedisCommand {
    nextBeat = .now + BusLimits.heartbeat
    return AgentBus.renewLease(uuid, address, lease: leaseValue())
  }

  /// Beside the loop: in a Cluster it is another node's affair, and that one being away must not keep this agent from its own.
  /// The projects go with it now and then: an agent has no standing connection to the nodes that hold them, which would tell it that one of
  /// them has forgotten.
  private func sayPresence() {
    guard !isSayingPresence else { return }
    isSayingPresence = true
    let questions = clockQuestions
    var commands = questions
    if beats % Worker.beatsPerProjects == 0 { commands += settings.tags.map { AgentBus.join(uuid, project: $0) } }
    let sending = commands
    Task {
      let asked = BootTime.now
      let outcomes = await control.outcomes(of: sending)
      isSayingPresence = false
      hear(outcomes.prefix(questions.count).map { try? $0.get() }, asked: asked)
    }
  }

  private static let beatsPerProjects = 4

  /// The lease's value, with the next beat.
  func leaseValue() -> [UInt8] {
    beats += 1
    publish()
    // A lease that is just being taken says how things stand with it.
    let fault = hasLease ? board.status.fault : journal.fault.map { "\($0)" } ?? journalTrouble
    let beat = Heartbeat(
      count: beats, load1: HostFacts.load1(), running: attempts.working, waiting: attempts.waiting,
      concurrency: settings.task.concurrency,
      health: fault ?? "healthy", hostname: surroundings.host.hostname, pid: Int(ProcessBoot.pid))
    // Cannot fail: every number in it is finite.
    return (try? Lease(address: address, beat: beat).encoded()) ?? []
  }

  private func heard(renewal: RedisValue?, asked: BootTime) {
    // A refusal says nothing about who holds it.
    if let error = renewal?.error { return refused(by: error) }
    if renewal?.integer == 1 { leaseRenewedAt = asked } else { leaseLost("it ran out, or another agent has it") }
  }

  /// Says that this agent is there, and asks for the time; where that is not what was expected, also whether a dashboard is there.
  var clockQuestions: [RedisCommand] {
    [AgentBus.presence(uuid), AgentBus.clock] + (clock.isInDoubt ? [AgentBus.dashboard] : [])
  }

  /// Takes in the answers to `clockQuestions`.
  func hear(_ answers: [RedisValue?], asked: BootTime) {
    guard answers.count > 1, let presence = answers[0] else { return }
    if let error = presence.error {
      refused(by: error)
      // It is said all the same that this agent is there.
      if error.code == .oom { Task { await sayPresenceWhenFull() } }
      return
    }
    obeyed()
    // A dashboard that could not write would say nothing new either.
    let isAttended = answers.count > 2 && isThere(answers[2])
    hear(presence, answers[1], isAttended: isAttended, asked: asked)
  }

  /// Whether a key exists: an error says nothing of it.
  func isThere(_ value: RedisValue?) -> Bool { value.map { !$0.isNull && $0.error == nil } ?? false }

  private func sayPresenceWhenFull() async {
    let asked = BootTime.now
    let outcomes = await control.outcomes(of: [AgentBus.presence(uuid, whenFull: true), AgentBus.clock])
    hear(try? outcomes[0].get(), try? outcomes[1].get(), isAttended: false, asked: asked)
  }

  /// Takes in what Redis's clock says, and what the dashboard says of it.
  private func hear(_ presence: RedisValue?, _ ahead: RedisValue?, isAttended: Bool, asked: BootTime) {
    guard let redis = presence?.integer else { return }
    switch clock.hear(redis: redis, ahead: ahead?.string.flatMap { Int64($0) }, isAttended: isAttended, asked: asked) {
    case nil: break
    case .stepped(let milliseconds)?:
      logger.warning("Redis's clock was set; deadlines stay what they were", metadata: ["milliseconds": "\(milliseconds)"])
    case .stoodStill(let milliseconds)?:
      logger.warning(
        "this host's count since boot stood still, as that of a halted virtual machine does; the clock for deadlines was set by it",
        metadata: ["milliseconds": "\(milliseconds)"])
    }
  }

  // MARK: The lease

  /// From here on nothing is started and nothing is taken, until it is taken anew.
  func leaseLost(_ why: String) {
    guard hasLease else { return }
    hasLease = false
    leaseFault = why
    leaseRetryAt = .distantPast
    registeredEpoch = 0
    logger.warning("the lease is lost", metadata: ["why": "\(why)"])
    publish()
  }

  /// What a call's error says about the lease and the agent.
  func refused(_ error: RedisError) async {
    guard case .reply(let reply) = error else { return }
    if AgentBus.isLeaseGone(reply) { return leaseLost("it ran out, or another agent has it") }
    if AgentBus.isRemoved(reply) {
      hasLease = false
      fatal = .removed(uuid: uuid, running: attempts.working, waiting: attempts.waiting)
      return
    }
    refused(by: reply)
  }

  /// It is about the server, not about what was asked: it is full, read-only, cannot save, …
  func refused(by error: RedisReplyError) {
    refusing.met(error.message, kind: "\(error.code)")
    publish()
  }

  /// A write was done.
  func obeyed() {
    refusal.reset()
    away.passed()
    if refusing.reason != nil, refusing.passed() { publish() }
  }
}
