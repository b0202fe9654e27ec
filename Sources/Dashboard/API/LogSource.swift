// A run's log as it stands now: where its bytes lie, and how to read any part of it without having all of it in memory.

import GRDB
import Shared

struct LogSource: Sendable {
  let run: RunRecord
  private let store: Store
  private let stream: OutputStream?
  private let listing: Listing
  /// All of a short log, from the moment at which it was listed.
  private let whole: [UInt8]?
  /// Bytes in the log.
  var total: Int64 { listing.total }

  /// A piece that was there when the log was opened has gone since: by retention, or because the command has printed so much meanwhile.
  struct Gone: Error {}

  /// Which pieces the log is made of.
  private struct Listing: Sendable {
    var pieces: [OutputPiece]
    /// Position in the log of each piece's first byte.
    var starts: [Int64] = []
    var total: Int64 = 0

    init(_ pieces: [OutputPiece], of stream: OutputStream?) {
      self.pieces = pieces
      starts.reserveCapacity(pieces.count)
      for piece in pieces {
        starts.append(total)
        total += Int64(piece.length(of: stream))
      }
    }
  }

  /// - Parameter stream: only what the command wrote there; nil: both.
  init(_ run: RunRecord, in store: Store, stream: OutputStream?) async throws {
    self.store = store
    self.stream = stream
    // All as it stands at one moment: while a command goes on past its cap, the middle that is not kept grows all the time.
    (listing, self.run, whole) = try await store.read { db in
      let all = try OutputQueries.pieces(db, run: run.row, attempt: run.attempt)
      let dropped = try OutputQueries.dropped(db, run: run.row, attempt: run.attempt)
      var shown = run
      if let dropped { (shown.droppedFrom, shown.droppedBytes) = (dropped.lowerBound, Int64(dropped.count)) }
      let listing = Listing(all.filter { !(dropped?.contains($0.offset) ?? false) }, of: stream)
      let isShort = listing.total <= LogObject.smallBytes
      return (listing, shown, isShort ? try Self.bytes(db, listing, of: run, stream, 0..<listing.total) : nil)
    }
  }

  /// Exactly `count` bytes from `position` on, or fewer where the log ends before.
  /// - Throws: `Gone`, `StoreError`.
  func read(from position: Int64, count: Int) async throws -> [UInt8] {
    let end = min(position + Int64(count), total)
    guard position < end else { return [] }
    if let whole { return Array(whole[Int(position)..<Int(end)]) }
    return try await store.read { [run, stream, listing] db in try Self.bytes(db, listing, of: run, stream, position..<end) }
  }

  private static func bytes(
    _ db: Database, _ listing: Listing, of run: RunRecord, _ stream: OutputStream?, _ range: Range<Int64>
  ) throws -> [UInt8] {
    let (pieces, starts) = (listing.pieces, listing.starts)
    var out: [UInt8] = []
    out.reserveCapacity(range.count)
    var index = index(of: range.lowerBound, in: starts)
    while index < pieces.count, starts[index] < range.upperBound {
      let piece = pieces[index]
      let stored = try OutputQueries.bytes(db, run: run.row, attempt: run.attempt, offset: piece.offset)
      guard stored.count >= piece.length else { throw Gone() }
      let bytes = OutputQueries.select(stream, of: piece, stored)
      let from = Int(max(range.lowerBound, starts[index]) - starts[index])
      let to = Int(min(range.upperBound - starts[index], Int64(bytes.count)))
      if from < to { out += bytes[from..<to] }
      index += 1
    }
    return out
  }

  /// The last start that is not behind `position`.
  private static func index(of position: Int64, in starts: [Int64]) -> Int {
    var low = 0
    var high = starts.count
    while low < high {
      let middle = (low + high) / 2
      if starts[middle] <= position { low = middle + 1 } else { high = middle }
    }
    return max(0, low - 1)
  }
}
