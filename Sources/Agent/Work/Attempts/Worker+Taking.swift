// From the inbox into the journal, and the confirm that makes a start possible (DESIGN section 3, step 3). Many entries, one sync.
// Crash points: before the sync nothing has happened (the entry stands in the inbox); after it, before the confirm, the next process
// confirms what the journal says is taken; a confirm whose reply was lost is simply repeated.

import Redis
import Shared

extension Worker {
  /// Journals what is new. Returns once it is durable; what failed stays in the inbox and comes again.
  func take(_ entries: [(id: [UInt8], entry: [UInt8])]) async {
    guard !entries.isEmpty else { return }
    let wall = ProcessBoot.wallMilliseconds
    let journalID = journal.identity
    var fresh: [(reading: InboxReading.Reading, entry: [UInt8], isLost: Bool)] = []
    for (field, bytes) in entries {
      let reading: InboxReading.Reading
      switch InboxReading.attempt(field, bytes, agent: uuid, wall: wall) {
      case .success(let value):
        reading = value
        if value.plain == nil { languageFault = nil }
      case .failure(let fault):
        if fault.isForeign { languageFault = fault.reason }
        leaveAlone(field, "\(fault)")
        continue
      }
      let known = attempts.knowledge(of: reading.id)
      switch AttemptFlow.take(
        known, task: reading.id.task, meantFor: reading.meantFor, journal: journalID, forgotten: attempts.forgotten)
      {
      case .take: fresh.append((reading, bytes, false))
      case .lost: fresh.append((reading, bytes, true))
      case .confirmAway: unconfirmed.insert(reading.id)
      case .leaveAlone: leaveAlone(field, "it is meant for another journal")
      }
    }
    guard !fresh.isEmpty else { return }
    fresh.sort { $0.reading.id < $1.reading.id }
    do throws(AgentWorkError) {
      let placed = try journal.append(
        fresh.map { item in
          item.isLost
            ? .ended(item.reading.id, lostEnding(item.reading, wall))
            : .taken(item.reading.id, entry: item.entry, number: item.reading.number, wallMilliseconds: wall)
        })
      _ = try await journal.sync()
      for (item, place) in zip(fresh, placed) {
        item.isLost ? adopt(lost: item.reading, lostEnding(item.reading, wall), at: place.count) : adopt(taken: item.reading)
      }
    } catch {
      inTrouble("nothing is taken", error)
    }
  }

  private func leaveAlone(_ field: [UInt8], _ why: String) {
    guard strangers.count < 10_000, strangers.insert(field).inserted else { return }
    logger.warning(
      "an inbox entry is left alone", metadata: ["id": "\(String(decoding: field, as: UTF8.self))", "why": "\(why)"])
  }

  private func adopt(taken reading: InboxReading.Reading) {
    let attempt = Attempt(
      id: reading.id, run: RunID(agent: uuid, task: reading.id.task), knowledge: AttemptKnowledge(record: .taken),
      stage: .waiting,
      spec: reading.spec, plain: reading.plain, startBefore: reading.startBefore)
    attempts.add(attempt)
    attempts.sends = max(attempts.sends, reading.number)
    unconfirmed.insert(attempt.id)
  }

  private func lostEnding(_ reading: InboxReading.Reading, _ wall: Int64) -> JournalRecord.Ending {
    JournalRecord.Ending(
      verdict: VerdictMaking.unstarted(.lost, reason: "forgotten", note: "it is older than what the agent remembers", at: wall),
      plain: reading.plain, untaken: true)
  }

  private func adopt(lost reading: InboxReading.Reading, _ ending: JournalRecord.Ending, at count: UInt64) {
    addEnded(reading.id, ending, record: .ended, at: count, taskname: reading.spec)
  }

  /// An attempt that was never taken and has its last word in the journal already.
  func addEnded(
    _ id: AttemptID, _ ending: JournalRecord.Ending, record: AttemptRecord, at count: UInt64, taskname: TaskSpec? = nil
  ) {
    let attempt = Attempt(
      id: id, run: RunID(agent: uuid, task: id.task), knowledge: AttemptKnowledge(record: record), stage: .ended, spec: taskname,
      plain: ending.plain, startBefore: nil)
    attempt.ending = ending
    attempt.endCount = count
    attempt.isOutputDone = true
    attempt.isResultDone = taskname == nil
    attempts.add(attempt)
    unconfirmed.insert(id)
    if !attempt.isResultDone { resultIsDue(attempt) }
  }

  /// Confirms what is journaled (rule `confirm`): once it has succeeded, and not before, it may start, and anything may be said about it.
  func confirm(always: Bool = false) async {
    guard hasLease, always || !unconfirmed.isEmpty else { return }
    let confirming = unconfirmed.sorted()
    do throws(RedisError) {
      _ = try await control.send(AgentBus.confirm(uuid, address, journal.synced, confirming))
    } catch {
      await refused(error)
      return
    }
    var mayStartNow: [AttemptID] = []
    for id in confirming {
      unconfirmed.remove(id)
      guard let attempt = attempts[id], !attempt.knowledge.confirmed else { continue }
      attempt.knowledge.wasConfirmed()
      switch attempt.stage {
      case .waiting:
        mayStartNow.append(id)
        takenLater.append(id)
      case .ended: sayEnded(attempt)
      case .working, .ending: break
      }
    }
    queue += mayStartNow
    if !mayStartNow.isEmpty { tellBell.ring() }
  }
}
