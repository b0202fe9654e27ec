// The promises, held against the evidence. Each rule is a function that adds what it finds; nothing here does any I/O.
// When adding a promise: a rule, a call in `violations`, and made-up evidence in ChaosTests that breaks it.

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
  private let tasks: [Int: PostedTask]

  init(_ evidence: Evidence) {
    self.evidence = evidence
    tasks = Dictionary(
      uniqueKeysWithValues: evidence.ledger.posts.keys.map {
        ($0, PostedTask(seed: evidence.seed, number: $0, agents: evidence.agents))
      })
    accepted()
    kills()
    rowsAreVerdicts()
    verdictsStay()
    startedOnce()
    verdictsAreTrue()
    plainTasks()
    programs()
  }

  private mutating func found(_ text: String, run: String? = nil, at: Int? = nil) {
    violations.append(Violation(run: run, text: text, at: at))
  }

  /// Whether the database that was put back may have forgotten what was posted then.
  private func isForgotten(_ post: PostRecord) -> Bool {
    evidence.deeds.restores.contains { $0.copiedAt <= post.answeredAt && post.at <= $0.restoredAt }
  }

  /// Runs that a restored database knows by what their agents told again, and by nothing else: not that they may be retried, nor the task's name.
  private var runsOfForgottenPosts: Set<String> {
    Set(
      evidence.ledger.posts.values.filter(isForgotten).flatMap { post -> [String] in
        if case .accepted(let runs) = post.outcome { runs } else { [] }
      })
  }

  private func task(of row: RunRow) -> PostedTask? { PostedTask.number(ofTaskname: row.taskname).flatMap { tasks[$0] } }

  // MARK: Rules

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
    let forgotten = runsOfForgottenPosts
    for (run, refusal) in evidence.ledger.killRefused where !forgotten.contains(run) && !refusal.hasPrefix("409 ") {
      // Said before anything is looked at.
      if refusal.hasPrefix("503 ") { continue }
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
    let forgotten = runsOfForgottenPosts
    for (run, sighting) in evidence.ledger.seen {
      guard let verdict = sighting.verdict else { continue }
      // Its last verdict was another attempt's, and that it had attempts is forgotten.
      if forgotten.contains(run), let row = evidence.rows[run], row.taskname == "(unknown)", startsAllowed(run) > 1 { continue }
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
      let allowed = startsAllowed(run)
      if lines.count > allowed { found("was started \(lines.count) times, by runners \(lines.map(\.runner))", run: run) }
      if let row = evidence.rows[run], row.taskname != "(unknown)", lines.count > row.attempt, lines.count <= allowed {
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
      if state == .lost, !isExplained(row) { found("is \(row.summary), and nobody killed its runner", run: run, at: at) }
      guard let task = task(of: row) else { continue }
      if [.succeeded, .failed, .timedOut].contains(state), task.kind != .missing, starts == 0 {
        found("is \(row.summary), and was never started", run: run, at: at)
      }
      if state == .succeeded, evidence.ends[run] == nil {
        found("is succeeded, and did not come to its end", run: run, at: at)
      }
      if let fault = evidence.outputFaults[run] { found("is \(row.summary), and \(fault)", run: run, at: at) }
      // One that is killed while it waits for its next attempt keeps the verdict of the last one.
      let keptVerdict = task.retries > 0 && state == .failed && row.exitCode == 1
      let wasKilled = (state == .killed || state == .cancelled || keptVerdict) && evidence.ledger.killAsked[run] != nil
      if state != .lost, !wasKilled, !task.allows(state, exitCode: row.exitCode, signal: row.signal) {
        found("is \(row.summary), which a \(task.kind) one cannot be", run: run, at: at)
      }
    }
  }

  /// Its own runner was killed; or, where it did not come so far as to name it, one of its agent's.
  private func isExplained(_ row: RunRow) -> Bool {
    let kills = evidence.deeds.runnerKills.filter { PostedTask.agentName($0.agent) == row.agent }
    guard let start = evidence.starts[row.run]?.last, evidence.starts[row.run]?.count == row.attempt else {
      return !kills.isEmpty
    }
    // A shell whose runner was killed before it could ask names the process that inherited it.
    return kills.contains { $0.pid == start.runner } || (start.runner <= 1 && !kills.isEmpty)
  }

  private mutating func plainTasks() {
    var starts: [Int: Int] = [:]
    for lines in evidence.starts.values { for line in lines { if let plain = line.plain { starts[plain, default: 0] += 1 } } }
    for (number, wasAnswered) in evidence.ledger.plain {
      let count = starts[number, default: 0]
      if count > 1 { plainTwice += 1 }
      if count == 0, wasAnswered, !isLostPlain(number) { plainNever += 1 }
      guard !evidence.redisForgets else { continue }
      if count > 1 { found("plain task \(number) was started \(count) times, and Redis forgot nothing") }
      if count == 0, wasAnswered, !isLostPlain(number) {
        found("plain task \(number) was never started, and Redis forgot nothing")
      }
    }
  }

  /// Taken, and lost with its runner before it came to write its line.
  private func isLostPlain(_ number: Int) -> Bool {
    // A database that was put back may have forgotten the run with its verdict: then a runner of that agent has to have been killed.
    if !evidence.deeds.restores.isEmpty, evidence.deeds.runnerKills.contains(where: { $0.agent == number % evidence.agents }) {
      return true
    }
    return evidence.rows.values.contains {
      $0.taskname == Load.plainName(number) && $0.state == RunState.lost.rawValue && isExplained($0)
    }
  }

  private mutating func programs() {
    for surprise in evidence.surprises { found(surprise) }
    for entry in evidence.leftBehind { found("process \(entry.pid) was left behind: \(entry.commandLine.prefix(300))") }
    for growth in evidence.growth {
      if growth.after.descriptors > growth.before.descriptors + 12
        || growth.after.residentKiB > growth.before.residentKiB + 48 * 1024
      {
        found("\(growth.program) grew under a load without faults: from \(growth.before) to \(growth.after)")
      }
    }
  }
}
