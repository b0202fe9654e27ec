// Attempts whose runner is not connected: adopted while it lives, judged once it is gone (DESIGN, "The output file tells whether it
// started"; rules `gone`, `order`, `file`, `boot`).

import Glibc
import Runner
import Shared

extension Worker {
  /// Decides what becomes of an attempt that was handed off and whose runner is not connected.
  func judge(_ attempt: Attempt) {
    guard let handOff = attempt.handOff else { return }
    let feed = attempt.feed ?? OutputFeed(attempt, records: handOff.records, offset: handOff.start, path: outputPath(attempt))
    attempt.feed = feed
    // In this order: gone, then the exit record, then the output file.
    var runner: AdoptedRunner?
    switch AdoptedRunner.find(handOff.runner, attempt: attempt) {
    case .alive(let found): runner = found
    case .gone: break
    case .unclear(let code): return judgeLater(attempt, code)
    }
    feed.advanceToEnd()
    noteDamage(feed, attempt)
    if runner == nil, let fault = feed.fault, mayPass(fault, attempt) { return judgeLater(attempt, fault) }
    // The output file is the proof, but somebody may have cleaned it away, or moved `log.path`: then what the runner said and recorded counts
    // as well. A `begin` without the file stands for the moment before it, too; the safe side is not to start it again.
    let wasBegun = attempt.startedAt != nil || (feed.state.begin != nil && feed.state.refused == nil)
    let traces = AttemptTraces(
      runnerLives: runner != nil, exitRecord: feed.state.exit != nil, outputFile: wasBegun || Files.exists(outputPath(attempt)))
    switch AttemptFlow.judge(attempt.knowledge, traces) {
    case .adopt:
      guard let runner else { return }
      adopt(runner, feed)
    case .ended:
      guard let exit = feed.state.exit else { return }
      finish(attempt, exit)
    case .lost:
      guard handOff.runner.bootID == bootID else {
        return lose(
          attempt,
          traces.outputFile
            ? "the host was started anew before the run had ended" : "the host was started anew before it was started")
      }
      guard traces.outputFile else {
        return lose(attempt, "the journal was rolled back or copied: it may have been started before")
      }
      clear(attempt, feed)
    case .handOverAgain: handOverAgain(attempt)
    }
  }

  private func adopt(_ runner: AdoptedRunner, _ feed: OutputFeed) {
    let attempt = runner.attempt
    adopted[attempt.id] = runner
    let id = attempt.id
    hold(adopted: attempt, feed.state)
    _ = engine.watch(runner.pidfd) { [weak self] in self?.assumeIsolated { $0.adoptedEnded(id) } }
    logger.notice("a run of an earlier process goes on", metadata: ["run": "\(attempt.run)", "runner": "\(runner.identity.pid)"])
    look(at: id)
  }

  /// Reads on in the records, every tenth of a second while the runner lives.
  private func look(at id: AttemptID) {
    guard let runner = adopted[id], let feed = runner.attempt.feed else { return }
    runner.timer = nil
    feed.advanceToEnd()
    let state = feed.state
    if let started = state.started, runner.attempt.startedAt == nil {
      began(runner.attempt, started.wallMilliseconds)
      hold(adopted: runner.attempt, state)
    }
    if let exit = state.exit {
      release(runner)
      finish(runner.attempt, exit)
      return startNext()
    }
    if feed.available > 0 { feedIsReady(runner.attempt) }
    runner.timer = engine.at(.now + .milliseconds(100)) { [weak self] in self?.assumeIsolated { $0.look(at: id) } }
  }

  private func adoptedEnded(_ id: AttemptID) {
    guard let runner = adopted[id] else { return }
    release(runner)
    runner.attempt.failedStarts += 1
    if let records = runner.attempt.handOff?.records { leaveGroup(RecordsHeading.read(records)?.controlGroup ?? "") }
    judge(runner.attempt)
    startNext()
  }

  private func release(_ runner: AdoptedRunner) {
    adopted[runner.attempt.id] = nil
    if let timer = runner.timer { engine.cancel(timer: timer) }
    engine.forget(runner.pidfd)
    runner.close()
  }
}
