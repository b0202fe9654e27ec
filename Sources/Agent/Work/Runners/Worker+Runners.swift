// The pool of runners: at most one per slot that serves, started when there is first something for it to do, and kept. What a runner says
// is heard here. A runner that is gone is waited for here, and what it had is judged (`Worker+Adoption`).

import Glibc
import Runner
import Shared

extension Worker {
  /// A runner that takes an order now; nil while there is none, and then one is coming or will be tried again.
  func freeRunner() -> RunnerLink? {
    while let link = idle.popLast() {
      if link.isOpen, link.isIdle, !link.isRetiring { return link }
    }
    let serving = links.values.reduce(0) { $0 + ($1.isRetiring ? 0 : 1) }
    guard serving < settings.task.concurrency else { return nil }
    return startRunner()
  }

  private func startRunner() -> RunnerLink? {
    nextRunner += 1
    let records = "\(settings.runnersFolder)/\(incarnation)-\(nextRunner).rec"
    let program = surroundings.runner
    do throws(RunnerStartError) {
      let process = try RunnerProcess.start(
        executable: Array(program.executable.utf8), arguments: (program.arguments + [records]).map { Array($0.utf8) })
      guard let identity = ProcessIdentity(of: process.pid) else {
        // It has ended already, and its end-of-file would say nothing more.
        Glibc.close(process.socket)
        if process.pidfd >= 0 { Glibc.close(process.pidfd) }
        var status: Int32 = 0
        waitpid(process.pid, &status, 0)
        return noRunner(RunnerMain.fault(ofStatus: status).map { systemErrorText($0) } ?? "it ended at once")
      }
      let link = RunnerLink(process: process, identity: identity, records: Array(records.utf8))
      let socket = process.socket
      guard engine.watch(socket, { [weak self] in self?.assumeIsolated { $0.hear(socket) } }) else {
        let none = noRunner("its socket cannot be watched")
        // It leaves when it sees that nobody is at the other end.
        link.close()
        departing[process.pid] = link
        reap(process.pid)
        return none
      }
      links[socket] = link
      return link
    } catch {
      return noRunner(systemErrorText(error.errno))
    }
  }

  private func noRunner(_ why: String) -> RunnerLink? {
    holdStarts("no runner can be started: \(why)")
    return nil
  }

  /// Nothing is started for a second: the host lacks something that every start needs. What waits goes on waiting.
  func holdStarts(_ why: String) {
    if startTrouble != why { logger.error("\(why)") }
    startTrouble = why
    startsHeldUntil = .now + .seconds(1)
    publish()
    engine.at(startsHeldUntil) { [weak self] in self?.assumeIsolated { $0.startNext() } }
  }

  /// Tries again shortly: an order larger than a socket's buffer goes in pieces.
  func flushLater(_ link: RunnerLink) {
    guard link.flushAfter == nil else { return }
    flush(link, after: .milliseconds(1))
  }

  /// Less and less often: a runner that is stopped takes nothing for as long as that lasts.
  private func flush(_ link: RunnerLink, after delay: Duration) {
    link.flushAfter = delay
    let (socket, identity) = (link.process.socket, link.identity)
    engine.at(.now + delay) { [weak self] in
      self?.assumeIsolated { worker in
        guard let link = worker.links[socket], link.identity == identity else { return }
        let next = link.flush() ? Duration.milliseconds(1) : min(delay * 2, .milliseconds(100))
        if link.hasUnsent { worker.flush(link, after: next) } else { link.flushAfter = nil }
      }
    }
  }

  // MARK: What runners say

  private func hear(_ socket: Int32) {
    guard let link = links[socket] else { return }
    let isOpen = link.receive(buffer.bytes)
    while let message = link.nextMessage() { hear(message, from: link) }
    if !isOpen || link.isBroken { gone(link) }
  }

  private func hear(_ message: RunnerMessage, from link: RunnerLink) {
    switch message {
    case .records(let path, _): link.records = path
    case .began(_, _, let pid, let wall):
      guard let attempt = link.attempt else { return }
      if pid > 0 {
        attempt.backstop.leader = pid
        began(attempt, wall)
        if attempt.killAsked != nil { deliverKill(attempt) }
      }
    case .output:
      if let attempt = link.attempt { feedIsReady(attempt) }
    case .ended(let ended):
      guard let attempt = link.attempt else { return }
      link.attempt = nil
      finish(attempt, ended)
    case .refused(let refusal):
      guard let attempt = link.attempt else { return }
      link.attempt = nil
      refused(attempt, refusal)
    case .idle:
      guard link.attempt == nil, !link.isIdle else { return }
      link.isIdle = true
      idle.append(link)
      startNext()
    case .retiring:
      link.isRetiring = true
      startNext()
    }
  }

