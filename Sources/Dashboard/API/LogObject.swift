// A log in JSON: `{"uuid","taskname","log","encoding","state","auuid"}`, and `droppedBytes`, because a log that lacks its middle must say so.
// Long ones are written as they are read: once to see whether they are text, once to send them.

import HTTP
import HTTPTypes
import Shared

struct LogObject: Sendable {
  let source: LogSource

  /// Up to here a log is answered from memory.
  static let smallBytes: Int64 = 512 * 1024
  /// Bytes read at once; a multiple of 3, so that base64 can be made piece by piece.
  static let chunk = 192 * 1024

  func response() async throws -> Response {
    if source.total <= Self.smallBytes { return .json(try await bytes()) }
    return Response(
      headers: [.contentType: "application/json"], body: .stream(length: nil) { writer in try await write(to: writer) })
  }

  /// The object, all at once.
  func bytes() async throws -> [UInt8] {
    let log = EncodedLog(try await source.read(from: 0, count: Int(source.total)))
    return JSONBody.object { body in
      body.field("uuid", source.run.id.agent.text)
      body.field("taskname", source.run.taskname)
      body.field("log", log.text)
      body.field("encoding", log.encoding.rawValue)
      write(rest: &body)
    }
  }

  /// The object, piece by piece where it is long.
  func write(to writer: BodyWriter) async throws {
    if source.total <= Self.smallBytes { return try await writer.write(try await bytes()) }
    var check = UTF8Check()
    try await eachChunk { check.add($0) }
    let isText = check.isText
    let head = JSONBody.object { body in
      body.field("uuid", source.run.id.agent.text)
      body.field("taskname", source.run.taskname)
    }
    try await writer.write(head.dropLast() + Array(",\"log\":\"".utf8))
    var carried: [UInt8] = []
    try await eachChunk { chunk in
      guard isText else { return try await writer.write(Base64.encode(chunk)) }
      let all = carried + chunk
      let tail = UTF8Tail.length(of: all[...])
      carried = Array(all.suffix(tail))
      var quoted = JSONWriter()
      quoted.string(String(decoding: all.dropLast(tail), as: UTF8.self))
      try await writer.write(Array(quoted.bytes.dropFirst().dropLast()))
    }
    let rest = JSONBody.object { body in
      body.field("encoding", isText ? EncodedLog.Encoding.utf8.rawValue : EncodedLog.Encoding.base64.rawValue)
      write(rest: &body)
    }
    try await writer.write(Array("\",".utf8) + rest.dropFirst())
  }

  private func write(rest body: inout JSONBody) {
    body.field("state", source.run.state.rawValue)
    body.field("auuid", source.run.id.description)
    body.field("droppedBytes", source.run.droppedBytes)
    if source.run.retries > 0 { body.field("attempt", source.run.attempt) }
  }

  private func eachChunk(_ use: ([UInt8]) async throws -> Void) async throws {
    var position: Int64 = 0
    while position < source.total {
      let chunk = try await source.read(from: position, count: Self.chunk)
      guard !chunk.isEmpty else { throw LogSource.Gone() }
      try await use(chunk)
      position += Int64(chunk.count)
    }
  }
}
