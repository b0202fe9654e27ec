// A parsed head: its bytes, where the parts lie, and the decoded parts, made when first asked for.
//
// Most answers need the method and the path only; strings for fields and query would cost more than the whole parse.
// The parser has checked every byte and escape, so decoding here cannot fail.

import HTTPTypes
import Synchronization

final class RequestHead: Sendable {
  let bytes: [UInt8]
  let layout: HeadLayout
  let method: HTTPRequest.Method
  private let decoded = Mutex(Decoded())

  private struct Decoded: Sendable {
    var path: [String]?
    var query: Query?
    var fields: HTTPFields?
  }

  /// `source` holds the head from its first byte.
  init(_ source: Span<UInt8>, layout: HeadLayout) {
    bytes = source.extracting(0..<layout.length).withUnsafeBufferPointer { Array($0) }
    self.layout = layout
    method = Self.method(source, at: layout.method)
  }

  private static func method(_ bytes: Span<UInt8>, at range: Range<Int>) -> HTTPRequest.Method {
    let first = bytes[range.lowerBound]
    // The two that matter, without making a string.
    if range.count == 3, first == 0x47, bytes[range.lowerBound + 1] == 0x45, bytes[range.lowerBound + 2] == 0x54 { return .get }
    if range.count == 4, first == 0x50, bytes[range.lowerBound + 1] == 0x4F, bytes[range.lowerBound + 2] == 0x53,
      bytes[range.lowerBound + 3] == 0x54
    {
      return .post
    }
    let name = String(decoding: range.map { bytes[$0] }, as: UTF8.self)
    // The parser let only tokens through, which is all that the type asks for.
    return HTTPRequest.Method(name) ?? .get
  }

  var target: String { string(layout.target) }
  var authority: String { string(layout.authority) }

  var path: [String] {
    decoded.withLock { cache in
      if let path = cache.path { return path }
      let path = segments.map { segment(at: $0) }
      cache.path = path
      return path
    }
  }

  var query: Query {
    guard let range = layout.query, !range.isEmpty else { return Query() }
    return decoded.withLock { cache in
      if let query = cache.query { return query }
      let query = Query(bytes[range])
      cache.query = query
      return query
    }
  }

  var fields: HTTPFields {
    decoded.withLock { cache in
      if let fields = cache.fields { return fields }
      let fields = makeFields()
      cache.fields = fields
      return fields
    }
  }

  /// Where the path's segments lie: split at each raw slash, the first one left out. "/" has one empty segment.
  var segments: [Range<Int>] {
    var segments: [Range<Int>] = []
    var start = layout.path.lowerBound + 1
    guard start <= layout.path.upperBound else { return [layout.path.upperBound..<layout.path.upperBound] }
    for index in start..<layout.path.upperBound where bytes[index] == UInt8(ascii: "/") {
      segments.append(start..<index)
      start = index + 1
    }
    segments.append(start..<layout.path.upperBound)
    return segments
  }

  /// The decoded text of one segment.
  func segment(at range: Range<Int>) -> String {
    guard layout.hasEscapes else { return string(range) }
    return PercentCoding.text(bytes[range]) ?? ""
  }

  private func string(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

  private func makeFields() -> HTTPFields {
    var fields = HTTPFields()
    bytes.withUnsafeBufferPointer { buffer in
      let span = buffer.span
      var lineStart = layout.fields.lowerBound
      while lineStart < layout.fields.upperBound {
        var colon = lineStart
        while buffer[colon] != ByteRules.colon { colon += 1 }
        var end = colon + 1
        while buffer[end] != ByteRules.carriageReturn { end += 1 }
        if let name = HTTPField.Name(string(lineStart..<colon)) {
          fields.append(HTTPField(name: name, value: UnsafeBufferPointer(rebasing: buffer[span.trimmed((colon + 1)..<end)])))
        }
        lineStart = end + 2
      }
    }
    return fields
  }
}
