// What a new process does first, before it speaks to Redis: it says in the journal that it is there, and makes out what became of
// everything that the journal holds.

import Glibc
import Runner
import Shared

extension Worker {
  func recover() throws(AgentWorkError) {
    ControlGroup.removeEmpty()
    guard let contents = opened else { return }
    opened = nil
    open()
    var found = contents.unsettled
    findLostHandOffs(&found)
    let entries = found.sorted { $0.key < $1.key }
    for (id, entry) in entries { restore(id, entry) }
    for (id, _) in entries {
      guard let attempt = attempts[id] else { continue }
      resume(attempt)
    }
    for (id, place) in contents.parked.sorted(by: { $0.key < $1.key }) {
      useRecords(place.records)
      unsaid.append(id)
    }
    // After all who need records have said so, and lost hand-offs were looked for in them.
    removeStaleRecords()
    forgetOld()
    countHours()
    sweepSoon()
    waitForOrphans()
  }

  /// Hand-offs are not synced: of what a power cut may have taken them from, the runners' records tell (rule `records`).
  private func findLostHandOffs(_ entries: inout [AttemptID: JournalContents.Entry]) {
    var search = LostHandOffs()
    for (id, entry) in entries where entry.entry != nil && entry.handOff == nil && entry.ending == nil && entry.tombstone == nil {
      search.want(id, of: uuid)
    }
    guard search.wantsAny else { return }
    for path in LostHandOffs.files(settings.runnersFolder) where path.suffix(4).elementsEqual(".rec".utf8) {
      let fault = search.look(into: path)
      guard fault != 0 else { continue }
      logger.error(
        "the records of a runner cannot be read: what they say of runs is not known",
        metadata: ["file": "\(String(decoding: path, as: UTF8.self))", "why": "\(systemErrorText(fault))"])
      // For somebody to look into; the next start looks again, too.
      useRecords(path)
    }
    var records: [JournalRecord] = []
    for (id, handOff) in search.found {
      entries[id]?.handOff = handOff
      records.append(.handedOff(id, records: handOff.records, runner: handOff.runner, start: handOff.start))
      logger.notice(
        "a run's hand-off was lost, the records of its runner were not", metadata: ["run": "\(RunID(agent: uuid, task: id.task))"]
      )
    }
    // For whoever comes after its end is journaled: that one does not look any more, and the output may not be shipped yet.
    do throws(AgentWorkError) { try journal.append(records) } catch { inTrouble("hand-offs are not recorded", error) }
  }

  private func restore(_ id: AttemptID, _ entry: JournalContents.Entry) {
    var record = AttemptRecord.none
    if entry.entry != nil { record = .taken }
    if entry.ending != nil { record = .ended }
    if let cause = entry.tombstone { record = .tombstone(cause) }
    let knowledge = AttemptKnowledge(
      record: record, takenThisBoot: entry.takenOn == bootID && entry.takenUnder == journal.identity, confirmed: false,
      handedOff: entry.handOff != nil)
    var spec: TaskSpec?
    var plain: PlainTask?
    var startBefore: Int64?
    if let bytes = entry.entry,
      case .success(let reading) = InboxReading.attempt(Array("\(id)".utf8), bytes, agent: uuid, wall: entry.takenAt)
    {
      (spec, plain, startBefore) = (reading.spec, reading.plain, reading.startBefore)
    }
    let attempt = Attempt(
      id: id, run: RunID(agent: uuid, task: id.task), knowledge: knowledge, stage: .waiting, spec: spec,
      plain: plain ?? entry.ending?.plain, startBefore: startBefore)
    attempt.handOff = entry.handOff
    if let handOff = entry.handOff { useRecords(handOff.records) }
    if let cause = entry.tombstone {
      let verdict = VerdictMaking.unstarted(cause == .expired ? .expired : .cancelled, at: ProcessBoot.wallMilliseconds)
      attempt.ending = JournalRecord.Ending(verdict: verdict, plain: nil, untaken: true)
    } else {
      attempt.ending = entry.ending
    }
    attempt.endCount = entry.lastWord
    if attempt.ending != nil {
      attempt.stage = .ended
    } else if attempt.handOff != nil {
      attempt.stage = .working
    }
    attempts.add(attempt)
    if attempt.handOff == nil { unconfirmed.insert(id) }
  }

