// `?follow=1`: a log as it grows, until the verdict and the output up to it are here. Plain bytes, or server-sent events.
//
// An event's id is the offset of its first byte. Events end where stored pieces and their streams end, or at multiples of `longestEvent`
// within them, so that the end of an event can be told from its id alone: that is how `Last-Event-ID` resumes behind it.

import HTTP
import HTTPTypes
import Shared

struct LogFollow: Sendable {
  let services: APIServices
  let run: RunID
  let stream: OutputStream?

  static let longestEvent = 64 * 1024
  /// After so long without anything a comment is sent, and the store is looked at.
  private static let quiet: Duration = .seconds(15)
  private static let piecesAtOnce = 16

  /// Bytes of one stream, as they stand in the store.
  private struct Part {
    var offset: Int64
    var stream: OutputStream
    var bytes: [UInt8]
  }
  private struct Look {
    var run: RunRecord
    var parts: [Part]
    /// Where to look next.
    var next: Int64
  }

  // MARK: Plain bytes

  func plain() -> Response {
    var response = Response(
      headers: LogText.fields,
      body: .stream(length: nil) { writer in
        try await follow(from: 0, stream: stream, state: { _ in }, quiet: {}) { part in try await writer.write(part.bytes) }
      })
    response.endsOnDrain = true
    return response
  }

  // MARK: Events

  /// - Parameter lastEvent: the id of the last event that the client has; nil: none.
  func events(after lastEvent: Int64?) -> Response {
    .eventStream { events in
      let start = try await services.store.read { db in
        guard let lastEvent, let record = try RunQueries.find(db, run) else { return Int64(0) }
        return try Self.end(
          ofEventAt: lastEvent,
          in: OutputQueries.pieces(
            db, run: record.row, attempt: record.attempt, from: lastEvent, limit: 1))
      }
      var last: RunRecord?
      try await follow(
        from: start, stream: stream,
        state: { record in
          last = record
          try await events.send(
            event: "state", data: String(decoding: JSONBody.object { record.write(to: &$0) }, as: UTF8.self))
        },
        quiet: { try await events.comment("still here") },
        output: { part in
          for event in Self.events(of: part) {
            try await events.send(event: "output", id: "\(part.offset + event.at)", data: event.data)
          }
        })
      let end = JSONBody.object { body in
        body.field("auuid", run.description)
        body.field("state", last?.state.rawValue)
      }
      try await events.send(event: "end", data: String(decoding: end, as: UTF8.self))
    }
  }

  private static func events(of part: Part) -> [(at: Int64, data: String)] {
    stride(from: 0, to: part.bytes.count, by: longestEvent).map { start in
      let bytes = Array(part.bytes[start..<min(start + longestEvent, part.bytes.count)])
      let log = EncodedLog(bytes)
      let data = JSONBody.object { body in
        body.field("offset", part.offset + Int64(start))
        body.field("stream", part.stream == .stdout ? "stdout" : "stderr")
        body.field("data", log.text)
        body.field("encoding", log.encoding.rawValue)
      }
      return (Int64(start), String(decoding: data, as: UTF8.self))
    }
  }

  /// The first offset behind the event that begins at `offset`; `offset` itself where none begins there.
  static func end(ofEventAt offset: Int64, in pieces: [OutputPiece]) -> Int64 {
    guard let piece = pieces.first, piece.offset <= offset else { return offset }
    var start = piece.offset
    for segment in piece.segments {
      let end = start + Int64(segment.length)
      if offset < end {
        let within = offset - start
        return within % Int64(longestEvent) == 0 ? min(offset + Int64(longestEvent), end) : offset
      }
      start = end
    }
    return offset
  }

  // MARK: Following

  private func follow(
    from start: Int64, stream: OutputStream?, state: (RunRecord) async throws -> Void, quiet: () async throws -> Void,
    output: (Part) async throws -> Void
  ) async throws {
    let news = services.watch.subscribe(run: run)
    defer { news.cancel() }
    var offset = start
    var told: RunState?
    var verdictAt: ContinuousClock.Instant?
    while true {
      let look = try await look(from: offset)
      // The verdict is told after the output that came before it.
      if told != look.run.state, !look.run.state.isVerdict {
        told = look.run.state
        try await state(look.run)
      }
      for part in look.parts where stream == nil || part.stream == stream { try await output(part) }
      let moved = look.next > offset
      offset = look.next
      if moved { continue }
      let now = ContinuousClock.now
      if look.run.state.isVerdict {
        let since = verdictAt ?? now
        verdictAt = since
        if look.run.isComplete || now - since >= services.outputGrace { return try await state(look.run) }
      }
      let wake = verdictAt.map { $0 + services.outputGrace } ?? now + Self.quiet
      if try await news.next(until: wake).isEmpty, verdictAt == nil { try await quiet() }
    }
  }

  private func look(from offset: Int64) async throws -> Look {
    try await services.store.read { [run] db in
      guard let record = try RunQueries.find(db, run) else { throw LogSource.Gone() }
      var look = Look(run: record, parts: [], next: offset)
      let pieces = try OutputQueries.pieces(db, run: record.row, attempt: record.attempt, from: offset, limit: Self.piecesAtOnce)
      for piece in pieces {
        let bytes = try OutputQueries.bytes(db, run: record.row, attempt: record.attempt, offset: piece.offset)
        var start = 0
        for segment in piece.segments {
          let end = min(start + segment.length, bytes.count)
          let from = max(start, Int(max(0, offset - piece.offset)))
          if from < end {
            look.parts.append(
              Part(offset: piece.offset + Int64(from), stream: segment.stream, bytes: Array(bytes[from..<end])))
          }
          start = end
        }
        look.next = max(look.next, piece.offset + Int64(start))
      }
      return look
    }
  }
}
