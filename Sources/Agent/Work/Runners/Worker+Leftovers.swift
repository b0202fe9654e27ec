// What becomes of the processes of a run whose runner was killed: they are found (`Leftovers` says by which proofs), sent TERM, after the
// grace KILL, and looked for until two looks in a row find nobody. Only then the run is `lost`, and its verdict counts them.
// What if: the agent ends meanwhile: the next one judges the run anew and begins again; one cannot be ended (another user's, or in the
// kernel's hands): it is counted in `left` five seconds after KILL.

import Glibc
import Runner
import Shared

/// How far the ending of what a run left behind is.
struct Clearing {
  static let patience = Duration.seconds(5)

  let leftovers: Leftovers
  let group: String
  let why: String
  var signalled: Set<Leftovers.Process> = []
  /// Sent the first signal already.
  var warned: Set<Leftovers.Process> = []
  var killAt: MonotonicTime
  var quietLooks = 0
  var looks = 0
  var left = 0

  var note: String? {
    if signalled.isEmpty && left == 0 { return nil }
    let many = signalled.count == 1 ? "1 process" : "\(signalled.count) processes"
    return "\(many) that it left behind \(signalled.count == 1 ? "was" : "were") ended"
      + (left > 0 ? ", \(left) could not be" : "")
  }
}

extension Worker {
  /// Ends what the run left behind, then loses it.
  func clear(_ attempt: Attempt, _ feed: OutputFeed?) {
    guard attempt.clearing == nil else { return }
    let heading = attempt.handOff.flatMap { RecordsHeading.read($0.records) }
    let group = heading?.controlGroup ?? ""
    let grace = attempt.killAsked.map { max(.zero, $0.hardAt - .now) } ?? settings.task.grace
    var why =
      attempt.handOff == nil
      ? "it was started, and nobody knows how it ended" : "its runner was ended before it could record how the run ended"
    if let stuck = attempt.backstop.story { why = stuck }
    attempt.clearing = Clearing(
      leftovers: Leftovers(
        run: "\(attempt.run)", runner: attempt.handOff?.runner, controlGroup: group, started: feed?.state.started),
      group: group, why: why, killAt: .now + grace)
    if attempt.stage == .waiting { attempts.move(attempt, to: .working) }
    lookForLeftovers(attempt.id)
  }

  /// A kill was asked for while it is being cleared.
  func hasten(_ attempt: Attempt, until time: MonotonicTime) {
    guard let clearing = attempt.clearing else { return }
    attempt.clearing?.killAt = min(clearing.killAt, time)
  }

  private func lookForLeftovers(_ id: AttemptID) {
    guard let attempt = attempts[id], attempt.stage == .working, var clearing = attempt.clearing else { return }
    let found = clearing.leftovers.look(except: ownRunners)
    let now = MonotonicTime.now
    let isKilling = now >= clearing.killAt
    if clearing.looks == 0, !found.isEmpty {
      logger.warning(
        "a run without its runner has left processes behind: they are ended",
        metadata: ["run": "\(attempt.run)", "processes": "\(found.map { "\($0.pid)" }.joined(separator: " "))"])
    }
    var refused = 0
    for process in found {
      guard isKilling || clearing.warned.insert(process).inserted else { continue }
      let error = Leftovers.signal(process, isKilling ? SIGKILL : attempt.killAsked?.signal ?? SIGTERM)
      if error == 0 { clearing.signalled.insert(process) } else if error != ESRCH { refused += 1 }
    }
    clearing.looks += 1
    clearing.quietLooks = found.isEmpty ? clearing.quietLooks + 1 : 0
    let isHopeless = isKilling && !found.isEmpty && (refused == found.count || now >= clearing.killAt + Clearing.patience)
    if clearing.quietLooks >= 2 || isHopeless {
      clearing.left = found.count
      attempt.clearing = clearing
      ControlGroup.remove(clearing.group)
      lose(attempt, clearing.why, cleared: clearing)
      return startNext()
    }
    attempt.clearing = clearing
    // Soon after a look that found nobody or has just signalled somebody; otherwise they have their time.
    let wait: Duration = found.isEmpty ? .milliseconds(10) : .milliseconds(Int64(min(20 * clearing.looks, 200)))
    engine.at(isKilling ? now + wait : min(now + wait, max(clearing.killAt, now + .milliseconds(1)))) { [weak self] in
      self?.assumeIsolated { $0.lookForLeftovers(id) }
    }
  }

  /// Never to be taken for what a run left behind, though one may have been started by an agent that a run had started.
  private var ownRunners: Set<Int32> {
    Set(links.values.map(\.process.pid)).union(departing.keys).union(adopted.values.map(\.identity.pid))
  }
}
