// The head of an answer, in bytes. The server owns framing and connection fields; a handler's own are left out.

import HTTPTypes

enum ResponseEncoder {
  /// - Parameters:
  ///   - keepAlive: whether the connection stays open; a field says so where the version would assume otherwise.
  static func appendHead(
    _ response: Response, framing: BodyFraming, keepAlive: Bool, isHTTP10: Bool, date: [UInt8], to out: WriteBuffer
  ) {
    if response.status.code == 200 {
      out.append("HTTP/1.1 200 OK\r\n")
    } else {
      out.append("HTTP/1.1 ")
      out.append(decimal: response.status.code)
      out.append(ByteRules.space)
      out.append(response.status.reasonPhrase)
      out.append("\r\n")
    }
    out.append(date)
    for field in response.headers where !isOurs(field.name) {
      out.append(field.name.rawName)
      out.append(": ")
      field.withUnsafeBytesOfValue { out.append(UnsafeRawBufferPointer($0)) }
      out.append("\r\n")
    }
    switch framing {
    case .none: break
    case .sized(let length):
      out.append("Content-Length: ")
      out.append(decimal: length)
      out.append("\r\n")
    case .chunked: out.append("Transfer-Encoding: chunked\r\n")
    case .untilClose: break
    }
    if !keepAlive {
      out.append("Connection: close\r\n")
    } else if isHTTP10 {
      out.append("Connection: keep-alive\r\n")
    }
    out.append("\r\n")
  }

  /// Whether a handler asked for the connection to be closed.
  static func asksToClose(_ response: Response) -> Bool {
    guard !response.headers.isEmpty, let connection = response.headers[.connection] else { return false }
    return connection.lowercased() == "close"
  }

  private static func isOurs(_ name: HTTPField.Name) -> Bool {
    switch name.canonicalName.utf8.count {
    case 4: name.canonicalName == "date"
    case 10: name.canonicalName == "connection" || name.canonicalName == "keep-alive"
    case 14: name.canonicalName == "content-length"
    case 17: name.canonicalName == "transfer-encoding"
    default: false
    }
  }
}
