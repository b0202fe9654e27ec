// A run's log as it stands now: where its bytes lie, and how to read any part of it without having all of it in memory.

import Shared

struct LogSource: Sendable {
  let run: RunRecord
  private let store: Store
  private let stream: OutputStream?
  private let pieces: [OutputPiece]
  /// Position in the log of each piece's first byte.
  private let starts: [Int64]
  /// Bytes in the log.
  let total: Int64

  /// A piece that was there when the log was opened has gone since (retention).
  struct Gone: Error {}

  /// - Parameter stream: only what the command wrote there; nil: both.
  init(_ run: RunRecord, in store: Store, stream: OutputStream?) async throws {
    self.run = run
    self.store = store
    self.stream = stream
    pieces = try await store.read { try OutputQueries.pieces($0, run: run.row, attempt: run.attempt) }
    var starts: [Int64] = []
    starts.reserveCapacity(pieces.count)
    var position: Int64 = 0
    for piece in pieces {
      starts.append(position)
      position += Int64(piece.length(of: stream))
    }
    self.starts = starts
    total = position
  }

  /// Exactly `count` bytes from `position` on, or fewer where the log ends before.
  /// - Throws: `Gone`, `StoreError`.
  func read(from position: Int64, count: Int) async throws -> [UInt8] {
    let end = min(position + Int64(count), total)
    guard position < end else { return [] }
    let first = Self.index(of: position, in: starts)
    return try await store.read { [run, stream, pieces, starts] db in
      var out: [UInt8] = []
      out.reserveCapacity(Int(end - position))
      var index = first
      while index < pieces.count, starts[index] < end {
        let piece = pieces[index]
        let stored = try OutputQueries.bytes(db, run: run.row, attempt: run.attempt, offset: piece.offset)
        guard stored.count >= piece.length else { throw Gone() }
        let bytes = OutputQueries.select(stream, of: piece, stored)
        let from = Int(max(position, starts[index]) - starts[index])
        let to = Int(min(end - starts[index], Int64(bytes.count)))
        if from < to { out += bytes[from..<to] }
        index += 1
      }
      return out
    }
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
