// The promises, held against the evidence. Each rule is a function that adds what it finds; nothing here does any I/O.
// `+Losses`: what explains a lost run; `+Attempts`: retries, one by one; `+Times`: nothing came too soon or too late.
// When adding a promise: a rule, a call in `init`, and made-up evidence in ChaosTests that breaks it.

import Shared

struct Violation: Sendable, CustomStringConvertible {
  let run: String?
  let text: String
  /// When it was seen to happen, as far as that is known: the steps around it are printed.
  var at: Int?
  var description: String { run.map { "\($0): \(text)" } ?? text }
}

struct PromiseCheck {
  let evidence: Evidence
  private(set) var violations: [Violation] = []
  /// Tasks put into the plain hash: as durable as the Redis they stand in, so these are told and are no violation where Redis forgets.
  private(set) var plainTwice = 0
  private(set) var plainNever = 0
  /// Those that were lost before they came to write a line, and whose loss is explained.
  var plainLost: Set<Int> = []
  private let tasks: [Int: PostedTask]

  init(_ evidence: Evidence) {
    self.evidence = evidence
    tasks = Dictionary(
      uniqueKeysWithValues: evidence.ledger.posts.keys.map {
        ($0, PostedTask(seed: evidence.seed, number: $0, agents: evidence.agents))
      })
    loads()
    accepted()
    kills()
    rowsAreVerdicts()
    verdictsStay()
    startedOnce()
    verdictsAreTrue()
    attemptsAreTrue()
    timesAreTrue()
    lossesAreExplained()
    plainTasks()
    programs()
  }

  mutating func found(_ text: String, run: String? = nil, at: Int? = nil) {
    violations.append(Violation(run: run, text: text, at: at))
  }

  /// Whether the database that was put back may have forgotten what was posted then.
  private func isForgotten(_ post: PostRecord) -> Bool {
    evidence.deeds.restores.contains { $0.copiedAt <= post.answeredAt && post.at <= $0.restoredAt }
  }

  /// Such a run is known to a restored database by what its agent told again, and by nothing else: not that it may be retried, nor the task's name.
  private func isForgotten(_ run: String) -> Bool { post(of: run).map(isForgotten) ?? false }

  func task(of run: String) -> PostedTask? { evidence.number(of: run).flatMap { tasks[$0] } }
  func post(of run: String) -> PostRecord? { evidence.number(of: run).flatMap { evidence.ledger.posts[$0] } }

  // MARK: Rules

  /// What was to be accepted was, while things were killed and afterwards.
  private mutating func loads() {
    for posting in evidence.postings where posting.accepted < posting.fewest {
      found("only \(posting.accepted) of \(posting.wanted) runs were accepted \(posting.when)")
    }
  }

  /// Every accepted run is in the history, and a task for a project went to all of it.
  private mutating func accepted() {
    for (number, post) in evidence.ledger.posts.sorted(by: { $0.key < $1.key }) {
      guard case .accepted(let runs) = post.outcome else { continue }
      for run in runs where evidence.rows[run] == nil && !isForgotten(post) {
        found("was accepted, and the dashboard does not know it", run: run, at: post.answeredAt)
      }
      let expected = tasks[number]?.agent == nil ? evidence.agents : 1
      if runs.count != expected {
        found("task \(number) was accepted for \(runs.count) of \(expected) agents", at: post.answeredAt)
      }
    }
  }

  /// A run that was accepted can be asked to be killed; only one that has ended refuses.
  private mutating func kills() {
    for (run, refusal) in evidence.ledger.killRefused where !refusal.hasPrefix("409 ") {
      // Where nobody knows its task any more it was forgotten as well.
      if post(of: run).map(isForgotten) ?? !evidence.deeds.restores.isEmpty { continue }
      found("was accepted, and a request to kill it was refused with \(refusal)", run: run)
    }
  }

  private mutating func rowsAreVerdicts() {
    for (run, row) in evidence.rows where RunState(rawValue: row.state)?.isVerdict != true {
      let started =
        evidence.starts[run] == nil ? "was never started" : evidence.ends[run] == nil ? "was started" : "ran to its end"
      found("is still \(row.state); it \(started)", run: run)
    }
  }

