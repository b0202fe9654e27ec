// What a batch of an agent's reports changes in the store. Runs inside the collector's transaction; decides nothing itself (`SequenceFlow`
// judges the batch, `RunFlow` each word). Everything is idempotent: a replayed batch is dropped unread.
import GRDB
import Shared

/// What became of a batch, for the loops and for whoever waits.
struct BatchOutcome: Sendable {
  var agent: AgentID
  /// False: dropped, as stale or because something before it is missing.
  var applied = false
  var acknowledgement: Acknowledgement?
  var hello: Hello?
  var saidBye = false
  var address: AgentAddress
  /// Of output, which has a sequence of its own: it says nothing of who speaks for the agent by now.
  var isOutput = false
  /// The store was found to be a restored copy.
  var restored = false
  /// Runs whose state changed, with their new states.
  var changed: [(task: ULID, state: RunState)] = []
  /// Runs with new output, and the offset up to which it is there.
  var grown: [(task: ULID, upTo: Int64)] = []
  /// Runs about which anything was said.
  var heard: [ULID] = []
  var denied: [ULID] = []
  /// Runs that went on with another attempt.
  var moves: [FlowAttempts.Move] = []
  /// Words for runs that have their verdict, or about an older attempt than the present one.
  var refused = 0
  /// Words from a journal whose agent was removed.
  var refusedAsRemoved = 0
  /// Runs that the store knows by these reports alone.
  var found = 0
  /// Words about nothing that the store has or can keep.
  var unknown = 0
  /// Rows that this program cannot have written: what was said about them is dropped, everything else goes on.
  var damaged: [String] = []
  /// Why something was passed over: it is of a later version, or nobody can have meant it.
  var passedOver: [String] = []
}

/// A word may only be committed once a tombstone stands in Redis: the collector writes it and tries again.
struct TombstoneWanted: Error {
  var agent: AgentID
  var task: ULID
}

enum FlowReports {
  /// - Parameters:
  ///   - flags: what the process remembers of a run: the tombstone that stands in Redis, denied since its last send.
  ///   - now: the wall clock, for people.
  ///   - deadline: the present moment by the clock for deadlines.
  ///   - random: from 0 to 1, for the jitter of a delay.
  static func apply(
    _ db: Database, _ batch: ReportBatch, now: Int64, deadline: Int64, random: () -> Double = { .random(in: 0...1) },
    flags: (ULID) -> (tomb: EndCause?, denied: Bool)
  ) throws -> BatchOutcome {
    var outcome = BatchOutcome(agent: batch.agent, address: batch.from)
    guard try !FlowRemoval.isFenced(db, batch.agent, batch.from.journal) else {
      outcome.refusedAsRemoved = batch.events.count
      return outcome
    }
    var agent: AgentRow
    do { agent = try AgentRow.fetch(db, batch.agent, now: now) } catch let fault as StoredFault {
      outcome.damaged.append(fault.description)
      return outcome
    }
    switch agent.reports.judge(
      incarnation: batch.from.incarnation, first: batch.first, count: batch.events.count, oldest: batch.oldest,
      sameJournal: agent.knowledge.journal == batch.from.journal)
    {
    case .stale, .gap:
      outcome.acknowledgement = agent.acknowledgement
      return outcome
    case .apply(let skip):
      outcome.applied = true
      outcome.passedOver = batch.passedOver
      // Rule `told`: before the first of its words is judged.
      for event in batch.events.dropFirst(skip) {
        guard let hello = event.hello else { continue }
        if !hello.sends.isCredible { outcome.passedOver.append("no dashboard gave out the send number \(hello.sends)") }
        if try agent.learn(db, hello.sends, now: now) { outcome.restored = true }
      }
      try judgeIdentity(db, &agent, batch.from.journal, &outcome)
      var tail = batch.tails[...]
      for (index, event) in batch.events.enumerated() {
        let bytes = tail.prefix(event.tail?.length ?? 0)
        tail = tail.dropFirst(bytes.count)
        guard index >= skip else { continue }
        do {
          try apply(db, event, bytes, of: agent, now: now, deadline: deadline, random: random, flags: flags, into: &outcome)
        } catch let fault as StoredFault { outcome.damaged.append(fault.description) }
      }
      try agent.saveReports(db)
      outcome.acknowledgement = agent.acknowledgement
      return outcome
    }
  }