  func began(_ attempt: Attempt, _ wall: Int64) {
    guard attempt.startedAt == nil else { return }
    attempt.startedAt = wall
    // Not sooner: it may have to be handed over again.
    attempt.spec?.stdin = nil
    startTrouble = nil
    runningLater.append(attempt.id)
    tellBell.ring()
  }

  /// Nothing was started by this runner.
  private func refused(_ attempt: Attempt, _ refusal: RefusedRecord) {
    guard attempt.stage == .working else { return }
    if refusal.reason == .noResources || refusal.reason == .outputFailed, SystemNames.isWant(refusal.error) {
      // Nothing was started, and nothing is wrong with it: it waits until there is room again.
      let code = refusal.error
      holdStarts(
        "no run can be started: \(SystemNames.error(code)), \(systemErrorText(code)) (\(settings.runsFolder) or \(settings.runnersFolder))"
      )
      return handOverAgain(attempt)
    }
    attempt.failedStarts += 1
    switch refusal.reason {
    case .outputExists: lose(attempt, "its output file was there before it was to be started")
    case .noResources where attempt.failedStarts < 4 || refusal.error == ECANCELED: handOverAgain(attempt)
    default:
      let what = refusal.reason == .outputFailed ? "its output file could not be made" : "the runner could not take it"
      endUnstarted(
        attempt,
        VerdictMaking.unstarted(
          .failed, reason: SystemNames.error(refusal.error), note: "\(what): \(systemErrorText(refusal.error))",
          at: ProcessBoot.wallMilliseconds))
    }
  }

  /// Never started, by the rule on the output file: back to where it came from.
  func handOverAgain(_ attempt: Attempt) {
    guard attempt.stage == .working || attempt.stage == .waiting else { return }
    guard attempt.knowledge.takenThisBoot else {
      // The journal took a new identity while it was on its way.
      return lose(attempt, "the journal was rolled back or copied: it may have been started before")
    }
    attempt.knowledge.goesBack()
    if attempt.killAsked != nil {
      // It was to be ended while it was on its way to the runner.
      return endUnstarted(
        attempt,
        VerdictMaking.unstarted(.cancelled, note: "it was ended before it was started", at: ProcessBoot.wallMilliseconds))
    }
    if let handOff = attempt.handOff { releaseRecords(handOff.records) }
    attempt.handOff = nil
    attempt.feed = nil
    feeds[attempt.id] = nil
    if attempt.failedStarts >= 4 {
      return endUnstarted(
        attempt,
        VerdictMaking.unstarted(
          .failed, reason: "runner", note: "runners end before they can start it", at: ProcessBoot.wallMilliseconds))
    }
    if attempt.stage == .working { attempts.move(attempt, to: .waiting) }
    queue.append(attempt.id)
    startNext()
  }

  /// There was no output, and there will be none.
  private func endUnstarted(_ attempt: Attempt, _ verdict: Verdict) {
    attempt.feed = nil
    feeds[attempt.id] = nil
    attempt.isOutputDone = true
    end(attempt, verdict)
  }

  /// The runner has closed its end of the socket, or what comes from it makes no sense any more.
  private func gone(_ link: RunnerLink) {
    let (socket, pid) = (link.process.socket, link.process.pid)
    engine.forget(socket)
    links[socket] = nil
    idle.removeAll { $0 === link }
    link.close()
    departing[pid] = link
    reap(pid)
    guard departing[pid] === link, link.attempt != nil else { return }
    // Most end at once. One that does not goes on with its attempt, as it would without any agent.
    engine.at(.now + .milliseconds(200)) { [weak self] in self?.assumeIsolated { $0.adoptCutOff(pid) } }
  }

  private func adoptCutOff(_ pid: Int32) {
    guard let link = departing[pid], let attempt = link.attempt, attempt.stage == .working, !isOver else { return }
    link.attempt = nil
    logger.error("the connection to a runner at work was lost", metadata: ["run": "\(attempt.run)", "runner": "\(pid)"])
    judge(attempt)
    startNext()
  }

  /// Waits for the process without blocking. Its socket may be closed before it has ended: it may stay for what its command left behind.
  private func reap(_ pid: Int32) {
    guard let link = departing[pid] else { return }
    let pidfd = link.process.pidfd
    var status: Int32 = 0
    if waitpid(pid, &status, WNOHANG) != 0 { return departed(link, status) }
    if pidfd >= 0, engine.watch(pidfd, { [weak self] in self?.assumeIsolated { $0.reaped(pid) } }) { return }
    engine.at(.now + .milliseconds(200)) { [weak self] in self?.assumeIsolated { $0.reap(pid) } }
  }

  private func reaped(_ pid: Int32) {
    var status: Int32 = 0
    guard let link = departing[pid], waitpid(pid, &status, WNOHANG) != 0 else { return }
    engine.forget(link.process.pidfd)
    departed(link, status)
  }

