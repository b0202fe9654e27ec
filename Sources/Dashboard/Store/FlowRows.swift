// How a run's knowledge (Shared/Flow) stands in its row. Only these files write `state`, `reported`, `closing` and `wants_end`.
import GRDB
import Shared

struct RunRow {
  var id: Int64
  var attempt: Int
  var project: String?
  var outputStored: Int64
  var outputBytes: Int64
  var knowledge: RunKnowledge

  /// The middle of its output that is not kept: as the verdict says, or as it grows while the command goes on.
  var dropped: Range<Int64>?
  /// Retention has removed its output, that of all its attempts: what comes of it is not wanted.
  var outputRemoved: Bool

  /// Everything about further attempts is only looked up where the task asked for them.
  static let columns = """
    id, attempt, project, output_stored, output_bytes, state, wants_end, reported, closing, dropped_bytes, dropped_from, retries,
    retry_delay, retry_on, held,
    CASE WHEN runs.retries > 0 THEN
      (SELECT coalesce(runs.number <= agents.restored, runs.state <> 'queued') FROM agents WHERE agents.uuid = runs.uuid) END,
    CASE WHEN runs.attempt > 1 THEN (SELECT attempts.state FROM attempts WHERE run = runs.id AND attempts.attempt = runs.attempt - 1) END,
    output_removed
    """

  /// Flags that only the process remembers are filled in by the caller.
  /// - Parameter first: where `columns` begin in the row.
  init(_ row: Row, from first: Int = 0) throws {
    id = try row.cell(first)
    attempt = try row.cell(first + 1)
    project = try row.cell(first + 2)
    outputStored = try row.cell(first + 3)
    outputBytes = try row.cell(first + 4)
    let name: String = try row.cell(first + 5)
    guard let state = RunState(rawValue: name) else { throw StoredFault("run \(id): unknown state '\(name)'") }
    let wants: String? = try row.cell(first + 6)
    knowledge = try RunKnowledge(
      state: state, wantsEnd: wants.flatMap { EndCause(rawValue: $0) }, reported: row.cell(first + 7),
      closing: row.cell(first + 8))
    let from: Int64? = try row.cell(first + 10)
    let count: Int64 = try row.cell(first + 9)
    dropped = from.flatMap { DroppedMiddle(from: $0, count: count).range }
    outputRemoved = try row.cell(first + 17)
    knowledge.attempt = attempt
    knowledge.retries = try Retries(
      count: row.cell(first + 11), delay: .milliseconds(row.cell(first + 12) as Int64),
      on: (row.cell(first + 13) as String?).map(Retries.verdicts) ?? Retries.defaultOn)
    knowledge.held = try row.cell(first + 14)
    knowledge.doubtful = try row.cell(first + 15) as Bool? ?? false
    let last = (try row.cell(first + 16) as String?).flatMap { RunState(rawValue: $0) }
    knowledge.lastVerdict = last.flatMap { $0.isVerdict ? $0 : nil }
  }

  static func fetch(_ db: Database, task: ULID, agent: AgentID) throws -> RunRow? {
    let statement = try db.cachedStatement(sql: "SELECT \(columns) FROM runs WHERE task = ? AND uuid = ?")
    return try Row.fetchOne(statement, arguments: [task.description, agent.text]).map { try RunRow($0) }
  }

  /// Writes back what the decisions changed.
  func saveKnowledge(_ db: Database) throws {
    try db.cachedStatement(sql: "UPDATE runs SET state = ?, wants_end = ?, reported = ?, closing = ?, held = ? WHERE id = ?")
      .execute(arguments: [
        knowledge.state.rawValue, knowledge.wantsEnd?.rawValue, knowledge.reported, knowledge.closing, knowledge.held, id,
      ])
  }
}

/// A row that this program cannot have written.
struct StoredFault: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

extension Row {
  /// A cell's value. The subscript ends the program where something else stands there than is expected.
  /// - Throws: `StoredFault`.
  func cell<Value: DatabaseValueConvertible & StatementColumnConvertible>(_ index: Int) throws -> Value {
    do { return try decode(Value.self, atIndex: index) } catch {
      let (held, first): (DatabaseValue, DatabaseValue) = (self[index], self[0])
      throw StoredFault(
        "\(Array(columnNames)[index]) is \("\(held)".prefix(80)) in the row that begins with \("\(first)".prefix(80))")
    }
  }
}

/// The flow's columns of an agent's row.
struct AgentRow {
  var agent: AgentID
  var knowledge: AgentKnowledge
  var reports: CommittedSequence
  var output: CommittedSequence

