// A log as plain bytes, whole or a range of it (RFC 9110, section 14). Positions are those of the kept bytes.

import HTTP
import HTTPTypes

enum LogText {
  private static let chunk = 256 * 1024

  static func response(_ source: LogSource, _ request: Request) async throws -> Response {
    var headers = fields
    headers[.acceptRanges] = "bytes"
    if source.run.droppedBytes > 0, let name = HTTPField.Name("Muster-Dropped") {
      headers[name] = "\(source.run.droppedFrom ?? 0)+\(source.run.droppedBytes)"
    }
    var status = HTTPResponse.Status.ok
    var range = 0..<source.total
    switch ByteRange(request, total: source.total) {
    case .whole: break
    case .unsatisfiable:
      var refusal = APIError.badRange(request.headers[.range] ?? "", of: source.total).response()
      refusal.headers[.contentRange] = "bytes */\(source.total)"
      return refusal
    case .part(let part):
      status = .partialContent
      range = part
      headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(source.total)"
    }
    let count = Int(range.upperBound - range.lowerBound)
    if count <= chunk {
      let bytes = try await source.read(from: range.lowerBound, count: count)
      return Response(status: status, headers: headers, body: .bytes(bytes))
    }
    return Response(
      status: status, headers: headers,
      body: .stream(length: count) { [range] writer in try await write(source, range, to: writer) })
  }

  static func write(_ source: LogSource, _ range: Range<Int64>, to writer: BodyWriter) async throws {
    var position = range.lowerBound
    while position < range.upperBound {
      let bytes = try await source.read(from: position, count: Int(min(Int64(chunk), range.upperBound - position)))
      guard !bytes.isEmpty else { throw LogSource.Gone() }
      try await writer.write(bytes)
      position += Int64(bytes.count)
    }
  }

  /// What came from a host is never sniffed for markup.
  static var fields: HTTPFields {
    var fields: HTTPFields = [.contentType: "text/plain; charset=utf-8", .cacheControl: "no-store"]
    fields[.xContentTypeOptions] = "nosniff"
    return fields
  }
}

/// What a request's `Range` asks for. Several ranges, other units and `If-Range` get the whole, which the RFC allows.
enum ByteRange: Equatable {
  case whole
  case part(Range<Int64>)
  case unsatisfiable

  init(_ request: Request, total: Int64) {
    guard let text = request.headers[.range], request.headers[.ifRange] == nil else {
      self = .whole
      return
    }
    self.init(text, total: total)
  }

  init(_ text: String, total: Int64) {
    self = .whole
    let halves = text.split(separator: "=", maxSplits: 1)
    guard halves.count == 2, halves[0].lowercased() == "bytes" else { return }
    let ends = halves[1].filter { $0 != " " }.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    guard ends.count == 2, ends.allSatisfy({ $0.utf8.allSatisfy { (48...57).contains($0) } }) else { return }
    if ends[0].isEmpty {
      guard let count = Int64(ends[1]) else { return }
      self = count > 0 && total > 0 ? .part(max(0, total - count)..<total) : .unsatisfiable
      return
    }
    guard let first = Int64(ends[0]) else { return }
    guard let last = ends[1].isEmpty ? Int64.max : Int64(ends[1]), last >= first else { return }
    // The last position is whatever the client wrote: one more than that may be no number.
    self = first < total ? .part(first..<(last < total ? last + 1 : total)) : .unsatisfiable
  }
}
