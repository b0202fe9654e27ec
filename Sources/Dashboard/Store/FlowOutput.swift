// A run's output in the store: rows of contiguous bytes with their streams. Everything is idempotent by offset: bytes that are there are skipped.
//
// Invariant: of a run that goes on, no more is here than its head, twice, and its ring, and what is on its way: about one and a half times its
// host's `output.cap`. Each slice says what the host has overwritten meanwhile, and that goes here too (`giveUp`).
import Foundation
import GRDB
import Shared

enum FlowOutput {
  /// How an attempt's output stands.
  private struct Extent: Equatable {
    /// The next offset wanted.
    var stored: Int64
    /// What is not kept of it.
    var dropped: Range<Int64>?
  }

  /// Stores a slice's bytes. Returns true when it brought something new.
  static func store(_ db: Database, run: inout RunRow, attempt: Int, _ slice: OutputSlice, _ bytes: ArraySlice<UInt8>) throws
    -> Bool
  {
    guard !run.outputRemoved else { return false }
    guard attempt == run.attempt else { return try storeAside(db, run, attempt, slice, bytes) }
    let before = Extent(stored: run.outputStored, dropped: run.dropped)
    guard let now = try add(db, run.id, attempt, slice, bytes, to: before) else { return false }
    run.outputStored = now.stored
    run.outputBytes = max(run.outputBytes, now.stored)
    try db.cachedStatement(sql: "UPDATE runs SET output_stored = ?, output_bytes = ? WHERE id = ?")
      .execute(arguments: [run.outputStored, run.outputBytes, run.id])
    guard let dropped = now.dropped, dropped != before.dropped else { return true }
    run.dropped = dropped
    try db.cachedStatement(sql: "UPDATE runs SET dropped_from = ?, dropped_bytes = ? WHERE id = ?")
      .execute(arguments: [dropped.lowerBound, Int64(dropped.count), run.id])
    return true
  }

  /// Output of an earlier attempt that was still on its way, or, in a restored store, of one of which no word has come yet.
  private static func storeAside(_ db: Database, _ run: RunRow, _ attempt: Int, _ slice: OutputSlice, _ bytes: ArraySlice<UInt8>)
    throws -> Bool
  {
    guard attempt >= 1, attempt <= run.knowledge.retries.attempts else { return false }
    if attempt > run.attempt {
      try db.execute(
        sql: "INSERT OR IGNORE INTO attempts (run, attempt, state) VALUES (?, ?, ?)",
        arguments: [run.id, attempt, RunState.unknown.rawValue])
    }
    let sql = "SELECT output_stored, dropped_bytes, dropped_from FROM attempts WHERE run = ? AND attempt = ?"
    guard let row = try Row.fetchOne(try db.cachedStatement(sql: sql), arguments: [run.id, attempt]) else { return false }
    let (count, from): (Int64, Int64?) = try (row.cell(1), row.cell(2))
    let before = Extent(stored: try row.cell(0), dropped: from.flatMap { DroppedMiddle(from: $0, count: count).range })
    guard let now = try add(db, run.id, attempt, slice, bytes, to: before) else { return false }
    try db.cachedStatement(
      sql: "UPDATE attempts SET output_stored = ?, output_bytes = max(output_bytes, ?) WHERE run = ? AND attempt = ?"
    ).execute(arguments: [now.stored, now.stored, run.id, attempt])
    guard let dropped = now.dropped, dropped != before.dropped else { return true }
    try db.cachedStatement(sql: "UPDATE attempts SET dropped_from = ?, dropped_bytes = ? WHERE run = ? AND attempt = ?")
      .execute(arguments: [dropped.lowerBound, Int64(dropped.count), run.id, attempt])
    return true
  }

  /// Returns how the output stands after it; nil where nothing is new.
  private static func add(
    _ db: Database, _ run: Int64, _ attempt: Int, _ slice: OutputSlice, _ bytes: ArraySlice<UInt8>, to before: Extent
  ) throws -> Extent? {
    let (end, overflows) = slice.offset.addingReportingOverflow(Int64(bytes.count))
    guard slice.offset >= 0, !overflows, !bytes.isEmpty else { return nil }
    var extent = before
    if let overwritten = slice.dropped?.range {
      extent.dropped = try giveUp(db, run, attempt, overwritten, known: before.dropped)
    }
    var missing: [Range<Int64>] = []
    if slice.offset < extent.stored { missing = try holes(db, run, attempt, in: slice.offset..<min(end, extent.stored)) }
    if end > extent.stored { missing.append(max(extent.stored, slice.offset)..<end) }
    // Output has a stream of its own: what was on its way when its middle was dropped comes after that.
    if let dropped = extent.dropped { missing = missing.flatMap { $0.without(dropped) } }
    for range in missing {
      let skip = Int(range.lowerBound - slice.offset)
      try db.cachedStatement(sql: "INSERT OR IGNORE INTO output (run, attempt, offset, segments, bytes) VALUES (?, ?, ?, ?, ?)")
        .execute(
          arguments: [
            run, attempt, range.lowerBound, Segments.text(slice.segments, skipping: skip, keeping: range.count),
            Data(bytes.dropFirst(skip).prefix(range.count)),
          ])
    }
    extent.stored = max(end, extent.stored)
    return missing.isEmpty && extent == before ? nil : extent
  }

