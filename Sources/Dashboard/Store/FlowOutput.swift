// A run's output in the store: rows of contiguous bytes with their streams. Everything is idempotent by offset: bytes that are there are skipped.
import Foundation
import GRDB
import Shared

enum FlowOutput {
  /// Stores a slice's bytes. Returns true when it brought something new.
  static func store(_ db: Database, run: inout RunRow, attempt: Int, _ slice: OutputSlice, _ bytes: ArraySlice<UInt8>) throws
    -> Bool
  {
    guard attempt == run.attempt else { return try storeAside(db, run, attempt, slice, bytes) }
    guard let end = try add(db, run.id, attempt, slice, bytes, stored: run.outputStored, dropped: run.dropped) else {
      return false
    }
    run.outputStored = end
    run.outputBytes = max(run.outputBytes, end)
    try db.cachedStatement(sql: "UPDATE runs SET output_stored = ?, output_bytes = ? WHERE id = ?")
      .execute(arguments: [run.outputStored, run.outputBytes, run.id])
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
    let count: Int64 = row[1]
    let dropped = (row[2] as Int64?).flatMap { count > 0 ? $0..<$0 + count : nil }
    guard let end = try add(db, run.id, attempt, slice, bytes, stored: row[0], dropped: dropped) else { return false }
    try db.cachedStatement(
      sql: "UPDATE attempts SET output_stored = ?, output_bytes = max(output_bytes, ?) WHERE run = ? AND attempt = ?"
    ).execute(arguments: [end, end, run.id, attempt])
    return true
  }

  /// Returns the next offset wanted; nil where nothing is new.
  private static func add(
    _ db: Database, _ run: Int64, _ attempt: Int, _ slice: OutputSlice, _ bytes: ArraySlice<UInt8>, stored: Int64,
    dropped: Range<Int64>?
  ) throws -> Int64? {
    let end = slice.offset + Int64(bytes.count)
    guard slice.offset >= 0, !bytes.isEmpty else { return nil }
    var missing: [Range<Int64>] = []
    if slice.offset < stored { missing = try holes(db, run, attempt, in: slice.offset..<min(end, stored)) }
    if end > stored { missing.append(max(stored, slice.offset)..<end) }
    guard !missing.isEmpty else { return nil }
    for range in missing {
      let skip = Int(range.lowerBound - slice.offset)
      try db.cachedStatement(sql: "INSERT OR IGNORE INTO output (run, attempt, offset, segments, bytes) VALUES (?, ?, ?, ?, ?)")
        .execute(
          arguments: [
            run, attempt, range.lowerBound, Segments.text(slice.segments, skipping: skip, keeping: range.count),
            Data(bytes.dropFirst(skip).prefix(range.count)),
          ])
    }
    // Output has a stream of its own: what was on its way when the verdict dropped the middle comes after it.
    if let dropped, dropped.overlaps(slice.offset..<end) {
      try drop(db, run: run, attempt: attempt, from: dropped.lowerBound, count: Int64(dropped.count))
    }
    return max(end, stored)
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

  /// The command wrote more than is kept: what lies in the dropped middle goes.
  static func drop(_ db: Database, run: Int64, attempt: Int, from: Int64, count: Int64) throws {
    let end = from + count
    let rows = try Row.fetchAll(
      db,
      sql: """
        SELECT offset, segments, bytes FROM output WHERE run = ? AND attempt = ? AND offset < ?
        AND offset >= coalesce((SELECT max(offset) FROM output WHERE run = ? AND attempt = ? AND offset <= ?), 0)
        """, arguments: [run, attempt, end, run, attempt, from])
    for row in rows {
      let offset: Int64 = row[0]
      let bytes: Data = row[2]
      let segments = Segments.parse(row[1])
      guard offset + Int64(bytes.count) > from else { continue }
      try db.execute(sql: "DELETE FROM output WHERE run = ? AND attempt = ? AND offset = ?", arguments: [run, attempt, offset])
      let insert = "INSERT INTO output (run, attempt, offset, segments, bytes) VALUES (?, ?, ?, ?, ?)"
      if offset < from {
        let keep = Int(from - offset)
        try db.execute(
          sql: insert,
          arguments: [run, attempt, offset, Segments.text(segments, skipping: 0, keeping: keep), bytes.prefix(keep)])
      }
      if offset + Int64(bytes.count) > end {
        let skip = Int(end - offset)
        try db.execute(
          sql: insert,
          arguments: [run, attempt, end, Segments.text(segments, skipping: skip), bytes.dropFirst(skip)])
      }
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