  private func departed(_ link: RunnerLink, _ status: Int32) {
    departing[link.process.pid] = nil
    if link.process.pidfd >= 0 { Glibc.close(link.process.pidfd) }
    let group = RecordsHeading.read(link.records)?.controlGroup ?? ""
    dropRecordsIfUnused(link.records)
    let fault = RunnerMain.fault(ofStatus: status)
    if let fault {
      holdStarts("no runner can be started: \(SystemNames.error(fault)), \(systemErrorText(fault)) (\(settings.runnersFolder))")
    }
    if let attempt = link.attempt, attempt.stage == .working {
      if fault == nil { attempt.failedStarts += 1 }
      judge(attempt)
    }
    if link.attempt?.clearing == nil { leaveGroup(group) }
    link.attempt = nil
    startNext()
  }

  // MARK: Ending trees

  /// Asks whoever has the attempt to end its tree. Of no effect once the leader has exited. Where nobody can be asked just now (it is on its
  /// way to the runner, or the runner cannot be looked for) whoever comes to have it is asked then.
  func kill(_ attempt: Attempt, signal: Int32, graceMilliseconds: UInt64) {
    guard attempt.stage == .working else { return }
    let kill = Attempt.Kill(signal: signal, graceMilliseconds: graceMilliseconds, at: .now)
    // Control messages are repeated until their effect is reported: a program that tidies up must not be sent TERM every time.
    guard kill.adds(to: attempt.killAsked) else { return }
    // Never softer than before.
    let hardAt = min(kill.hardAt, attempt.killAsked?.hardAt ?? .never)
    attempt.killAsked = Attempt.Kill(
      signal: signal, graceMilliseconds: (hardAt - kill.at).wholeMilliseconds, at: kill.at)
    if attempt.clearing != nil { return hasten(attempt, until: hardAt) }
    tellKill(attempt)
    armBackstop()
  }

  /// Asks the one that has the attempt by now for the kill that was asked for before: its grace begins.
  func deliverKill(_ attempt: Attempt) {
    attempt.killAsked?.at = .now
    tellKill(attempt)
    armBackstop()
  }

  private func tellKill(_ attempt: Attempt) {
    guard let kill = attempt.killAsked else { return }
    let run = "\(attempt.run)"
    if let link = links.values.first(where: { $0.attempt === attempt }) {
      // A runner that has not begun it yet would not heed it, and one that just has would be asked once more when that is heard.
      if attempt.startedAt != nil {
        link.send(.kill(run: run, signal: kill.signal, graceMilliseconds: kill.graceMilliseconds))
        if link.hasUnsent { flushLater(link) }
      }
      wake(link)
    } else if let runner = adopted[attempt.id], let records = attempt.handOff?.records {
      // Only if it has it still: a signal would end whatever it is at work on.
      look(at: attempt.id)
      guard adopted[attempt.id] === runner else { return }
      let error = KillRequest.write(run: run, signal: kill.signal, graceMilliseconds: kill.graceMilliseconds, records: records)
      if error != 0 {
        logger.warning(
          "a run of an earlier process is ended with TERM and its own grace", metadata: ["why": "\(systemErrorText(error))"])
      }
      runner.signal(SIGTERM)
      runner.signal(SIGCONT)
    }
  }

  /// The control group of a runner that is gone. What lives on in it, left on purpose, keeps it; it is tried again now and then.
  func leaveGroup(_ group: String) {
    guard !group.isEmpty else { return }
    groupsLeft.append(group)
    groupsLeft.removeAll { ControlGroup.remove($0) }
    if groupsLeft.count > 1000 { groupsLeft.removeFirst() }
  }

  // MARK: Records files

  func useRecords(_ path: [UInt8]) { recordsInUse[path, default: 0] += 1 }

  func releaseRecords(_ path: [UInt8]) {
    guard let count = recordsInUse[path] else { return }
    recordsInUse[path] = count > 1 ? count - 1 : nil
    dropRecordsIfUnused(path)
  }

  /// A file that no attempt of concern needs and no runner writes goes.
  private func dropRecordsIfUnused(_ path: [UInt8]) {
    guard recordsInUse[path] == nil, !links.values.contains(where: { $0.records == path }),
      !departing.values.contains(where: { $0.records == path })
    else { return }
    (path + [0]).withUnsafeBytes { bytes in
      if let name = bytes.assumingMemoryBound(to: CChar.self).baseAddress { unlink(name) }
    }
    KillRequest.remove(path)
  }
}

/// The first record of a runner's file.
enum RecordsHeading {
  static func read(_ path: [UInt8]) -> OpenedRecord? {
    var reader = RecordsReader(path: path)
    guard case .record(.opened(let heading)) = reader.next() else { return nil }
    return heading
  }
}
