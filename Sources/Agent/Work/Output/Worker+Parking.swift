// Ends that wait for a dashboard, however many: past a window that is sent and kept in memory they stand in the journal alone, and come back
// one after the other, in the order in which they ended, as acknowledgements make room. So an agent without a dashboard, which still serves the plain
// keys, stays at its size and forgets nothing. What is only under way is not kept for it at all: it is told once there is room, if it still is.

import Runner
import Shared

/// Attempts in the order in which they came.
struct AttemptQueue {
  private var ids: [AttemptID] = []
  private var head = 0

  var first: AttemptID? { head < ids.count ? ids[head] : nil }
  var count: Int { ids.count - head }

  mutating func append(_ id: AttemptID) { ids.append(id) }

  mutating func keep(where isKept: (AttemptID) -> Bool) {
    ids = ids[head...].filter(isKept)
    head = 0
  }

  mutating func removeFirst() {
    head += 1
    if head > 256, head * 2 > ids.count {
      ids.removeFirst(head)
      head = 0
    }
  }
}

extension Worker {
  /// About 64 bytes each. Past this the oldest tasks of the plain hash are not kept for a dashboard any more.
  static let parkedLimit = 250_000
  private static let parkedAtOnce = 64

  /// Keeps of an end that waits for room in the window only its place in the journal.
  func parkIfIdle(_ attempt: Attempt) {
    guard isIdle(attempt) else { return }
    parkable.append(attempt)
    if parkable.count >= Worker.parkedAtOnce { park() }
  }

  /// Nothing is to be done about it but to say it; and the confirm is not what it waits for. Tombstones stay: they are few.
  private func isIdle(_ attempt: Attempt) -> Bool {
    attempt.stage == .ended && attempt.knowledge.record == .ended && !attempt.saidEnded && attempt.isResultDone
      && (attempt.feed?.unacknowledged ?? 0) == 0
      && attempts[attempt.id] === attempt && wasRegistered && AttemptFlow.mayReport(attempt.knowledge)
  }

  private func park() {
    let parking = parkable.filter { isIdle($0) }
    parkable = []
    guard !parking.isEmpty else { return }
    let records = parking.map {
      JournalRecord.parked($0.id, records: $0.handOff?.records ?? [], start: $0.handOff?.start ?? 0)
    }
    // What cannot be written stays in memory.
    guard (try? journal.append(records)) != nil else { return }
    for attempt in parking {
      feeds[attempt.id] = nil
      results.remove(attempt.id)
      attempts.park(attempt)
    }
    giveUpOldest()
  }

  /// As if it had just ended; nil where it is not parked, or cannot be read.
  func unpark(_ id: AttemptID) -> Attempt? {
    guard let place = attempts.parked[id] else { return nil }
    let found: JournalRecord?
    do throws(AgentWorkError) {
      found = try journal.record(at: place.count)
    } catch {
      logger.error("\(error)", metadata: ["run": "\(uuid)-\(id)"])
      return nil
    }
    guard case .ended(_, let ending)? = found else {
      // Not where it was put: nobody can say it any more, and it must not keep others from being said.
      logger.critical("an end is not in the journal any more", metadata: ["run": "\(uuid)-\(id)"])
      attempts.unpark(id)
      return nil
    }
    let attempt = Attempt(
      id: id, run: RunID(agent: uuid, task: id.task), knowledge: AttemptKnowledge(record: .ended, confirmed: true),
      stage: .ended, spec: nil, plain: ending.plain, startBefore: nil)
    attempt.ending = ending
    attempt.endCount = place.count
    attempt.startedAt = ending.verdict.startedAt
    attempt.isResultDone = true
    if !place.records.isEmpty {
      // Its runner is of no interest any more.
      let runner = ProcessIdentity(pid: 0, startTime: 0, bootID: "")
      attempt.handOff = JournalContents.HandOff(records: place.records, runner: runner, start: place.start)
    }
    attempts.unpark(id)
    attempts.add(attempt)
    if attempt.handOff == nil { attempt.isOutputDone = true } else { resumeOutput(attempt) }
    return attempt
  }

  /// Says what waited for room in the window: who this is, then what is under way, then ends.
  func sayUnsaid() {
    if owesHello, wasRegistered, reports.count < Worker.windowEvents {
      owesHello = false
      say(SaidEvent(event: ReportEvent(.hello, hello: hello)))
    }
    if owesStates, hasRoom { sayUnderWay() }
    while hasRoom, let id = unsaid.first {
      if let attempt = attempts[id] ?? unpark(id) {
        unsaid.removeFirst()
        sayEnded(attempt)
      } else if attempts.parked[id] == nil {
        unsaid.removeFirst()
      } else {
        return sayUnsaidLater()
      }
    }
  }

  /// It cannot be read just now. On an agent without work nothing else would ask for it again.
  private func sayUnsaidLater() {
    guard !willSayUnsaid else { return }
    willSayUnsaid = true
    engine.at(.now + .seconds(1)) { [weak self] in
      self?.assumeIsolated {
        $0.willSayUnsaid = false
        $0.tellBell.ring()
      }
    }
  }

  /// What has ended meanwhile is told by its end alone, which introduces it where it was never heard of.
  private func sayUnderWay() {
    owesStates = false
    for attempt in attempts.live.values.sorted(by: { $0.id < $1.id }) where AttemptFlow.mayReport(attempt.knowledge) {
      switch attempt.stage {
      case .waiting: if !attempt.saidTaken { sayTaken(attempt) }
      case .working: if !attempt.saidRunning, attempt.startedAt != nil { sayRunning(attempt) }
      case .ending, .ended: break
      }
    }
  }

  private func giveUpOldest() {
    guard attempts.parked.count > Worker.parkedLimit, MonotonicTime.now >= nextGivingUp else { return }
    nextGivingUp = .now + .seconds(10)
    let surplus = attempts.parked.keys.sorted().prefix(Worker.parkedLimit / 16)
    var given: [AttemptID] = []
    for id in surplus {
      guard let place = attempts.parked[id], case .ended(_, let ending)? = try? journal.record(at: place.count),
        ending.plain != nil
      else { continue }
      given.append(id)
      attempts.giveUp(parked: id, hour: hour)
      if !place.records.isEmpty { releaseRecords(place.records) }
    }
    _ = try? journal.append(given.map { .acknowledged($0) })
    unsaid.keep { attempts[$0] != nil || attempts.parked[$0] != nil }
    logger.warning(
      "no dashboard has come for the oldest tasks of the plain keys: their ends are not kept for one any more",
      metadata: ["runs": "\(given.count)"])
  }
}
