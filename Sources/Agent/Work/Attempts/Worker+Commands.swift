// Control messages: hints, each checked against journal, incarnation and fence before it does anything (rule `named`).

import Redis
import Shared

extension Worker {
  func heed(_ messages: [[UInt8]]) async {
    var records: [JournalRecord] = []
    for bytes in messages {
      let message: ControlMessage
      do throws(FrameFault) {
        message = try ControlMessage(bytes: bytes)
      } catch {
        tellOnce("a control message cannot be read", "\(error)")
        continue
      }
      if message.kind == .bell { continue }
      guard AttemptFlow.heeds(message.to, fence: message.fence, at: address, highest: highestFence) else { continue }
      highestFence = max(highestFence, message.fence ?? 0)
      switch message.kind {
      case .bell: break
      case .unrecognised: tellOnce("a control message is passed over", "it is of a later version")
      case .refresh: registeredEpoch = 0
      case .drain:
        drains = true
        logger.notice("told to take nothing more")
      case .reconcile, .cancel, .close:
        guard message.to != nil else { continue }
        for id in (message.attempts ?? []).compactMap({ AttemptID($0) }) { heed(message, id, &records) }
      }
    }
    guard !records.isEmpty else { return }
    await entomb(records)
  }

  private func tellOnce(_ what: String, _ why: String) {
    guard strangeControls.count < 100, strangeControls.insert(why).inserted else { return }
    logger.warning("\(what)", metadata: ["why": "\(why)"])
  }

  private func heed(_ message: ControlMessage, _ id: AttemptID, _ records: inout [JournalRecord]) {
    let known = attempts.knowledge(of: id)
    let attempt = attempts[id]
    let reply = AttemptFlow.control(
      message.kind, cause: message.cause, known, task: id.task, withRunner: attempt.map { $0.stage == .working } ?? false,
      forgotten: attempts.forgotten)
    let wall = ProcessBoot.wallMilliseconds
    switch reply {
    case .nothing: break
    // Without room: it is asked again.
    case .sayUnknown: if hasRoom { say(SaidEvent(event: ReportEvent(.unknown, attempt: id))) }
    case .report:
      report(id, attempt)
      if message.output == true, let attempt = attempts[id] { shipAgain(attempt) }
    case .tombstone(let cause): records.append(.tombstone(id, cause, number: message.number ?? .zero, wallMilliseconds: wall))
    case .lost:
      let note = "it is older than what the agent remembers"
      records.append(
        .ended(
          id, .init(verdict: VerdictMaking.unstarted(.lost, reason: "forgotten", note: note, at: wall), plain: nil, untaken: true)
        ))
    case .endUnstarted(let state):
      guard let attempt, attempt.stage == .waiting else { break }
      let isLate = state == .expired
      end(
        attempt,
        VerdictMaking.unstarted(
          state, reason: isLate ? "expired" : nil,
          note: isLate ? "it was not started in time" : "it was ended before it was started",
          at: wall))
    case .kill:
      guard let attempt else { break }
      let signal = message.signal.flatMap { SystemNames.signal(named: $0) } ?? SystemNames.terminate
      let grace = message.grace.map { UInt64(max(0, min($0, 1e9)) * 1000) } ?? settings.task.grace.wholeMilliseconds
      kill(attempt, signal: signal, graceMilliseconds: grace)
    }
  }

  /// Says again what the journal says. Without room it is said in its turn, or asked again.
  private func report(_ id: AttemptID, _ attempt: Attempt?) {
    guard hasRoom else { return }
    guard let attempt = attempt ?? unpark(id) else { return reportSettled(id) }
    guard AttemptFlow.mayReport(attempt.knowledge) else { return }
    switch attempt.stage {
    case .waiting: sayTaken(attempt)
    case .working where attempt.startedAt != nil: sayRunning(attempt)
    case .working: sayTaken(attempt)
    case .ending: break
    // It stands in the window, and goes again from there.
    case .ended where attempt.isEndAcknowledged:
      // Asked for all the same: the dashboard is a restored copy, which lacks the output as well.
      sayEnded(attempt, again: true)
      shipAgain(attempt)
    case .ended: if !attempt.saidEnded { sayEnded(attempt, again: true) }
    }
  }

  /// An end that was acknowledged once: the dashboard is a restored copy. The verdict comes from the journal's file, the output from the
  /// spool, if it is still there.
  private func reportSettled(_ id: AttemptID) {
    // What cannot be read now is asked for again.
    guard let count = attempts.settled[id]?.count, let record = try? journal.record(at: count) else { return }
    switch record {
    case .ended(_, let ending):
      let attempt = Attempt(
        id: id, run: RunID(agent: uuid, task: id.task), knowledge: AttemptKnowledge(record: .ended, confirmed: true),
        stage: .ended,
        spec: nil, plain: ending.plain, startBefore: nil)
      attempt.ending = ending
      attempt.endCount = count
      attempt.isResultDone = true
      attempts.add(attempt)
      resumeOutput(attempt)
      sayEnded(attempt)
    case .tombstone(_, let cause, _, let wall):
      let verdict = VerdictMaking.unstarted(cause == .expired ? .expired : .cancelled, at: wall)
      say(SaidEvent(event: ReportEvent(.ended, attempt: id, verdict: verdict, tombstone: true)))
    default: break
    }
  }

  /// Writes first and last words about unknown ids, durably; they are said once a confirm has succeeded (rule `tombSure`).
  private func entomb(_ records: [JournalRecord]) async {
    do throws(AgentWorkError) {
      // The same id twice in one batch: the first record decides.
      var seen: Set<AttemptID> = []
      let fresh = records.filter { record in
        guard let id = record.attempt, attempts.knowledge(of: id).record == .none else { return false }
        return seen.insert(id).inserted
      }
      // Known from here on, though not durable yet: as with what is taken.
      for place in try journal.append(fresh) {
        switch place.record {
        case .tombstone(let id, let cause, let number, let wall):
          attempts.sends = max(attempts.sends, number)
          let verdict = VerdictMaking.unstarted(cause == .expired ? .expired : .cancelled, at: wall)
          addEnded(id, .init(verdict: verdict, plain: nil, untaken: true), record: .tombstone(cause), at: place.count)
        case .ended(let id, let ending): addEnded(id, ending, record: .ended, at: place.count)
        default: break
        }
      }
      _ = try await journal.sync()
    } catch {
      inTrouble("cancels have to wait", error)
    }
  }
}
