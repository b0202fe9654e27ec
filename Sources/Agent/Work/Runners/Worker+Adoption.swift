// Attempts whose runner is not connected: adopted while it lives, judged once it is gone (DESIGN, "The output file tells whether it
// started"; rules `gone`, `order`, `file`, `boot`). A runner that lives need not have the attempt: it may have refused it, and be at work on
// another one. Its records say so, and then nothing is asked of it.

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
    if feed.isLetGo { runner = nil }
    noteDamage(feed, attempt, isWritten: runner != nil)
    if runner == nil, let fault = feed.fault, mayPass(fault, attempt) { return judgeLater(attempt, fault) }
    // The output file is the proof, but somebody may have cleaned it away, or moved `log.path`: then what the runner said and recorded counts
    // as well. A `begin` without the file stands for the moment before it, too; the safe side is not to start it again.
    var wasStarted = attempt.startedAt != nil || (feed.state.begin != nil && feed.state.refused == nil)
    if !wasStarted, runner == nil, feed.state.exit == nil {
      do throws(FileError) {
        wasStarted = try Files.isThere(outputPath(attempt))
      } catch {
        if mayPass(error.code, attempt) { return judgeLater(attempt, error.code) }
        // Nobody will ever be able to tell: on the safe side, too.
        wasStarted = true
      }
    }
    let traces = AttemptTraces(runnerLives: runner != nil, exitRecord: feed.state.exit != nil, outputFile: wasStarted)
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
      // Only an empty runner serves again, so there is nothing left to be ended: what its control group holds is another attempt's.
      guard !feed.isLetGo else {
        return lose(
          attempt,
          feed.state.refused != nil
            ? "its output file was there before it was to be started" : "it was started, and nobody knows how it ended")
      }
      clear(attempt, feed)
    case .handOverAgain: handOverAgain(attempt)
    }
  }

  private func adopt(_ runner: AdoptedRunner, _ feed: OutputFeed) {
    let attempt = runner.attempt
    let id = attempt.id
    adopted[id] = runner
    attempt.backstop = Backstop(handedOverAt: .now)
    hold(adopted: attempt, feed.state)
    runner.isWatched =
      runner.pidfd >= 0 && engine.watch(runner.pidfd) { [weak self] in self?.assumeIsolated { $0.adoptedEnded(id) } }
    logger.notice(
      "a run goes on, looked after by its runner's records",
      metadata: ["run": "\(attempt.run)", "runner": "\(runner.identity.pid)"])
    look(at: id)
    // Asked for while nobody could be told, or told over a connection that was lost.
    if adopted[id] === runner, attempt.killAsked != nil { deliverKill(attempt) }
  }

  /// Reads on in the records, every tenth of a second while the runner lives.
  func look(at id: AttemptID) {
    guard let runner = adopted[id], let feed = runner.attempt.feed else { return }
    if let timer = runner.timer { engine.cancel(timer: timer) }
    runner.timer = nil
    // Before the records, which are whole only then.
    let isGone = !runner.isWatched && runner.identity.life == false
    let before = feed.state
    feed.advanceToEnd()
    let state = feed.state
    if state.begin != before.begin || state.started != before.started { hold(adopted: runner.attempt, state) }
    if let started = state.started, runner.attempt.startedAt == nil { began(runner.attempt, started.wallMilliseconds) }
    if let exit = state.exit {
      release(runner)
      finish(runner.attempt, exit)
      return startNext()
    }
    if feed.isLetGo {
      release(runner)
      judge(runner.attempt)
      return startNext()
    }
    if isGone { return adoptedEnded(id) }
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
    if runner.isWatched { engine.forget(runner.pidfd) }
    runner.close()
  }
}