  /// What is not there of bytes that lie before the end: usually nothing, for they came twice. In a restored store it is what was acknowledged
  /// before and comes again.
  private static func holes(_ db: Database, _ run: Int64, _ attempt: Int, in wanted: Range<Int64>) throws -> [Range<Int64>] {
    let rows = try Row.fetchAll(
      try db.cachedStatement(
        sql: """
          SELECT offset, length(bytes) FROM output WHERE run = ? AND attempt = ? AND offset < ?
          AND offset >= coalesce((SELECT max(offset) FROM output WHERE run = ? AND attempt = ? AND offset <= ?), 0) ORDER BY offset
          """), arguments: [run, attempt, wanted.upperBound, run, attempt, wanted.lowerBound])
    var found: [Range<Int64>] = []
    var next = wanted.lowerBound
    for row in rows {
      let offset: Int64 = row[0]
      let length: Int64 = row[1]
      if offset > next { found.append(next..<offset) }
      next = max(next, offset + length)
    }
    if next < wanted.upperBound { found.append(next..<wanted.upperBound) }
    return found
  }

  // MARK: The middle that is not kept

  /// The verdict says that more was written than is kept: what lies in the dropped middle goes.
  static func drop(_ db: Database, run: Int64, attempt: Int, _ middle: Range<Int64>) throws {
    try split(db, run, attempt, at: middle.lowerBound)
    try split(db, run, attempt, at: middle.upperBound)
    try delete(db, run, attempt, middle)
  }

  /// The command goes on, and its host has overwritten this much of its middle.
  /// - Returns: what the log lacks from now on. It ends where a row begins: followers tell by the rows where an event ended.
  private static func giveUp(
    _ db: Database, _ run: Int64, _ attempt: Int, _ overwritten: Range<Int64>, known: Range<Int64>?
  ) throws -> Range<Int64>? {
    // The head never changes, and the middle only grows.
    if let known, overwritten.lowerBound != known.lowerBound || overwritten.upperBound <= known.upperBound { return known }
    let start = overwritten.lowerBound
    if known == nil { try split(db, run, attempt, at: start) }
    let end = try straddling(db, run, attempt, overwritten.upperBound)?.offset ?? overwritten.upperBound
    guard end > known?.upperBound ?? start else { return known }
    // As much of it as the head has stays for a while, unseen: whoever has begun to read it shall come to its end.
    if end - start > start { try delete(db, run, attempt, start..<end - start) }
    return start..<end
  }

  /// Rows that begin in this range.
  private static func delete(_ db: Database, _ run: Int64, _ attempt: Int, _ range: Range<Int64>) throws {
    try db.cachedStatement(sql: "DELETE FROM output WHERE run = ? AND attempt = ? AND offset >= ? AND offset < ?")
      .execute(arguments: [run, attempt, range.lowerBound, range.upperBound])
  }

  /// The row that holds bytes on both sides of an offset, without its bytes.
  private static func straddling(_ db: Database, _ run: Int64, _ attempt: Int, _ offset: Int64) throws -> (
    offset: Int64, segments: String
  )? {
    let statement = try db.cachedStatement(
      sql: """
        SELECT offset, segments FROM output WHERE run = ? AND attempt = ?
        AND offset = (SELECT max(offset) FROM output WHERE run = ? AND attempt = ? AND offset < ?) AND offset + length(bytes) > ?
        """)
    let row = try Row.fetchOne(statement, arguments: [run, attempt, run, attempt, offset, offset])
    return try row.map { try ($0.cell(0), $0.cell(1)) }
  }

  /// Makes a row begin at an offset. One row's bytes are all that is in memory, however much is dropped.
  private static func split(_ db: Database, _ run: Int64, _ attempt: Int, at offset: Int64) throws {
    guard let row = try straddling(db, run, attempt, offset) else { return }
    let keep = Int(offset - row.offset)
    let segments = Segments.parse(row.segments)
    try db.cachedStatement(
      sql: """
        INSERT INTO output (run, attempt, offset, segments, bytes)
          SELECT run, attempt, ?, ?, substr(bytes, ?) FROM output WHERE run = ? AND attempt = ? AND offset = ?
        """
    ).execute(arguments: [offset, Segments.text(segments, skipping: keep), keep + 1, run, attempt, row.offset])
    try db.cachedStatement(
      sql: "UPDATE output SET segments = ?, bytes = substr(bytes, 1, ?) WHERE run = ? AND attempt = ? AND offset = ?"
    ).execute(arguments: [Segments.text(segments, skipping: 0, keeping: keep), keep, run, attempt, row.offset])
  }
}

extension Range<Int64> {
  /// What is left of it: nothing, one part or two.
  fileprivate func without(_ other: Range<Int64>) -> [Range<Int64>] {
    guard overlaps(other) else { return [self] }
    return [lowerBound..<Swift.max(lowerBound, other.lowerBound), Swift.min(upperBound, other.upperBound)..<upperBound].filter {
      !$0.isEmpty
    }
  }
}

/// `stream:length,…` as it stands in `output.segments`.
enum Segments {
  static func text(_ segments: [[Int]], skipping: Int, keeping: Int = .max) -> String {
    var skip = skipping
    var left = keeping
    var parts: [String] = []
    for segment in segments where segment.count == 2 {
      let start = min(skip, segment[1])
      skip -= start
      let length = min(left, segment[1] - start)
      guard length > 0 else { continue }
      left -= length
      parts.append("\(segment[0]):\(length)")
    }
    return parts.joined(separator: ",")
  }

  static func parse(_ text: String) -> [[Int]] {
    text.split(separator: ",").compactMap { part in
      let pair = part.split(separator: ":").compactMap { Int($0) }
      return pair.count == 2 ? pair : nil
    }
  }
}
