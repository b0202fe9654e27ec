// `?follow=1`: a log as it grows, until the verdict and the output up to it are here. Plain bytes, or server-sent events.
//
// An event's id is the offset of its first byte. Events end where stored pieces and their streams end, or at multiples of `longestEvent`
// within them, so that the end of an event can be told from its id alone: that is how `Last-Event-ID` resumes behind it.
//
// A run that may be started again is followed from its newest started attempt to its verdict: the next attempt's bytes follow once it was
// started and those of the one before are here. Its ids are `<attempt>.<offset>`.

import HTTP
import HTTPTypes
import Shared

struct LogFollow: Sendable {
  let services: APIServices
  let run: RunID
  let stream: OutputStream?
  /// Only this attempt; nil: from the newest one on.
  let only: Int?

  static let longestEvent = 64 * 1024
  /// After so long without anything a comment is sent, and the store is looked at.
  private static let quiet: Duration = .seconds(15)
  private static let piecesAtOnce = 16

  /// Bytes of one stream, as they stand in the store.
  private struct Part {
    var attempt: Int
    var offset: Int64
    var stream: OutputStream
    var bytes: [UInt8]
  }
  /// Of which attempt, and up to which offset. As an event's id: `<offset>` in the first attempt, `<attempt>.<offset>` in a later one.
  struct Place: Sendable, Equatable, LosslessStringConvertible {
    var attempt = 1
    var offset: Int64

    init(attempt: Int, offset: Int64) {
      self.attempt = attempt
      self.offset = offset
    }
    init?(_ text: String) {
      let parts = text.split(separator: ".", omittingEmptySubsequences: false)
      guard parts.count <= 2, let offset = parts.last.flatMap({ Int64($0) }), offset >= 0 else { return nil }
      self.offset = offset
      guard parts.count == 2 else { return }
      guard let attempt = Int(parts[0]), attempt > 1 else { return nil }
      self.attempt = attempt
    }
    var description: String { attempt == 1 ? "\(offset)" : "\(attempt).\(offset)" }
  }
  private struct Look {
    var run: RunRecord
    /// The attempt that is looked at.
    var shown: RunRecord
    /// A later one was started.
    var isOver: Bool
    var parts: [Part]
    /// Where to look next.
    var next: Place
  }

  // MARK: Plain bytes

  func plain() -> Response {
    var response = Response(
      headers: LogText.fields,
      body: .stream(length: nil) { writer in
        var endsLine = true
        try await follow(
          from: nil, state: { _ in }, quiet: {},
          next: { attempt in
            // As a task's log tells its hosts apart.
            try await writer.write("\(endsLine ? "" : "\n")==> attempt \(attempt) <==\n")
            endsLine = true
          },
          output: { part in
            try await writer.write(part.bytes)
            if let last = part.bytes.last { endsLine = last == UInt8(ascii: "\n") }
          })
      })
    response.endsOnDrain = true
    return response
  }

  // MARK: Events

  /// - Parameter lastEvent: the id of the last event that the client has; nil: none.
  func events(after lastEvent: Place?) -> Response {
    .eventStream { events in
      let start = try await services.store.read { db -> Place? in
        guard let lastEvent, let record = try RunQueries.find(db, run) else { return nil }
        let pieces = try OutputQueries.pieces(
          db, run: record.row, attempt: lastEvent.attempt, from: lastEvent.offset, limit: 1)
        return Place(attempt: lastEvent.attempt, offset: Self.end(ofEventAt: lastEvent.offset, in: pieces))
      }
      var last: RunRecord?
      try await follow(
        from: start,
        state: { record in
          last = record
          try await events.send(
            event: "state", data: String(decoding: JSONBody.object { record.write(to: &$0) }, as: UTF8.self))
        },
        quiet: { try await events.comment("still here") }, next: { _ in },
        output: { part in
          for event in Self.events(of: part) {
            let id = Place(attempt: part.attempt, offset: part.offset + event.at)
            try await events.send(event: "output", id: "\(id)", data: event.data)
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
        if part.attempt > 1 { body.field("attempt", part.attempt) }
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
    from start: Place?, state: (RunRecord) async throws -> Void, quiet: () async throws -> Void,
    next: (_ attempt: Int) async throws -> Void, output: (Part) async throws -> Void
  ) async throws {
    let news = services.watch.subscribe(run: run)
    defer { news.cancel() }
    var place = only.map { only in start.flatMap { $0.attempt == only ? $0 : nil } ?? Place(attempt: only, offset: 0) } ?? start
    var told: (state: RunState, attempt: Int)?
    // Since when all that is lacking is output.
    var endedAt: ContinuousClock.Instant?
    while true {
      let look = try await look(from: place)
      // The verdict is told after the output that came before it.
      if told ?? (.lost, 0) != (look.run.state, look.run.attempt), !look.run.state.isVerdict {
        told = (look.run.state, look.run.attempt)
        try await state(look.run)
      }
      for part in look.parts where stream == nil || part.stream == stream { try await output(part) }
      let moved = place != look.next
      place = look.next
      if moved { continue }
      let now = ContinuousClock.now
      let isFinal = look.run.state.isVerdict && look.shown.attempt == look.run.attempt
      if isFinal || look.isOver || only != nil && look.shown.state.isVerdict {
        let since = endedAt ?? now
        endedAt = since
        if look.shown.isComplete || now - since >= services.outputGrace {
          guard look.isOver, only == nil else { return try await state(look.run) }
          place = Place(attempt: look.shown.attempt + 1, offset: 0)
          endedAt = nil
          try await next(look.shown.attempt + 1)
          continue
        }
      }
      let wake = endedAt.map { $0 + services.outputGrace } ?? now + Self.quiet
      if try await news.next(until: wake).isEmpty, endedAt == nil { try await quiet() }
    }
  }

  private func look(from place: Place?) async throws -> Look {
    try await services.store.read { [run] db in
      guard let record = try RunQueries.find(db, run) else { throw LogSource.Gone() }
      let newest = try AttemptQueries.newestStarted(db, record)
      // An attempt that is gone was never started: the run went back to the one before it.
      let shown = try place.map { try AttemptQueries.find(db, record, $0.attempt) ?? newest } ?? newest
      let offset = place.map { $0.attempt == shown.attempt ? $0.offset : 0 } ?? 0
      var look = Look(
        run: record, shown: shown, isOver: shown.attempt < newest.attempt, parts: [],
        next: Place(attempt: shown.attempt, offset: offset))
      let pieces = try OutputQueries.pieces(db, run: record.row, attempt: shown.attempt, from: offset, limit: Self.piecesAtOnce)
      for piece in pieces {
        let bytes = try OutputQueries.bytes(db, run: record.row, attempt: shown.attempt, offset: piece.offset)
        var start = 0
        for segment in piece.segments {
          let end = min(start + segment.length, bytes.count)
          let from = max(start, Int(max(0, offset - piece.offset)))
          if from < end {
            look.parts.append(
              Part(
                attempt: shown.attempt, offset: piece.offset + Int64(from), stream: segment.stream,
                bytes: Array(bytes[from..<end])))
          }
          start = end
        }
        look.next.offset = max(look.next.offset, piece.offset + Int64(start))
      }
      return look
    }
  }
}
