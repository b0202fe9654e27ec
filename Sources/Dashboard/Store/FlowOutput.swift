// A run's output in the store: rows of contiguous bytes with their streams. Everything is idempotent by offset: bytes that are there are skipped.
import Foundation
import GRDB
import Shared

enum FlowOutput {
  /// Stores a slice's bytes. Returns true when it brought something new.
  static func store(_ db: Database, run: inout RunRow, attempt: Int, _ slice: OutputSlice, _ bytes: ArraySlice<UInt8>) throws
    -> Bool
  {
    let end = slice.offset + Int64(bytes.count)
    guard attempt == run.attempt, end > run.outputStored, slice.offset >= 0 else { return false }
    let skip = Int(max(0, run.outputStored - slice.offset))
    try db.cachedStatement(sql: "INSERT OR IGNORE INTO output (run, attempt, offset, segments, bytes) VALUES (?, ?, ?, ?, ?)")
      .execute(
        arguments: [
          run.id, attempt, slice.offset + Int64(skip), Segments.text(slice.segments, skipping: skip),
          Data(bytes.dropFirst(skip)),
        ])
    run.outputStored = end
    run.outputBytes = max(run.outputBytes, end)
    try db.cachedStatement(sql: "UPDATE runs SET output_stored = ?, output_bytes = ? WHERE id = ?")
      .execute(arguments: [run.outputStored, run.outputBytes, run.id])
    // Output has a stream of its own: what was on its way when the verdict dropped the middle comes after it.
    if let dropped = run.dropped, dropped.overlaps(slice.offset..<end) {
      try drop(db, run: run.id, attempt: attempt, from: dropped.lowerBound, count: Int64(dropped.count))
    }
    return true
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
