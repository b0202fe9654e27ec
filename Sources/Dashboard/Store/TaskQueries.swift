// Reading tasks, with the counts of their runs by state.
//
// A page of tasks that have a run of some kind is found by hopping: from one task to the next one down in the index, so that a task with
// ten thousand such runs costs one step.

import GRDB
import Shared

struct TaskRecord: Sendable, Equatable {
  var id: ULID
  var auuid: String
  var target: String
  var taskname: String
  /// JSON list, as stored.
  var args: String?
  var origin: String
  var createdAt: Int64
}

enum TaskQueries {
  private static let columns = "id, auuid, target, taskname, args, origin, created_at"

  static func find(_ db: Database, _ id: ULID) throws -> TaskRecord? {
    try Row.fetchOne(try db.cachedStatement(sql: "SELECT \(columns) FROM tasks WHERE id = ?"), arguments: [id.description]).map(
      read)
  }

  /// A task id, a task's `auuid`, or that (or an alias) of one of its runs.
  static func find(_ db: Database, named text: String) throws -> TaskRecord? {
    if let id = ULID(text) { return try find(db, id) }
    if let (_, id) = RunID.split(text), let task = try find(db, id), task.auuid == text { return task }
    return try RunQueries.find(db, named: text).flatMap { try find(db, $0.id.task) }
  }

  /// State → number of runs, of those states that there are.
  static func counts(_ db: Database, _ id: ULID) throws -> [RunState: Int] {
    let statement = try db.cachedStatement(sql: "SELECT count(*) FROM runs INDEXED BY runs_by_state WHERE state = ? AND task = ?")
    var counts: [RunState: Int] = [:]
    for state in RunState.allCases {
      let count = try Int.fetchOne(statement, arguments: [state.rawValue, id.description]) ?? 0
      if count > 0 { counts[state] = count }
    }
    return counts
  }

  /// One page, newest first: tasks that have a run which the filter lets through. `next` is nil on the last one.
  static func page(_ db: Database, _ filter: RunFilter, after: String?, limit: Int) throws -> (tasks: [TaskRecord], next: String?)
  {
    var found: [String]
    if filter.states.isEmpty && filter.project == nil && filter.uuid == nil && filter.task == nil {
      found = try all(db, filter, after: after, limit: limit + 1)
    } else {
      found = try filter.ranges.flatMap { try hop(db, filter, $0, after: after, limit: limit + 1) }
      if filter.ranges.count > 1 { found = Set(found).sorted(by: >) }
    }
    let page = found.prefix(limit)
    let statement = try db.cachedStatement(sql: "SELECT \(columns) FROM tasks WHERE id = ?")
    let tasks = try page.compactMap { try Row.fetchOne(statement, arguments: [$0]).map(read) }
    return (tasks, found.count > limit ? page.last : nil)
  }

  private static func all(_ db: Database, _ filter: RunFilter, after: String?, limit: Int) throws -> [String] {
    let upper = [after, filter.until.map { ULID.first(ofMillisecond: $0).description }].compactMap { $0 }.min()
    let lower = filter.since.map { ULID.first(ofMillisecond: $0).description } ?? ""
    // "~" sorts after every id.
    return try String.fetchAll(
      try db.cachedStatement(sql: "SELECT id FROM tasks WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?"),
      arguments: [lower, upper ?? "~", limit])
  }

  private static func hop(_ db: Database, _ filter: RunFilter, _ state: RunState?, after: String?, limit: Int) throws -> [String]
  {
    let (conditions, arguments) = filter.conditions(for: state)
    let statement = try db.cachedStatement(
      sql: "SELECT task FROM runs \(filter.index(for: state)) WHERE \(conditions) AND task < ? ORDER BY task DESC LIMIT 1")
    var found: [String] = []
    var below = after ?? "~"
    while found.count < limit, let task = try String.fetchOne(statement, arguments: arguments + [below]) {
      found.append(task)
      below = task
    }
    return found
  }

  private static func read(_ row: Row) throws -> TaskRecord {
    let name: String = try row.cell(0)
    guard let id = ULID(name) else { throw StoredFault("a task's id is '\(name)'") }
    return try TaskRecord(
      id: id, auuid: row.cell(1), target: row.cell(2), taskname: row.cell(3), args: row.cell(4), origin: row.cell(5),
      createdAt: row.cell(6))
  }
}
