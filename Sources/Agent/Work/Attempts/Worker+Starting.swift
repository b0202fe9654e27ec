// From the queue to a runner (DESIGN section 3, step 4): while a slot is free, in the order of taking.
// Crash points: before the hand-off is written nothing was started, and the next process starts it; between that and the runner's getting
// it the next process finds no runner, no exit and no output file, and hands it over again; from then on the runner goes on by itself.

import Glibc
import Runner
import Shared

extension Worker {
  /// Starts what may be started now.
  func startNext() {
    while mayStart, MonotonicTime.now >= startsHeldUntil, attempts.working < settings.task.concurrency, queueHead < queue.count {
      guard let attempt = attempts[queue[queueHead]], attempt.stage == .waiting, AttemptFlow.mayStart(attempt.knowledge) else {
        advanceQueue()
        continue
      }
      let time = clock.milliseconds()
      // Started now it might be after its time, called expired it might be before. Soon somebody can tell the time, or nobody will.
      if attempt.startBefore != nil, time == nil, MonotonicTime.now < clockAwaitedUntil { break }
      if let limit = attempt.startBefore, let time, time >= limit {
        advanceQueue()
        end(
          attempt,
          VerdictMaking.unstarted(
            .expired, reason: "expired", note: "it was not started in time", at: ProcessBoot.wallMilliseconds))
        continue
      }
      let order: AttemptOrder
      do throws(Resolution.Fault) {
        order = try self.order(attempt)
      } catch {
        advanceQueue()
        let verdict =
          error.isUnusable
          ? VerdictMaking.unstarted(.rejected, reason: "bad_command", note: error.note, at: ProcessBoot.wallMilliseconds)
          : VerdictMaking.unstarted(
            .failed, reason: SystemNames.error(error.code), note: error.note, at: ProcessBoot.wallMilliseconds)
        end(attempt, verdict)
        continue
      }
      guard let link = freeRunner() else { break }
      guard handOver(attempt, order, to: link) else { break }
      advanceQueue()
    }
    // Nothing waits for what was missing.
    if startTrouble != nil, queueHead >= queue.count, MonotonicTime.now >= startsHeldUntil {
      startTrouble = nil
      publish()
    }
  }

  private func advanceQueue() {
    queueHead += 1
    if queueHead > 256, queueHead * 2 > queue.count {
      queue.removeFirst(queueHead)
      queueHead = 0
    }
  }

  func outputPath(_ attempt: Attempt) -> String { outputPath(attempt.run, attempt.id.attempt) }

  /// Each attempt has a file of its own, for the file is the proof that it was started.
  func outputPath(_ run: RunID, _ attempt: Int) -> String {
    "\(settings.runsFolder)/\(run)" + (attempt == 1 ? "" : ".\(attempt)") + ".log"
  }

  /// The newest attempt of a run that was started; 1 where none was.
  func newestStarted(_ run: RunID) -> Int {
    (1...attempts.latest(of: run.task)).last { $0 == 1 || Files.exists(outputPath(run, $0)) } ?? 1
  }

  private func order(_ attempt: Attempt) throws(Resolution.Fault) -> AttemptOrder {
    let spec = attempt.spec ?? TaskSpec(taskname: "")
    let program = try Resolution.resolve(spec, scripts: settings.script.path, search: environment.search(spec))
    var order = AttemptOrder(
      run: "\(attempt.run)", attempt: UInt64(attempt.id.attempt), executable: program.executable, arguments: program.arguments,
      outputPath: Array(outputPath(attempt).utf8))
    order.environment = environment.variables(attempt.run, spec)
    var folder = spec.cwd ?? settings.task.path
    if !folder.hasPrefix("/") { folder = "\(settings.task.path)/\(folder)" }
    order.directory = Array(folder.utf8)
    order.standardInput = spec.stdin?.bytes
    order.cap = UInt64(settings.output.cap)
    order.graceMilliseconds = settings.task.grace.wholeMilliseconds
    order.timeoutMilliseconds = timeLimit(of: spec, isScript: program.isScript).map { max(1, $0.wholeMilliseconds) } ?? 0
    let descriptors = surroundings.descriptors
    order.limits = [AttemptOrder.Limit(resource: Int32(RLIMIT_NOFILE.rawValue), soft: descriptors.soft, hard: descriptors.hard)]
    return order
  }

  /// Nil for none.
  private func timeLimit(of spec: TaskSpec, isScript: Bool) -> Duration? {
    guard let seconds = spec.timeout else { return isScript ? settings.script.timeout : settings.task.timeout }
    return seconds < 0 ? nil : .seconds(min(seconds, 1e12))
  }

  /// Writes the hand-off, then gives the attempt to the runner (rule `handFirst`).
  private func handOver(_ attempt: Attempt, _ order: AttemptOrder, to link: RunnerLink) -> Bool {
    let start = FileSize.of(link.records)
    do throws(AgentWorkError) {
      try journal.append([.handedOff(attempt.id, records: link.records, runner: link.identity, start: start)])
    } catch {
      inTrouble("nothing is started", error)
      link.isIdle = true
      idle.append(link)
      return false
    }
    attempt.knowledge.wasHandedOff()
    attempt.handOff = JournalContents.HandOff(records: link.records, runner: link.identity, start: start)
    useRecords(link.records)
    attempts.move(attempt, to: .working)
    link.attempt = attempt
    link.isIdle = false
    attempt.feed = OutputFeed(attempt, records: link.records, offset: start, path: outputPath(attempt))
    hold(attempt, to: order)
    link.send(.attempt(order))
    if link.hasUnsent { flushLater(link) }
    return true
  }
}

extension Duration {
  /// Rounded down; 0 for a negative one.
  var wholeMilliseconds: UInt64 {
    UInt64(clamping: components.seconds) &* 1000 &+ UInt64(clamping: components.attoseconds / 1_000_000_000_000_000)
  }
}

enum FileSize {
  /// 0 where there is no such file.
  static func of(_ path: [UInt8]) -> UInt64 {
    (path + [0]).withUnsafeBytes { bytes in
      guard let name = bytes.assumingMemoryBound(to: CChar.self).baseAddress else { return 0 }
      var status = stat()
      return stat(name, &status) == 0 ? UInt64(clamping: status.st_size) : 0
    }
  }
}
