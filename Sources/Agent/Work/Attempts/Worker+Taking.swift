// From the inbox into the journal, and the confirm that makes a start possible (DESIGN section 3, step 3). Many entries, one sync.
// Crash points: before the sync nothing has happened (the entry stands in the inbox); after it, before the confirm, the next process
// confirms what the journal says is taken; a confirm whose reply was lost is simply repeated.
// What if: the sync fails: the record stands in the journal all the same and becomes durable when that can be written again. So it is known
// here from its appending on (rule `first`), and neither confirmed nor told before it is durable.

import Redis
import Shared

extension Worker {
  /// Journals what is new. Returns once it is durable, or cannot be made so now.
  func take(_ entries: [(id: [UInt8], entry: [UInt8])]) async {
    guard !entries.isEmpty else { return }
    let wall = ProcessBoot.wallMilliseconds
    let journalID = journal.identity
    var fresh: [(reading: InboxReading.Reading, ending: JournalRecord.Ending?)] = []
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
      case .take: fresh.append((reading, tooLarge(reading, wall)))
      case .lost:
        fresh.append((reading, untaken(reading, .lost, "forgotten", "it is older than what the agent remembers", wall)))
      case .confirmAway: unconfirmed.insert(reading.id)
      case .leaveAlone: leaveAlone(field, "it is meant for another journal")
      }
    }
    guard !fresh.isEmpty else { return }
    fresh.sort { $0.reading.id < $1.reading.id }
    do throws(AgentWorkError) {
      let placed = try journal.append(
        fresh.map { item in
          item.ending.map { .ended(item.reading.id, $0) }
            ?? .taken(item.reading.id, entry: item.reading.entry, number: item.reading.number, wallMilliseconds: wall)
        })
      for (item, place) in zip(fresh, placed) {
        if let ending = item.ending {
          let name = TaskSpec(taskname: item.reading.spec.taskname)
          addEnded(item.reading.id, ending, record: .ended, at: place.count, taskname: name)
        } else {
          adopt(item.reading, at: place.count)
        }
      }
      _ = try await journal.sync()
    } catch {
      inTrouble("nothing is taken", error)
    }
  }

  private func leaveAlone(_ field: [UInt8], _ why: String) {
    guard strangers.count < 10_000, strangers.insert(field).inserted else { return }
    logger.warning(
      "an inbox entry is left alone", metadata: ["id": "\(String(decoding: field, as: UTF8.self))", "why": "\(why)"])
  }

  private func adopt(_ reading: InboxReading.Reading, at count: UInt64) {
    let attempt = Attempt(
      id: reading.id, run: RunID(agent: uuid, task: reading.id.task), knowledge: AttemptKnowledge(record: .taken),
      stage: .waiting,
      spec: reading.spec, plain: reading.plain, startBefore: reading.startBefore)
    attempt.firstCount = count
    attempts.add(attempt)
    attempts.sends = max(attempts.sends, reading.number)
    unconfirmed.insert(attempt.id)
  }

  private func untaken(
    _ reading: InboxReading.Reading, _ state: RunState, _ reason: String, _ note: String, _ wall: Int64
  ) -> JournalRecord.Ending {
    JournalRecord.Ending(
      verdict: VerdictMaking.unstarted(state, reason: reason, note: note, at: wall), plain: reading.plain, untaken: true)
  }

  /// Nil where the journal can hold it.
  private func tooLarge(_ reading: InboxReading.Reading, _ wall: Int64) -> JournalRecord.Ending? {
    let (size, limit) = (reading.entry.count, JournalRecord.longestEntry)
    guard size > limit else { return nil }
    return untaken(reading, .rejected, "too_large", "its \(size) bytes are more than the agent's journal takes (\(limit))", wall)
  }

  /// An attempt that was never taken and has its first and last word in the journal already, perhaps not durably.
  func addEnded(
    _ id: AttemptID, _ ending: JournalRecord.Ending, record: AttemptRecord, at count: UInt64, taskname: TaskSpec? = nil
  ) {
    let attempt = Attempt(
      id: id, run: RunID(agent: uuid, task: id.task), knowledge: AttemptKnowledge(record: record), stage: .ended, spec: taskname,
      plain: ending.plain, startBefore: nil)
    attempt.ending = ending
    attempt.firstCount = count
    attempt.endCount = count
    attempt.isOutputDone = true
    attempt.isResultDone = taskname == nil
    attempts.add(attempt)
    unconfirmed.insert(id)
  }

  /// Of what waits for its confirm, what is durable.
  var confirmable: [AttemptID] {
    if unconfirmed.isEmpty { return [] }
    let durable = journal.synced.count
    return unconfirmed.filter { attempts[$0].map { $0.firstCount <= durable } ?? true }
  }

  /// Confirms what is journaled (rule `confirm`): once it has succeeded, and not before, it may start, and anything may be said about it.
  func confirm(always: Bool = false) async {
    let confirming = confirmable.sorted()
    guard hasLease, always || !confirming.isEmpty else { return }
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
      case .ended:
        if !attempt.isResultDone { resultIsDue(attempt) }
        sayEnded(attempt)
      case .working, .ending: break
      }
    }
    queue += mayStartNow
    if !mayStartNow.isEmpty { tellBell.ring() }
  }
}
