// Taking the lease, and writing into Redis everything that it is to know of this agent; after every new connection again, for Redis may
// have come back empty (DESIGN, "Redis came back empty").
// What if: Redis is full: the lease is taken all the same, and so the agent hears; what there was no room for is written with the heartbeats.

import Redis
import Shared

extension Worker {
  /// Whether the agent is registered on the present connection; tries where not.
  func registered() async -> Bool {
    let epoch = control.epoch
    if hasLease, registeredEpoch == epoch { return true }
    guard MonotonicTime.now >= leaseRetryAt else {
      await pause(until: leaseRetryAt)
      return false
    }
    leaseRetryAt = .now + .seconds(1)
    do throws(RedisError) {
      if !wasRegistered { try await checkNames() }
      // Before the lease is taken: a resolver may need longer than one lasts.
      ownAddress = await OwnAddress.find(reaching: control.server ?? control.configuration.address)
      guard fatal == nil, try await takeLease() else { return false }
      owesIntroduction = !(try await introduce())
    } catch {
      await refused(error)
      if refusing.reason != nil { leaseRetryAt = .now + refusal.next() }
      return false
    }
    await leaveFormerMaster()
    registeredEpoch = epoch
    away.passed()
    leaseFault = nil
    nextBeat = .now + BusLimits.heartbeat
    if !wasRegistered {
      logger.notice("registered", metadata: ["uuid": "\(uuid)", "journal": "\(journal.identity)"])
      clockAwaitedUntil = .now + FleetClock.patience
      // Also where the connection is lost until then.
      engine.at(clockAwaitedUntil) { [weak self] in self?.assumeIsolated { $0.startNext() } }
    }
    wasRegistered = true
    hasLease = true
    goBack()
    owesHello = true
    sayUnsaid()
    publish()
    Task { await tellRisks() }
    await confirm(always: true)
    startNext()
    return hasLease
  }

  private func pause(until time: MonotonicTime) async {
    // Short, so that a stop is seen; cancelled: the loop that called looks for itself.
    let wait = min(time - .now, .milliseconds(200))
    try? await Task.sleep(for: wait)
  }

  // MARK: Names

  private func checkNames() async throws(RedisError) {
    let replies = try await control.pipeline([AgentBus.kindOfPlainKey(uuid)] + settings.tags.map { AgentBus.agentNamed($0) })
    if replies.first?.string == "set" { fatal = .uuidIsProject(uuid) }
    for (project, score) in zip(settings.tags, replies.dropFirst()) where score.bytes != nil { fatal = .projectIsAgent(project) }
  }

  // MARK: Lease

  /// - Returns: false where another holds it. The first time that is fatal, unless whoever holds it is gone.
  private func takeLease() async throws(RedisError) -> Bool {
    guard await identityIsDurable() else { return false }
    var checked = ""
    for _ in 0..<8 {
      let asked = BootTime.now
      let value = try await control.send(
        AgentBus.takeLease(uuid, journal: journal.identity, lease: leaseValue(), checked: checked))
      switch AgentBus.leaseReply(value) {
      case .taken:
        leaseRenewedAt = asked
        return true
      case .unreadable: return false
      case .position(let text):
        let stored = JournalPosition(text)
        guard let lacks = lacks(stored) else { return false }
        if lacks {
          guard await takeNewIdentity() else { return false }
        }
        checked = text
      case .held(let bytes):
        let holder = Lease(bytes: bytes)
        let why =
          "held by another agent of this name" + (holder.map { " on \($0.beat.hostname), process \($0.beat.pid)" } ?? "")
        // Before anything is waited for: once the connection is lost again, an agent that believed in its lease would start things.
        leaseLost(why)
        if await isGone(holder, bytes) { continue }
        leaseFault = why
        if !wasRegistered { fatal = .leaseHeld(uuid: uuid, journal: holder?.address.journal, holder: holder?.beat) }
        leaseRetryAt = .now + .seconds(5)
        publish()
        return false
      }
    }
    return false
  }

  /// Whether the holder of a lease is known to be no more, once its lease has run out: it was this very agent under an identity that it
  /// has given up, or a process of this host that has ended.
  private func isGone(_ holder: Lease?, _ bytes: [UInt8]) async -> Bool {
    guard let holder else { return false }
    let wasUs = formerIdentities.contains(holder.address.journal)
    let isDead = holder.beat.hostname == surroundings.host.hostname && !ProcessBoot.exists(Int32(clamping: holder.beat.pid))
    guard wasUs || isDead else { return false }
    leaseFault = "waiting until the lease of this agent's former life has run out"
    publish()
    let deadline = MonotonicTime.now + .milliseconds(BusLimits.leaseMilliseconds + 1000)
    while MonotonicTime.now < deadline, !isLeaving {
      guard let value = try? await control.send(AgentBus.lease(uuid)) else { return false }
      if value.isNull { return true }
      // It is renewed: somebody lives.
      if value.bytes != bytes { return false }
      // Redis tells nobody that a key has run out.
      try? await Task.sleep(for: .milliseconds(200))
    }
    return false
  }