  /// Rule `stream`: the identity is judged here, in the order of the stream, never by the lease.
  private static func judgeIdentity(
    _ db: Database, _ agent: inout AgentRow, _ journal: JournalID, _ outcome: inout BatchOutcome
  ) throws {
    guard agent.knowledge.speaks(with: journal) else { return }
    let rows = try Row.fetchAll(
      db, sql: "SELECT \(RunRow.columns) FROM runs WHERE uuid = ? AND state IN ('sent', 'running', 'unknown')",
      arguments: [agent.agent.text])
    for row in rows {
      do {
        var run = try RunRow(row)
        if run.knowledge.journalChanged() { try run.saveKnowledge(db) }
      } catch let fault as StoredFault { outcome.damaged.append(fault.description) }
    }
  }

  private static func apply(
    _ db: Database, _ event: ReportEvent, _ tail: ArraySlice<UInt8>, of agent: AgentRow, now: Int64, deadline: Int64,
    random: () -> Double, flags: (ULID) -> (tomb: EndCause?, denied: Bool), into outcome: inout BatchOutcome
  ) throws {
    switch event.kind {
    case .hello:
      guard let hello = event.hello else { return }
      outcome.hello = hello
      outcome.saidBye = false
      try greet(db, agent.agent, hello, now: now)
      return
    case .bye:
      outcome.saidBye = true
      try db.execute(sql: "UPDATE agents SET stopped_at = ? WHERE uuid = ?", arguments: [now, agent.agent.text])
      return
    case .unrecognised: return
    case .taken, .running, .ended, .unknown: break
    }
    guard let text = event.attempt, let id = AttemptID(text), let word = AgentWord(event) else {
      outcome.unknown += 1
      return
    }
    outcome.heard.append(id.task)
    var run: RunRow
    if let found = try RunRow.fetch(db, task: id.task, agent: agent.agent) {
      run = found
    } else if let plain = event.plain,
      let made = try FlowPlain.insert(db, plain, task: id.task, agent: agent.agent, now: now)
    {
      run = made
    } else if event.plain == nil, word != .unknown,
      let found = try FlowFound.insert(db, task: id.task, agent: agent.agent, attempt: id.attempt, now: now)
    {
      run = found
      outcome.found += 1
    } else {
      outcome.unknown += 1
      return
    }
    let flag = flags(id.task)
    run.knowledge.tomb = flag.tomb
    run.knowledge.denied = flag.denied
    let hearing = run.knowledge.hear(word, of: id.attempt)
    if hearing == .tombstoneFirst { throw TombstoneWanted(agent: agent.agent, task: id.task) }
    try move(db, &run, hearing, said: id, event, now: now, deadline: deadline, random: random, into: &outcome)
    switch hearing {
    case .tombstoneFirst: break
    case .refused: outcome.refused += 1
    case .nextAttempt:
      try run.saveKnowledge(db)
      outcome.changed.append((id.task, run.knowledge.state))
    case .noted, .moved:
      try run.saveKnowledge(db)
      try FlowLapses.spokenOf(db, run)
      if run.knowledge.denied { outcome.denied.append(id.task) }
      if hearing == .moved { outcome.changed.append((id.task, run.knowledge.state)) }
      if word == .running, run.attempt == id.attempt {
        try db.cachedStatement(
          sql: "UPDATE runs SET started_at = coalesce(started_at, ?), deadline = coalesce(deadline, ?) WHERE id = ?"
        ).execute(arguments: [event.startedAt ?? now, event.deadline, run.id])
      }
    case .ended(let state):
      if run.attempt == id.attempt { try end(db, run, event.verdict ?? Verdict(state: state), now: now) }
      try run.saveKnowledge(db)
      outcome.changed.append((id.task, state))
    }
    if let slice = event.tail, hearing != .refused {
      if try FlowOutput.store(db, run: &run, attempt: id.attempt, slice, tail) {
        outcome.grown.append((id.task, run.outputStored))
      }
    }
  }

  /// Carries out that a word has brought the run to another attempt.
  private static func move(
    _ db: Database, _ run: inout RunRow, _ hearing: Hearing, said id: AttemptID, _ event: ReportEvent, now: Int64,
    deadline: Int64, random: () -> Double, into outcome: inout BatchOutcome
  ) throws {
    let (before, after) = (run.attempt, run.knowledge.attempt)
    guard after != before else { return }
    if after < before {
      try FlowAttempts.goBack(db, &run, to: after)
      let state = event.verdict?.state ?? .cancelled
      try FlowAttempts.note(db, run.id, "attempt \(before) was \(state.rawValue) before it was started")
      outcome.moves.append(.init(task: id.task, attempt: after))
      return
    }
    guard case .nextAttempt(let verdict) = hearing else {
      try FlowAttempts.advance(db, &run, to: after, state: .unknown)
      outcome.moves.append(.init(task: id.task, attempt: after))
      return
    }
    if id.attempt > before { try FlowAttempts.advance(db, &run, to: id.attempt, state: .unknown) }
    try end(db, run, event.verdict ?? Verdict(state: verdict), now: now)
    let wait = run.knowledge.retries.wait(before: after, random: random())
    try FlowAttempts.advance(db, &run, to: after, state: verdict, notBefore: deadline + wait.milliseconds)
    outcome.moves.append(.init(task: id.task, attempt: after, wait: wait))
  }

