// What becomes of a journal that cannot be written, and what it forgets.
//
// While it cannot be written nothing is taken and nothing is started, and `health` says why; what runs goes on, and its end is kept here and
// in its runner's records. Once a second it is tried again, and everything goes on by itself (`Journal.recover`).
//
// Forgetting (rule `horizon`): ids and verdicts are remembered for 30 days of the agents' lives, counted in hours by the monotonic clock and
// journaled; no wall clock has a say, neither this host's nor the one in a ULID. Then of ids that dashboards made the newest is kept.
// Plain tasks' ids, which this host's clock made, never raise that: nobody else will ever send one.

import Glibc
import Shared

extension Worker {
  private static let retry = Duration.seconds(1)

  /// Says what was found when the journal was opened: nothing of it goes without a word.
  static func tell(of opened: Journal.Opened, _ surroundings: WorkSurroundings) {
    let (logger, file) = (surroundings.logger, opened.journal.path)
    if opened.torn.bytes > 0 {
      logger.warning(
        "the journal's last record was torn: it was cut off",
        metadata: [
          "file": "\(file)", "bytes": "\(opened.torn.bytes)",
          "kept": "\(opened.torn.aside ?? opened.torn.fault.map { "nowhere: \($0)" } ?? "nowhere")",
        ])
    }
    if let damaged = opened.damaged {
      logger.error(
        "the journal was unreadable in its middle: it goes on under a new identity, the damaged file is kept",
        metadata: ["file": "\(damaged)"])
    }
    if opened.isNew, hasRunBefore(surroundings) {
      logger.error(
        "the journal was gone or empty though this agent has run before: it begins under a new identity, what was open is not known any more",
        metadata: ["file": "\(file)"])
    }
  }

  /// Whether there is output or a runner's record of this agent's runs.
  private static func hasRunBefore(_ surroundings: WorkSurroundings) -> Bool {
    if !LostHandOffs.files(surroundings.settings.runnersFolder).isEmpty { return true }
    guard let folder = opendir(surroundings.settings.runsFolder) else { return false }
    defer { closedir(folder) }
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      // Agents may share a folder for their logs.
      if name.hasSuffix(".log"), RunID(String(name.dropLast(4)))?.agent == surroundings.uuid { return true }
    }
    return false
  }

  /// The journal takes nothing: said once per reason, and in `health` until it does again.
  func inTrouble(_ consequence: String, _ error: AgentWorkError) {
    if journalTrouble != error.description { logger.error("\(error): \(consequence)") }
    let isNew = journalTrouble == nil
    journalTrouble = error.description
    publish()
    if isNew { engine.at(.now + Worker.retry) { [weak self] in self?.assumeIsolated { $0.tryAgain() } } }
  }

  private func tryAgain() {
    guard !isOver else { return }
    Task { await recoverJournal() }
  }

  private func recoverJournal() async {
    do throws(AgentWorkError) {
      try await journal.recovered()
      if owesOpening { try journal.append([.opened(incarnation, bootID: bootID)]) }
    } catch {
      if journalTrouble != error.description { logger.error("\(error)") }
      journalTrouble = error.description
      publish()
      engine.at(.now + Worker.retry) { [weak self] in self?.assumeIsolated { $0.tryAgain() } }
      return
    }
    owesOpening = false
    journalTrouble = nil
    logger.notice("the journal can be written again")
    publish()
    endBell.ring()
    startNext()
  }

  /// Says in the journal that this process is there. Where that cannot be written now, nothing is taken until it is.
  func open() {
    do throws(AgentWorkError) {
      try journal.append([.opened(incarnation, bootID: bootID)])
    } catch {
      owesOpening = true
      inTrouble("nothing is taken", error)
    }
  }

  // MARK: Forgetting

  /// From now on each hour.
  func countHours() {
    engine.at(.now + .seconds(3600)) { [weak self] in
      self?.assumeIsolated {
        $0.hourHasPassed()
        $0.countHours()
      }
    }
  }

  private func hourHasPassed() {
    // An hour that cannot be written has not passed: things are remembered a little longer.
    guard (try? journal.append([.hour(hour + 1)])) != nil else { return }
    hour += 1
    forgetOld()
  }

  func forgetOld() {
    let (newest, plain) = attempts.nextToForget(hour: hour)
    removeSpools(of: plain)
    guard let newest else { return }
    // What cannot be written now is written in an hour.
    guard (try? journal.append([.forgotten(newest)])) != nil else { return }
    attempts.forget(newest)
    // The own ones have to be above it, whatever this host's clock says.
    ids.raise(to: newest)
  }
}
