// The end of an attempt: into the journal, durably, one sync per batch; then it may be said (rule `endSync`).
// Crash points: before the sync the next process finds the exit record and ends it again; after it, it says it again under new numbers.

import Runner
import Shared

extension Worker {
  /// Its verdict is known. The slot is free from now on.
  func end(_ attempt: Attempt, _ verdict: Verdict) {
    guard attempt.stage == .waiting || attempt.stage == .working else { return }
    attempts.move(attempt, to: .ending)
    ends.append((attempt, JournalRecord.Ending(verdict: verdict, plain: attempt.plain)))
    endBell.ring()
  }

  /// The runner's word on how it ended.
  func finish(_ attempt: Attempt, _ message: EndedMessage) {
    guard attempt.stage == .working else { return }
    let exit = message.exit
    attempt.startedAt = attempt.startedAt ?? exit.startedWallMilliseconds
    if let output = message.output {
      attempt.shortOutput = output
      if let feed = attempt.feed, feed.next == 0 {
        // All of it is here: nothing needs to be read from the disk.
        attempt.shortSegments = message.segments
        attempt.feed = nil
        feeds[attempt.id] = nil
      } else {
        feedIsReady(attempt, atOnce: true)
      }
      end(attempt, VerdictMaking.verdict(exit, hashes: KeptHashes.of(output, message.segments)))
      return
    }
    finish(attempt, exit)
  }

  /// The same from the records: the hashes are made from the spool, off this thread.
  func finish(_ attempt: Attempt, _ exit: ExitRecord) {
    guard attempt.stage == .working, let records = attempt.handOff?.records else { return }
    attempts.move(attempt, to: .ending)
    feedIsReady(attempt, atOnce: true)
    let run = "\(attempt.run)"
    let number = UInt64(attempt.id.attempt)
    let spool = Array(outputPath(attempt).utf8)
    let start = attempt.feed?.start ?? 0
    attempt.awaitsHashes = true
    Task {
      conclude(
        attempt, exit, await KeptHashes.of(run: run, attempt: number, records: records, offset: start, spool: spool))
    }
    // However long that takes, or the disk: the verdict goes without them then.
    let id = attempt.id
    engine.at(.now + KeptHashes.patience) { [weak self] in self?.assumeIsolated { $0.concludeUnhashed(id, exit) } }
  }

  private func concludeUnhashed(_ id: AttemptID, _ exit: ExitRecord) {
    guard let attempt = attempts[id] else { return }
    conclude(attempt, exit, nil)
  }

  private func conclude(_ attempt: Attempt, _ exit: ExitRecord, _ hashes: (stdout: String, stderr: String)?) {
    guard attempt.awaitsHashes else { return }
    attempt.awaitsHashes = false
    ends.append((attempt, JournalRecord.Ending(verdict: VerdictMaking.verdict(exit, hashes: hashes), plain: attempt.plain)))
    endBell.ring()
  }

  /// Nobody can know how it ended, or whether (DESIGN, "The output file tells whether it started").
  /// - Parameter cleared: what it had left behind on the host.
  func lose(_ attempt: Attempt, _ why: String, cleared: Clearing? = nil) {
    var verdict = VerdictMaking.unstarted(.lost, reason: "lost", note: why, at: ProcessBoot.wallMilliseconds)
    verdict.startedAt = attempt.startedAt
    if let cleared {
      (verdict.signalled, verdict.left) = (cleared.signalled.count, cleared.left)
      verdict.note = [why, cleared.note].compactMap { $0 }.joined(separator: "; ")
    }
    if let feed = attempt.feed {
      feed.advanceToEnd()
      feed.close(spoolBytes: FileSize.of(feed.path))
      verdict.outputBytes = Int64(clamping: feed.next + feed.available)
      verdict.startedAt = verdict.startedAt ?? feed.state.started?.wallMilliseconds
      feedIsReady(attempt)
    }
    logger.warning("a run is lost", metadata: ["run": "\(attempt.run)", "why": "\(why)"])
    end(attempt, verdict)
  }

  // MARK: The loop

  /// Journals ends as they come, until the work is over.
  func writeEnds() async {
    while !isOver {
      await endBell.wait(worker: self)
      while !ends.isEmpty {
        let began = MonotonicTime.now
        let batch = ends
        ends = []
        do throws(AgentWorkError) {
          let placed = try journal.append(batch.map { .ended($0.attempt.id, $0.ending) })
          _ = try await journal.sync()
          for (item, place) in zip(batch, placed) { ended(item.attempt, item.ending, at: place.count) }
          startNext()
          checkDrained()
          await pause(since: began)
        } catch {
          ends = batch + ends
          // They stay here, and in the runners' records.
          inTrouble("ends have to wait", error)
          if isOver { return }
          await endBell.wait(until: .now + .seconds(1), worker: self)
        }
      }
    }
  }

  private func ended(_ attempt: Attempt, _ ending: JournalRecord.Ending, at count: UInt64) {
    attempt.knowledge.record = .ended
    attempt.ending = ending
    attempt.endCount = count
    attempts.move(attempt, to: .ended)
    weigh(ending.verdict)
    if mode == .kill, ending.verdict.left > 0 {
      unended.append("run \(attempt.run): \(ending.verdict.left) of its processes could not be ended")
    }
    resultIsDue(attempt)
    if AttemptFlow.mayReport(attempt.knowledge) {
      sayEnded(attempt)
    } else {
      // It was ended before its confirm: that comes with the next look.
      unconfirmed.insert(attempt.id)
    }
  }
}