  /// Writes how the present attempt ended.
  private static func end(_ db: Database, _ run: RunRow, _ v: Verdict, now: Int64) throws {
    // A run whose runner was killed ends without a word about its middle: then what was told while it went on stands.
    let told = v.droppedBytes > 0 ? v.droppedFrom.flatMap { DroppedMiddle(from: $0, count: v.droppedBytes).range } : run.dropped
    try db.cachedStatement(
      sql: """
        UPDATE runs SET exit_code = ?, signal = ?, reason = ?, note = coalesce(note || '; ' || ?, note, ?),
          started_at = coalesce(?, started_at), finished_at = ?, overdue = 0, output_bytes = max(output_bytes, ?), dropped_bytes = ?,
          dropped_from = ?, stdout_sha256 = ?, stderr_sha256 = ?, signalled = ?, remaining = ? WHERE id = ?
        """
    ).execute(arguments: [
      v.exitCode, v.signal, v.reason, v.note, v.note, v.startedAt, v.finishedAt ?? now, v.outputBytes,
      told.map { Int64($0.count) } ?? max(0, v.droppedBytes), told?.lowerBound, v.stdoutSha256, v.stderrSha256, v.signalled,
      v.left, run.id,
    ])
    if let told { try FlowOutput.drop(db, run: run.id, attempt: run.attempt, told) }
  }

  private static func greet(_ db: Database, _ agent: AgentID, _ hello: Hello, now: Int64) throws {
    let json = String(decoding: try JSONCoder.encode(hello), as: UTF8.self)
    try db.execute(
      // An agent with another journal than the removed one is welcome under its name.
      sql: "UPDATE agents SET hello = ?, stopped_at = NULL, removed_at = NULL, last_seen_at = ? WHERE uuid = ?",
      arguments: [json, now, agent.text])
    try db.execute(sql: "DELETE FROM members WHERE uuid = ?", arguments: [agent.text])
    for project in Set(hello.projects) {
      try db.execute(sql: "INSERT OR IGNORE INTO members (project, uuid) VALUES (?, ?)", arguments: [project, agent.text])
    }
  }

  /// Output frames, in their own sequence.
  static func apply(_ db: Database, _ frame: OutputFrame, now: Int64) throws -> BatchOutcome {
    var outcome = BatchOutcome(agent: frame.agent, address: frame.from, isOutput: true)
    guard try !FlowRemoval.isFenced(db, frame.agent, frame.from.journal) else { return outcome }
    var agent: AgentRow
    do { agent = try AgentRow.fetch(db, frame.agent, now: now) } catch let fault as StoredFault {
      outcome.damaged.append(fault.description)
      return outcome
    }
    let before = agent.output
    let judgement = agent.output.judge(incarnation: frame.from.incarnation, first: frame.sequence, count: 1, oldest: frame.oldest)
    outcome.acknowledgement = agent.acknowledgement
    guard case .apply = judgement else { return outcome }
    outcome.applied = true
    // Acknowledged, and not here: this store is a restored copy.
    let next = before.incarnation == frame.from.incarnation ? before.sequence + 1 : 1
    if frame.oldest > next { try OutputRecall.note(db, frame.agent) }
    var rest = frame.bytes[...]
    for slice in frame.slices {
      let bytes = rest.prefix(slice.length)
      rest = rest.dropFirst(bytes.count)
      do {
        guard let id = AttemptID(slice.attempt), var run = try RunRow.fetch(db, task: id.task, agent: frame.agent) else {
          outcome.unknown += 1
          continue
        }
        if try FlowOutput.store(db, run: &run, attempt: id.attempt, slice, bytes) {
          outcome.grown.append((id.task, run.outputStored))
        }
      } catch let fault as StoredFault { outcome.damaged.append(fault.description) }
    }
    try agent.saveOutput(db)
    return outcome
  }
}
