// The quota of `log.path`/runs. A run's output file is the proof that it was started (DESIGN, "The output file tells whether it started"), so
// one is only removed where the journal holds the end. In this order, the oldest first:
//   over the quota          those whose end and output the dashboard has acknowledged, down to nine tenths of it
//   over twice the quota    those that no dashboard has taken, but whose end is journaled: their verdicts are reported all the same
// Never that of a run that goes on, or of one that the journal does not know: somebody rolled it back, perhaps.

import Shared

extension Worker {
  private static let batch = 512
  /// Where the quota cannot be met yet, the folder is read again: a hundred times later than a look takes, so that looking costs a hundredth of
  /// one core's time, and within these bounds.
  private static let shortestPause = Duration.seconds(1)
  private static let longestPause = Duration.seconds(30)

  /// A run has ended, with so much on the disk.
  func weigh(_ verdict: Verdict) {
    guard verdict.startedAt != nil else { return }
    let kept = UInt64(clamping: verdict.outputBytes - verdict.droppedBytes)
    spoolBytes += max(SpoolFolder.block, (kept + SpoolFolder.block - 1) / SpoolFolder.block * SpoolFolder.block)
    if spoolBytes > quota { sweepSoon() }
  }

  private var quota: UInt64 { UInt64(clamping: settings.output.quota) }

  func sweepSoon() {
    guard !isSweeping, !isOver else { return }
    isSweeping = true
    engine.at(max(.now, nextSweep)) { [weak self] in self?.assumeIsolated { $0.beginSweep() } }
  }

  private func beginSweep() {
    Task {
      let began = MonotonicTime.now
      await sweep()
      isSweeping = false
      guard spoolBytes > quota else { return }
      nextSweep = .now + min(Worker.longestPause, max(Worker.shortestPause, (.now - began) * 100))
      sweepSoon()
    }
  }

  /// Weighs the folder, and thins it out where it weighs too much.
  private func sweep() async {
    let folder = SpoolFolder(settings.runsFolder, agent: uuid)
    var (total, settled) = await weighed(folder) { self.isSettled($0) }
    if total > quota {
      let goal = quota / 10 * 9
      let (freed, count) = await thin(folder, by: total - goal, from: settled) { self.isSettled($0) }
      total -= min(total, freed)
      if count > 0 { logger.info("output of old runs was removed", metadata: ["runs": "\(count)", "bytes": "\(freed)"]) }
    }
    if total > quota * 2 {
      let (_, ended) = await weighed(folder) { self.hasEnded($0) }
      let (freed, count) = await thin(folder, by: total - quota, from: ended) {
        guard self.hasEnded($0) else { return false }
        self.giveUpOutput($0)
        return true
      }
      total -= min(total, freed)
      if count > 0 {
        logger.error(
          "output that no dashboard has taken was removed: more than twice the quota had come together",
          metadata: ["runs": "\(count)", "bytes": "\(freed)", "output.quota": "\(quota)"])
      }
    }
    spoolBytes = total
  }

  /// - Returns: what all spools weigh, and last writes and weights of those that may go.
  private func weighed(_ folder: SpoolFolder, _ mayGo: (AttemptID) -> Bool) async -> (total: UInt64, mayGo: [(Int64, UInt32)]) {
    var total: UInt64 = 0
    var found: [(Int64, UInt32)] = []
    while !isOver {
      let spools = await folder.next(Worker.batch)
      if spools.isEmpty { break }
      for spool in spools {
        total += spool.bytes
        if mayGo(spool.id) { found.append((spool.lastWrite, UInt32(clamping: spool.bytes / 1024))) }
      }
    }
    return (total, found)
  }

  /// Removes the oldest of them.
  private func thin(
    _ folder: SpoolFolder, by surplus: UInt64, from weighed: [(lastWrite: Int64, kibibytes: UInt32)], _ mayGo: (AttemptID) -> Bool
  ) async -> (freed: UInt64, count: Int) {
    var last: Int64?
    var sum: UInt64 = 0
    for spool in weighed.sorted(by: { $0.lastWrite < $1.lastWrite }) {
      if sum >= surplus { break }
      sum += UInt64(spool.kibibytes) * 1024
      last = spool.lastWrite
    }
    guard let border = last else { return (0, 0) }
    var (freed, count): (UInt64, Int) = (0, 0)
    while !isOver {
      let spools = await folder.next(Worker.batch)
      if spools.isEmpty { break }
      // Several may have been written last at the border's time: enough is enough.
      var going: [SpoolFolder.Spool] = []
      var weight: UInt64 = 0
      for spool in spools
      where spool.lastWrite <= border && (spool.lastWrite < border || freed + weight < surplus) && mayGo(spool.id) {
        going.append(spool)
        weight += spool.bytes
      }
      if going.isEmpty { continue }
      freed += await folder.remove(going)
      count += going.count
    }
    return (freed, count)
  }

  /// Nobody waits for it, and the journal holds its end.
  private func isSettled(_ id: AttemptID) -> Bool {
    guard attempts[id] == nil, attempts.parked[id] == nil else { return false }
    return attempts.settled[id] != nil || attempts.forgotten.map { id.task <= $0 } ?? false
  }

  private func hasEnded(_ id: AttemptID) -> Bool {
    if let attempt = attempts[id] { return attempt.stage == .ended }
    return attempts.parked[id] != nil || isSettled(id)
  }

  /// Its verdict goes without it.
  private func giveUpOutput(_ id: AttemptID) {
    guard let attempt = attempts[id], !attempt.isOutputDone else { return }
    attempt.feed = nil
    feeds[id] = nil
    attempt.isOutputDone = true
    settleIfDone(attempt)
  }

  /// Of tasks of the plain hash that are forgotten.
  func removeSpools(of ids: [AttemptID]) {
    guard !ids.isEmpty else { return }
    SpoolFolder.remove(ids.map { "\(uuid)-\($0).log" }, in: settings.runsFolder)
  }
}
