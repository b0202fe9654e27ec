// Records and spools that cannot be read, now or at all. A run is judged by what its files say: as long as nobody can look, for want of a
// descriptor or because the disk does not answer, it is not judged. A damaged file is set aside under a second name, which the log says; what
// can be read of it counts.

import Glibc
import Runner
import Shared

extension Worker {
  static let damagedSuffix = ".damaged"
  /// A disk that does not answer gets so many tries, one a second.
  private static let looks = 60

  /// Whether it may still be possible to read an attempt's records.
  func mayPass(_ fault: Int32, _ attempt: Attempt) -> Bool {
    ReadFault.isShortage(fault) || (ReadFault.mayPass(fault) && attempt.failedLooks < Worker.looks)
  }

  func judgeLater(_ attempt: Attempt, _ fault: Int32) {
    if attempt.failedLooks == 0 {
      logger.warning(
        "what became of a run cannot be looked at now; it is tried again",
        metadata: ["run": "\(attempt.run)", "why": "\(systemErrorText(fault))"])
    }
    attempt.failedLooks += 1
    let id = attempt.id
    engine.at(.now + .seconds(1)) { [weak self] in self?.assumeIsolated { $0.judgeNow(id) } }
  }

  private func judgeNow(_ id: AttemptID) {
    guard let attempt = attempts[id], attempt.stage == .working, adopted[id] == nil, !isOver else { return }
    if attempt.handOff != nil { judge(attempt) } else { lookWhetherStarted(attempt) }
    startNext()
  }

  /// Says once per file that it is damaged, and keeps it from being removed with the others.
  /// - Parameter isWritten: its runner may be writing it: what is no whole record may become one.
  func noteDamage(_ feed: OutputFeed, _ attempt: Attempt, isWritten: Bool = true) {
    if feed.isShort, damagedFiles.insert(feed.path).inserted {
      logger.error(
        "a run's output file is shorter than it was: what is missing is not sent",
        metadata: ["run": "\(attempt.run)", "file": "\(String(decoding: feed.path, as: UTF8.self))"])
    }
    guard feed.isDamaged || feed.isTorn && !isWritten, damagedFiles.insert(feed.records).inserted else { return }
    let path = String(decoding: feed.records, as: UTF8.self)
    let aside = path + Worker.damagedSuffix
    let isKept = link(path, aside) == 0 || errno == EEXIST
    logger.error(
      "the records of a runner are damaged: what can be read of them counts",
      metadata: ["file": "\(isKept ? aside : path)", "run": "\(attempt.run)"])
  }
}