  private mutating func verdictsStay() {
    for (run, sighting) in evidence.ledger.seen {
      guard let verdict = sighting.verdict else { continue }
      // Its last verdict was another attempt's, and that it had attempts is forgotten.
      if isForgotten(run), let row = evidence.rows[run], row.isUnknown, startsAllowed(run) > 1 { continue }
      for (state, at) in sighting.contradictions.prefix(1) { found("was \(verdict), and later \(state)", run: run, at: at) }
      for at in sighting.reopenedAt
      where !evidence.deeds.restores.contains(where: { $0.restoredAt <= at && sighting.verdictAt >= $0.copiedAt }) {
        found("was \(verdict), and later open again", run: run, at: at)
        break
      }
      if let row = evidence.rows[run], row.state != verdict, sighting.contradictions.isEmpty {
        found("was \(verdict), and is \(row.summary) at the end", run: run, at: sighting.verdictAt)
      }
    }
  }

  private mutating func startedOnce() {
    for line in evidence.oddLines.prefix(5) { found("a line of the file of starts cannot be read: \(line)") }
    for (run, lines) in evidence.starts {
      if let number = lines[0].number, let post = evidence.ledger.posts[number], case .refused(let status) = post.outcome {
        found("was started, and its task was refused (\(status))", run: run, at: post.at)
      }
      let allowed = startsAllowed(run)
      if lines.count > allowed { found("was started \(lines.count) times, by runners \(lines.map(\.runner))", run: run) }
      if let row = evidence.rows[run], !row.isUnknown, lines.count > row.attempt, lines.count <= allowed {
        found("was started \(lines.count) times in \(row.attempt) attempts, by runners \(lines.map(\.runner))", run: run)
      }
      if evidence.ends[run, default: 0] > allowed { found("ended more often than it may be started", run: run) }
      guard evidence.rows[run] == nil, let number = lines[0].number else { continue }
      guard let post = evidence.ledger.posts[number] else { found("was started and never posted", run: run); continue }
      if !isForgotten(post) { found("was started, and the dashboard does not know it", run: run, at: post.at) }
    }
  }

  private func startsAllowed(_ run: String) -> Int {
    1 + (evidence.starts[run]?.first?.number.flatMap { tasks[$0]?.retries } ?? 0)
  }

  private mutating func verdictsAreTrue() {
    for (run, row) in evidence.rows {
      guard let state = RunState(rawValue: row.state), state.isVerdict else { continue }
      let starts = evidence.starts[run]?.count ?? 0
      let at = evidence.ledger.seen[run]?.verdictAt
      if state.saysNeverStarted, starts > 0 { found("is \(row.summary), and was started", run: run, at: at) }
      guard let task = task(of: run) else { continue }
      if [.succeeded, .failed, .timedOut].contains(state), task.kind != .missing, starts == 0 {
        found("is \(row.summary), and was never started", run: run, at: at)
      }
      // Whatever fails by itself does so at its end.
      if state == .succeeded || (state == .failed && task.kind != .missing), evidence.ends[run] == nil {
        found("is \(row.summary), and did not come to its end", run: run, at: at)
      }
      if let fault = evidence.outputFaults[run] { found("is \(row.summary), and \(fault)", run: run, at: at) }
      // One that is killed while it waits for its next attempt keeps the verdict of the last one; and where only its agent knows of it, its first
      // attempt's may be all that is known.
      let keptVerdict = task.retries > 0 && state == .failed && row.exitCode == 1
      let wasKilled = (state == .killed || state == .cancelled || keptVerdict) && evidence.ledger.killAsked[run] != nil
      if state != .lost, !wasKilled, !(keptVerdict && row.isUnknown),
        !task.allows(state, exitCode: row.exitCode, signal: row.signal)
      {
        found("is \(row.summary), which a \(task.kind) one cannot be", run: run, at: at)
      }
    }
  }

  private mutating func plainTasks() {
    var starts: [Int: Int] = [:]
    for lines in evidence.starts.values { for line in lines { if let plain = line.plain { starts[plain, default: 0] += 1 } } }
    for (number, record) in evidence.ledger.plain {
      let count = starts[number, default: 0]
      let isMissing = count == 0 && record.answered && !plainLost.contains(number)
      if count > 1 { plainTwice += 1 }
      if isMissing { plainNever += 1 }
      guard !evidence.redisForgets else { continue }
      if count > 1 { found("plain task \(number) was started \(count) times, and Redis forgot nothing", at: record.at) }
      if isMissing { found("plain task \(number) was never started, and Redis forgot nothing", at: record.at) }
    }
  }

  private mutating func programs() {
    for surprise in evidence.surprises { found(surprise) }
    for entry in evidence.leftBehind { found("process \(entry.pid) was left behind: \(entry.commandLine.prefix(300))") }
    for growth in evidence.growth where growth.isTooMuch {
      found("\(growth.program) grew under a load without faults: from \(growth.before) to \(growth.after)")
    }
  }
}
