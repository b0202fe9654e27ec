// A task on its way into the store, with its runs: what accepting writes, in one transaction.

import GRDB
import Shared

/// One run of a task that is being accepted.
struct FreshRun: Sendable, Equatable {
  let id: RunID
  /// The project posted to, else the agent's first.
  var project: String?
  /// `.queued`, or `.sent` where the scheduler marks it in the accepting transaction.
  var state: RunState = .queued
  /// Its mark. Not nil exactly where `state` is `.sent`.
  var mark: SendMark?

  init(id: RunID, project: String?) {
    self.id = id
    self.project = project
  }
}

/// A task that is being accepted.
struct FreshTask: Sendable {
  enum Kind: String, Sendable { case agent, project }

  let id: ULID
  /// `<project>-<id>`, `<uuid>-<id>` or `tasks-<id>`.
  let auuid: String
  /// The name posted to, and what it names.
  let target: String
  let kind: Kind
  let spec: TaskSpec
  let origin: TaskOrigin
  /// Our wall clock, milliseconds since 1970.
  let createdAt: Int64
  /// Not to be started later; the clock for deadlines, milliseconds since 1970.
  let startBefore: Int64?
  var retries = Retries.none
  var runs: [FreshRun]
}

extension FreshTask {
  /// Key of the newest id given out, in table `store`.
  private static let newestKey = "newest_task"

  /// Writes the task and its runs, and remembers its id as the newest one.
  func insert(into db: Database) throws {
    try db.cachedStatement(
      sql: """
        INSERT INTO tasks (id, auuid, target, target_kind, taskname, args, spec, origin, created_at, start_before)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """
    ).execute(arguments: [
      id.description, auuid, target, kind.rawValue, spec.taskname, try spec.args.map { try Self.json($0) }, try Self.json(spec),
      origin.rawValue, createdAt, startBefore,
    ])
    let statement = try db.cachedStatement(
      sql: """
        INSERT INTO runs (task, uuid, project, state, number, queued_at, sent_at, start_before, retries, retry_delay, retry_on)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """)
    let retryOn = retries.count > 0 ? retries.text : nil
    for run in runs {
      try statement.execute(arguments: [
        run.id.task.description, run.id.agent.text, run.project, run.state.rawValue, run.mark?.number.raw, createdAt,
        run.state == .sent ? createdAt : nil, startBefore, retries.count, retries.delay.milliseconds, retryOn,
      ])
    }
    try db.cachedStatement(
      sql: "INSERT INTO store (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)"
    ).execute(arguments: [Self.newestKey, id.description])
  }

  /// The newest id that this store has given out: ids never go back, also not after everything was deleted.
  static func newest(in db: Database) throws -> ULID? {
    try String.fetchOne(db, sql: "SELECT value FROM store WHERE key = ?", arguments: [newestKey]).flatMap { ULID($0) }
  }

  private static func json(_ value: some Encodable) throws -> String {
    String(decoding: try JSONCoder.encode(value), as: UTF8.self)
  }
}