  private func resume(_ attempt: Attempt) {
    if attempt.stage == .ended {
      attempt.startedAt = attempt.verdict?.startedAt
      if attempt.ending?.untaken == true, attempt.spec == nil { attempt.isResultDone = true }
      if attempt.handOff == nil { attempt.isOutputDone = true } else { resumeOutput(attempt) }
      if !attempt.isResultDone { resultIsDue(attempt) }
      // After the hello, as everything.
      if AttemptFlow.mayReport(attempt.knowledge) { unsaid.append(attempt.id) }
      return
    }
    if attempt.handOff != nil { judge(attempt) } else { lookWhetherStarted(attempt) }
  }

  /// One that was not handed off as far as the journal knows was started all the same if its output file is there.
  func lookWhetherStarted(_ attempt: Attempt) {
    var isThere = true
    do throws(FileError) {
      isThere = try Files.isThere(outputPath(attempt))
    } catch {
      if mayPass(error.code, attempt) {
        // A runner may have it: until that is known it is neither started nor ended as one that was not.
        if attempt.stage == .waiting { attempts.move(attempt, to: .working) }
        return judgeLater(attempt, error.code)
      }
      // Nobody will ever be able to tell: on the safe side.
    }
    let traces = AttemptTraces(runnerLives: false, exitRecord: false, outputFile: isThere)
    if case .lost = AttemptFlow.judge(attempt.knowledge, traces) {
      guard attempt.knowledge.takenThisBoot, isThere else {
        return lose(attempt, "the host was started anew before it was started")
      }
      return clear(attempt, nil)
    }
    guard attempt.stage == .working else { return }
    attempts.move(attempt, to: .waiting)
    if attempt.killAsked != nil {
      let note = "it was ended before it was started"
      return end(attempt, VerdictMaking.unstarted(.cancelled, note: note, at: ProcessBoot.wallMilliseconds))
    }
    guard attempt.knowledge.confirmed else { return }
    queue.append(attempt.id)
    takenLater.append(attempt.id)
    tellBell.ring()
  }

  /// Makes ready to ship all of the output of an attempt that has ended.
  func resumeOutput(_ attempt: Attempt) {
    guard let verdict = attempt.verdict, verdict.outputBytes > 0, mayHaveOutput(attempt) else {
      attempt.isOutputDone = true
      return
    }
    let records = attempt.handOff?.records ?? []
    let feed = OutputFeed(attempt, records: records, offset: attempt.handOff?.start ?? 0, path: outputPath(attempt))
    if !records.isEmpty { feed.advanceToEnd() }
    if feed.state.begin == nil {
      feed.fabricate(verdict)
    } else if feed.state.exit == nil {
      feed.close(spoolBytes: FileSize.of(feed.path))
    }
    attempt.feed = feed
    feedIsReady(attempt)
  }

  /// Where nobody can tell, its feed tries to read it, as often as it does.
  private func mayHaveOutput(_ attempt: Attempt) -> Bool {
    do throws(FileError) { return try Files.isThere(outputPath(attempt)) } catch { return true }
  }

  /// After a change of identity what was not started is not started any more: the journal may have forgotten that it was.
  func disownUnstarted() {
    for attempt in attempts.live.values where attempt.stage == .waiting || attempt.stage == .working {
      attempt.knowledge.changedIdentity()
      if attempt.stage == .waiting { lose(attempt, "the journal was rolled back or copied: it may have been started before") }
    }
  }

  /// Records of runners that have gone, which nobody needs any more.
  private func removeStaleRecords() {
    for path in LostHandOffs.files(settings.runnersFolder) {
      let text = String(decoding: path, as: UTF8.self)
      guard !text.hasSuffix(Worker.damagedSuffix), recordsInUse[path] == nil else { continue }
      unlink(text)
    }
  }
}
