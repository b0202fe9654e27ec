// One HTTP request in tests, over a socket of its own.

import Dispatch
import Glibc
import RedisTestSupport
import Shared

struct Answer {
  let status: Int
  let head: String
  let body: String

  func error(_ field: String) throws -> String? { try JSONReader.parse(body)["error"]?[field]?.asString }
}

/// One request on a connection of its own.
func request(_ method: String, _ target: String, _ port: Int) async throws -> Answer {
  let text = "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
  let bytes: [UInt8] = await withCheckedContinuation { continuation in
    // Off the cooperative pool: this blocks.
    DispatchQueue.global().async { continuation.resume(returning: exchange(Array(text.utf8), port)) }
  }
  let whole = String(decoding: bytes, as: UTF8.self)
  guard let end = whole.firstRange(of: "\r\n\r\n"),
    let status = whole.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
  else { throw TestFailure("no answer from port \(port): \(whole)") }
  return Answer(status: status, head: String(whole[..<end.lowerBound]), body: String(whole[end.upperBound...]))
}

private func exchange(_ request: [UInt8], _ port: Int) -> [UInt8] {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
  defer { close(descriptor) }
  var patience = timeval(tv_sec: 10, tv_usec: 0)
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = UInt16(port).bigEndian
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  let connected = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
  }
  guard connected == 0, send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else { return [] }
  var answer: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 4096)
  while true {
    let count = recv(descriptor, &chunk, chunk.count, 0)
    if count <= 0 { return answer }
    answer += chunk[..<count]
  }
}