  /// Makes the row where there is none.
  /// - Throws: `StoredFault`.
  static func fetch(_ db: Database, _ agent: AgentID, now: Int64) throws -> AgentRow {
    let sql = "SELECT journal, incarnation, reports, output_from, output, number FROM agents WHERE uuid = ?"
    if let row = try Row.fetchOne(try db.cachedStatement(sql: sql), arguments: [agent.text]) {
      let journal: String? = try row.cell(0)
      let incarnation: String? = try row.cell(1)
      let outputFrom: String? = try row.cell(3)
      guard let reports = UInt64(exactly: try row.cell(2) as Int64), let output = UInt64(exactly: try row.cell(4) as Int64) else {
        throw StoredFault("agent \(agent): a sequence below zero")
      }
      return AgentRow(
        agent: agent, knowledge: AgentKnowledge(journal: journal.flatMap(Nonce.init), number: SendNumber(raw: try row.cell(5))),
        reports: CommittedSequence(incarnations: incarnation, sequence: reports),
        output: CommittedSequence(incarnation: outputFrom.flatMap(Nonce.init), sequence: output))
    }
    try db.cachedStatement(sql: "INSERT INTO agents (uuid, created_at) VALUES (?, ?)").execute(arguments: [agent.text, now])
    return AgentRow(agent: agent, knowledge: AgentKnowledge(), reports: CommittedSequence(), output: CommittedSequence())
  }

  /// The agent's present send number, and the journal for which a run that is read now is meant.
  static func mark(_ db: Database, _ agent: AgentID) throws -> SendMark {
    let row = try Row.fetchOne(
      try db.cachedStatement(sql: "SELECT number, journal FROM agents WHERE uuid = ?"), arguments: [agent.text])
    let journal: String? = row?[1]
    return SendMark(number: SendNumber(raw: row?[0] ?? 0), journal: journal.flatMap(Nonce.init))
  }

  /// The agent's present send number.
  static func number(_ db: Database, _ agent: AgentID) throws -> SendNumber {
    let sql = "SELECT number FROM agents WHERE uuid = ?"
    return SendNumber(raw: try Int64.fetchOne(try db.cachedStatement(sql: sql), arguments: [agent.text]) ?? 0)
  }

  func saveReports(_ db: Database) throws {
    try db.cachedStatement(sql: "UPDATE agents SET journal = ?, incarnation = ?, reports = ?, number = ? WHERE uuid = ?").execute(
      arguments: [
        knowledge.journal?.description, reports.incarnations, Int64(reports.sequence), knowledge.number.raw,
        agent.text,
      ])
  }
  func saveOutput(_ db: Database) throws {
    try db.cachedStatement(sql: "UPDATE agents SET output_from = ?, output = ? WHERE uuid = ?").execute(
      arguments: [output.incarnation?.description, Int64(output.sequence), agent.text])
  }
  func saveNumber(_ db: Database) throws {
    try db.cachedStatement(sql: "UPDATE agents SET number = ? WHERE uuid = ?").execute(arguments: [
      knowledge.number.raw, agent.text,
    ])
  }

  /// What `muster:{uuid}:acked` is to say. Nil before the first report.
  var acknowledgement: Acknowledgement? {
    guard let incarnation = reports.incarnation else { return nil }
    return Acknowledgement(
      incarnation: incarnation, reports: reports.sequence, output: output.incarnation == incarnation ? output.sequence : 0)
  }

  /// Rule `told`: the agent knows this send number. Returns true when the store was found to be a restored copy.
  mutating func learn(_ db: Database, _ known: SendNumber, now: Int64) throws -> Bool {
    guard knowledge.learns(known) else { return false }
    try storeWasRestored(db, known, now: now)
    return true
  }

  /// Rules `number`, `pair`: Redis knows this send number; compared under a fence. Returns true when the store was found to be a restored copy.
  mutating func compare(_ db: Database, _ known: SendNumber, under fence: Fence, now: Int64) throws -> Bool {
    let restored = knowledge.compares(known, under: fence)
    if restored { try storeWasRestored(db, known, now: now) }
    return restored
  }

  /// `RunKnowledge.storeWasRestored` for every run of the agent: what is queued here may have been sent. What follows an attempt that was marked
  /// up to that number may have been sent as well (`RunKnowledge.doubtful`).
  private func storeWasRestored(_ db: Database, _ known: SendNumber, now: Int64) throws {
    try db.execute(sql: "UPDATE agents SET restored = ? WHERE uuid = ?", arguments: [known.raw, agent.text])
    try db.cachedStatement(sql: "UPDATE runs SET state = 'sent', number = ?, sent_at = ? WHERE uuid = ? AND state = 'queued'")
      .execute(arguments: [known.raw, now, agent.text])
    try OutputRecall.note(db, agent)
  }
}