  /// Rule `position`; nil where the journal cannot be read just now.
  private func lacks(_ stored: JournalPosition?) -> Bool? {
    do throws(AgentWorkError) {
      return try journal.lacks(stored)
    } catch {
      leaseLost("\(error)")
      leaseFault = "\(error)"
      logger.error("\(error)")
      return nil
    }
  }

  /// The journal lacks what Redis holds of it.
  private func takeNewIdentity() async -> Bool {
    let former = journal.identity
    leaseLost("the journal lacks what Redis holds of it")
    do throws(AgentWorkError) {
      try journal.append([.identity(.random())])
    } catch {
      inTrouble("no lease is taken", error)
      return false
    }
    // Whatever becomes of the record, this process speaks under the new identity from here on: what was taken under the former one it does
    // not start.
    formerIdentities.insert(former)
    logger.warning(
      "this journal was rolled back or copied: it takes a new identity, and what it had not started it will not start",
      metadata: ["was": "\(former)", "is": "\(journal.identity)"])
    disownUnstarted()
    return await identityIsDurable()
  }

  /// Nobody hears of an identity that a crash could take back.
  private func identityIsDurable() async -> Bool {
    guard journal.synced.journal != journal.identity else { return true }
    do throws(AgentWorkError) {
      _ = try await journal.sync()
      return true
    } catch {
      inTrouble("no lease is taken", error)
      return false
    }
  }

  // MARK: Introduction

  /// Writes what Redis is to know.
  /// - Parameter again: it was tried before, and what was in the way is known.
  /// - Returns: false where there was no room for some of it, or nobody to take it: it is written again with the heartbeats.
  /// - Throws: where the agent is not heard of without it.
  private func introduce(again: Bool = false) async throws(RedisError) -> Bool {
    let former = ProjectsFile.read(settings).subtracting(settings.tags)
    ProjectsFile.write(settings, former.union(settings.tags), logger)
    let asked = BootTime.now
    let questions = clockQuestions
    var commands = [AgentBus.info(uuid, (try? JSONCoder.encode(hello)) ?? [])] + questions
    commands += settings.tags.map { AgentBus.join(uuid, project: $0) }
    commands += former.sorted().map { AgentBus.leave(uuid, project: $0) }
    let outcomes = await control.outcomes(of: commands)
    hear(outcomes.dropFirst().prefix(questions.count).map { try? $0.get() }, asked: asked)
    var isWhole = true
    for (index, outcome) in outcomes.enumerated() {
      switch outcome {
      case .success(.error(let error)):
        if error.code == .oom {
          // It hears and is heard without it.
          isWhole = false
          refused(by: error)
          continue
        }
        if error.isPassing {
          // It is asked again: what is missing would else be missing until the next connection.
          guard control.isCluster, index > 0 else { throw .reply(error) }
          isWhole = false
        }
        if !again { logger.error("Redis refuses a part of the registration", metadata: ["why": "\(error)"]) }
      case .success: break
      case .failure(let error):
        // The node that holds the agent's own keys has to be there. What others were to be told is said again with the heartbeats, and
        // when they are back.
        guard control.isCluster, index > 0 else { throw error }
        isWhole = false
        if !again { logger.notice("a part of the registration is put off", metadata: ["why": "\(error)"]) }
      }
    }
    if isWhole { ProjectsFile.write(settings, Set(settings.tags), logger) }
    return isWhole
  }

  /// Beside the loop: in a Cluster it may be a node's affair that is away.
  func introduceAgain() {
    guard owesIntroduction, !isIntroducing else { return }
    isIntroducing = true
    let epoch = registeredEpoch
    Task {
      defer { isIntroducing = false }
      do throws(RedisError) {
        guard try await introduce(again: true), epoch == registeredEpoch else { return }
        owesIntroduction = false
      } catch {
        // With the next heartbeat, or the next connection.
        logger.debug("the registration is not whole yet", metadata: ["why": "\(error)"])
      }
    }
  }

  /// Says what is risky about this Redis, each once.
  private func tellRisks() async {
    for server in control.servers() {
      var answers: [RedisValue] = []
      for outcome in await server.outcomes(of: RedisRisks.questions) {
        if case .success(let value) = outcome { answers.append(value) }
      }
      let risks = RedisRisks(answers)
      for risk in [risks.eviction, risks.persistence, risks.memory].compactMap({ $0 }) where toldRisks.insert(risk).inserted {
        logger.warning("\(risk)")
      }
    }
  }

  var hello: Hello {
    Hello(
      projects: settings.tags, hostname: surroundings.host.hostname, address: ownAddress, version: surroundings.host.version,
      os: surroundings.host.os, arch: surroundings.host.arch, startedAt: startedAt, concurrency: settings.task.concurrency,
      httpPort: surroundings.httpPort, sends: attempts.sends)
  }
}
