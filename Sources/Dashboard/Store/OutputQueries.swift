// Reading a run's stored output. A run's log is what was kept, in the order in which it was read from the command; positions in the log are
// those of the kept bytes, offsets are those in everything that the command wrote. They differ behind a dropped middle.

import GRDB
import Shared

/// What one row of `output` holds, without the bytes.
struct OutputPiece: Sendable, Equatable {
  var offset: Int64
  var segments: [Segment]
  struct Segment: Sendable, Equatable {
    var stream: OutputStream
    var length: Int
  }
  var length: Int { segments.reduce(0) { $0 + $1.length } }

  /// Bytes of one stream, or of both.
  func length(of stream: OutputStream?) -> Int {
    guard let stream else { return length }
    return segments.reduce(0) { $0 + ($1.stream == stream ? $1.length : 0) }
  }

  /// - Parameter text: `stream:length,…` as it stands in `output.segments`.
  init(offset: Int64, segments text: String) {
    self.offset = offset
    segments = text.split(separator: ",").compactMap { part in
      let pair = part.split(separator: ":")
      guard pair.count == 2, let stream = UInt8(pair[0]).flatMap(OutputStream.init(rawValue:)), let length = Int(pair[1]),
        length > 0
      else { return nil }
      return Segment(stream: stream, length: length)
    }
  }
}

enum OutputQueries {
  /// The pieces of an attempt's output, in order.
  /// - Parameter from: beginning with the piece that holds this offset, or with the first one behind it.
  static func pieces(_ db: Database, run: Int64, attempt: Int, from: Int64 = 0, limit: Int = .max) throws -> [OutputPiece] {
    let statement = try db.cachedStatement(
      sql: """
        SELECT offset, segments FROM output WHERE run = ? AND attempt = ? AND offset >= coalesce(
          (SELECT max(offset) FROM output WHERE run = ? AND attempt = ? AND offset <= ?), 0)
        ORDER BY offset LIMIT ?
        """)
    let rows = try Row.fetchAll(statement, arguments: [run, attempt, run, attempt, from, limit])
    return rows.map { OutputPiece(offset: $0[0], segments: $0[1]) }.filter { $0.offset + Int64($0.length) > from }
  }

  /// What an attempt's log lacks in its middle; of a run that goes on it grows, and what lies in it is about to go.
  static func dropped(_ db: Database, run: Int64, attempt: Int) throws -> Range<Int64>? {
    let statement = try db.cachedStatement(
      sql: """
        SELECT dropped_from, dropped_bytes FROM runs WHERE id = ? AND attempt = ? AND dropped_from IS NOT NULL
        UNION ALL SELECT dropped_from, dropped_bytes FROM attempts WHERE run = ? AND attempt = ? AND dropped_from IS NOT NULL
        """)
    guard let row = try Row.fetchOne(statement, arguments: [run, attempt, run, attempt]) else { return nil }
    return try DroppedMiddle(from: row.cell(0), count: row.cell(1)).range
  }

  /// One piece's bytes; empty where it is gone.
  static func bytes(_ db: Database, run: Int64, attempt: Int, offset: Int64) throws -> [UInt8] {
    let statement = try db.cachedStatement(sql: "SELECT bytes FROM output WHERE run = ? AND attempt = ? AND offset = ?")
    let rows = try Row.fetchCursor(statement, arguments: [run, attempt, offset])
    guard let row = try rows.next() else { return [] }
    return try row.withUnsafeData(atIndex: 0) { data in data.map { [UInt8]($0) } ?? [] }
  }

  /// The log's first bytes, and whether there are more.
  static func head(_ db: Database, run: Int64, attempt: Int, limit: Int) throws -> (bytes: [UInt8], cut: Bool) {
    let dropped = try dropped(db, run: run, attempt: attempt) ?? 0..<0
    let statement = try db.cachedStatement(
      sql: "SELECT bytes FROM output WHERE run = ? AND attempt = ? AND NOT (offset >= ? AND offset < ?) ORDER BY offset")
    let rows = try Row.fetchCursor(statement, arguments: [run, attempt, dropped.lowerBound, dropped.upperBound])
    var bytes: [UInt8] = []
    while bytes.count <= limit, let row = try rows.next() {
      try row.withUnsafeData(atIndex: 0) { data in
        if let data { bytes.append(contentsOf: data.prefix(limit + 1 - bytes.count)) }
      }
    }
    return bytes.count > limit ? (Array(bytes.prefix(limit)), true) : (bytes, false)
  }

  /// One stream's bytes out of a piece's.
  static func select(_ stream: OutputStream?, of piece: OutputPiece, _ bytes: [UInt8]) -> [UInt8] {
    guard let stream else { return bytes }
    var out: [UInt8] = []
    var position = 0
    for segment in piece.segments {
      let end = min(position + segment.length, bytes.count)
      if segment.stream == stream { out += bytes[position..<end] }
      position = end
    }
    return out
  }
}
