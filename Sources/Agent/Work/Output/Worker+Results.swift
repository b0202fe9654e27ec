// Result hashes (API.md, "By redis-cli alone"): at the start, at most once a second while output flows, and at the verdict, under the run's
// id and, for a task of the plain hash, under its alias. Of several attempts the newest that was started is shown. Written beside the reports, in the same pipeline. One that could not be written
// stays due; an attempt is not settled before its last one was written.

import Redis
import Shared

extension Worker {
  struct ResultWrite {
    var attempt: Attempt
    var isLast: Bool
    var commands: [RedisCommand]
  }

  private static let resultsAtOnce = 128

  func resultIsDue(_ attempt: Attempt) {
    attempt.resultDue = .distantPast
    results.insert(attempt.id)
    tellBell.ring()
  }

  /// Output has flowed: within a second of the last one.
  func resultMayFollow(_ attempt: Attempt) {
    guard !results.contains(attempt.id) else { return }
    attempt.resultDue = attempt.resultWrittenAt + .seconds(1)
    results.insert(attempt.id)
  }

  func nextResults() -> [ResultWrite] {
    let now = MonotonicTime.now
    var writes: [ResultWrite] = []
    for id in results {
      guard writes.count < Worker.resultsAtOnce else { break }
      guard let attempt = attempts[id] else {
        results.remove(id)
        continue
      }
      guard attempt.resultDue <= now else { continue }
      results.remove(id)
      attempt.resultWrittenAt = now
      let isLast = attempt.stage == .ended
      // The hash is that of the run's newest attempt that was started: neither an earlier one that was held up nor a later one that never was
      // is written over it.
      let shown = newestStarted(attempt.run)
      if shown > id.attempt || shown < id.attempt && attempt.verdict?.state.saysNeverStarted ?? false {
        if isLast { resultIsDone(attempt) }
        continue
      }
      let result = AgentBus.Result(
        agent: uuid, task: id.task, taskname: attempt.plain?.name.bytes ?? Array((attempt.spec?.taskname ?? "").utf8),
        log: log(of: attempt),
        state: attempt.verdict?.state ?? .running, exit: attempt.verdict?.exitNumber)
      var commands = [AgentBus.result(Array("\(attempt.run)".utf8), result)]
      if let alias = attempt.plain?.alias { commands.append(AgentBus.result(Array(uuid.text.utf8) + alias, result)) }
      writes.append(ResultWrite(attempt: attempt, isLast: isLast, commands: commands))
    }
    return writes
  }

  func written(_ write: ResultWrite, _ outcomes: [Result<RedisValue, RedisError>?]) {
    let attempt = write.attempt
    for outcome in outcomes {
      if case .success(let value)? = outcome, value.error == nil {
        if value.integer == 0 {
          logger.debug("a result is not written: its key is somebody else's", metadata: ["run": "\(attempt.run)"])
        }
        continue
      }
      if case .success(let value)? = outcome, let error = value.error { refused(by: error) }
      resultsHeldUntil = .now + .milliseconds(300) + heldAfterFailure()
      attempt.resultDue = .distantPast
      results.insert(attempt.id)
      return
    }
    if write.isLast { resultIsDone(attempt) }
  }

  private func resultIsDone(_ attempt: Attempt) {
    attempt.isResultDone = true
    attempt.shortOutput = attempt.shortSegments == nil ? nil : attempt.shortOutput
    settleIfDone(attempt)
    forgetSettled()
    parkIfIdle(attempt)
  }

  private func log(of attempt: Attempt) -> [UInt8] {
    if let short = attempt.shortOutput { return short }
    guard attempt.handOff != nil else { return [] }
    return LogText.read(outputPath(attempt), limit: BusLimits.resultLog, dropped: dropped(attempt)) ?? []
  }

  private func dropped(_ attempt: Attempt) -> (from: Int64, count: Int64)? {
    guard let verdict = attempt.verdict, verdict.droppedBytes > 0 else { return nil }
    return (verdict.droppedFrom ?? 0, verdict.droppedBytes)
  }

  // MARK: The own HTTP

  func log(of name: String, limit: Int) -> AgentWork.FoundLog? {
    guard let run = run(named: name) else { return nil }
    let id = AttemptID(task: run.task, attempt: newestStarted(run))
    if let attempt = attempts[id] {
      let bytes = LogText.read(outputPath(attempt), limit: limit, dropped: dropped(attempt))
      return AgentWork.FoundLog(run: run, bytes: bytes ?? [])
    }
    let path = outputPath(run, id.attempt)
    if let count = attempts.lastWord(of: id), case .ended(_, let ending)? = try? journal.record(at: count) {
      let verdict = ending.verdict
      let gap = verdict.droppedBytes > 0 ? (verdict.droppedFrom ?? 0, verdict.droppedBytes) : nil
      return AgentWork.FoundLog(run: run, bytes: LogText.read(path, limit: limit, dropped: gap) ?? [])
    }
    return LogText.read(path, limit: limit).map { AgentWork.FoundLog(run: run, bytes: $0) }
  }

  /// An `auuid` of this agent, or the alias `<uuid><task name>`.
  private func run(named name: String) -> RunID? {
    if let run = RunID(name), run.agent == uuid { return run }
    guard name.hasPrefix(uuid.text) else { return nil }
    return attempts.aliases[Array(name.utf8.dropFirst(uuid.text.utf8.count))].map { RunID(agent: uuid, task: $0) }
  }
}
