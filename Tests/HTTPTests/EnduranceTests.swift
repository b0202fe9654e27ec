// What a server must survive, measured from outside: many requests, many connections, no descriptors, leaving clients. After
// each the process has as many descriptors as before and no more memory than one such round costs.

import Glibc
import Testing

@testable import HTTP

/// Runs `round` twice to warm up, then `rounds` times, and expects descriptors and memory to be flat over the latter.
private func staysFlat(
  rounds: Int, descriptors: Int? = nil, _ round: @escaping @Sendable (ServerProcess) throws -> Void
) async throws {
  let server = try await onThread { try ServerProcess(descriptors: descriptors) }
  for _ in 0..<2 { try await onThread { try round(server) } }
  try await handlersEnd(server)
  let files = try await fewestDescriptors(server)
  let memory = server.memory
  for _ in 0..<rounds { try await onThread { try round(server) } }
  try await handlersEnd(server)
  try await eventually("as many descriptors as before") { server.openDescriptors <= files }
  let memoryAfter = server.memory
  // Allocators keep some room; a leak of one small object per connection or request would be more.
  #expect(memoryAfter - memory < 3 << 20, "from \(memory) to \(memoryAfter) bytes")
  #expect(try await onThread { server.stop() } == 0)
}

private func handlersEnd(_ server: ServerProcess) async throws {
  let port = server.port
  try await eventually("all handlers have ended") {
    try await onThread { (try? Client(port: port).get("/running").text) == "0" }
  }
}

/// The number of descriptors once it no longer falls: connections that we closed are closed there a moment later.
private func fewestDescriptors(_ server: ServerProcess) async throws -> Int {
  var fewest = server.openDescriptors
  var unchanged = 0
  try await eventually("the number of descriptors settles") {
    let count = server.openDescriptors
    unchanged = count < fewest ? 0 : unchanged + 1
    fewest = min(fewest, count)
    return unchanged > 50
  }
  return fewest
}

@Suite struct EnduranceTests {
  @Test func tenThousandRequestsOnOneConnection() async throws {
    try await staysFlat(rounds: 2) { server in
      let client = try Client(port: server.port)
      for path in ["/now", "/later"] {
        let request = Array("GET \(path) HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n".utf8)
        for _ in 0..<50 {
          try client.send(Array(repeatElement(request, count: 100).joined()))
          for _ in 0..<100 {
            guard try client.reply().status == 200 else { throw ClientError(description: "not 200") }
          }
        }
      }
    }
  }

  @Test func aThousandOpenConnectionsAreServed() async throws {
    try await staysFlat(rounds: 2, descriptors: 4096) { server in
      let clients = try (0..<1000).map { _ in try Client(port: server.port) }
      for _ in 0..<2 {
        for (index, client) in clients.enumerated() {
          try client.send("GET \(index % 2 == 0 ? "/now" : "/later") HTTP/1.1\r\nHost: a\r\n\r\n")
        }
        for client in clients {
          guard try client.reply().status == 200 else { throw ClientError(description: "not 200") }
        }
      }
      // They are all still open at once.
      guard server.openDescriptors > 1000 else { throw ClientError(description: "connections were closed") }
    }
  }

  @Test func connectionsResetAtEveryStageLeaveNothingBehind() async throws {
    let stages: [String] = [
      "", "G", "GET /now HTTP/1.1\r\n", "GET /now HTTP/1.1\r\nHost: a\r\n\r\n", "GET /later HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /forever HTTP/1.1\r\nHost: a\r\n\r\n", "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", "BAD\r\n\r\n",
      String(repeating: "GET /now HTTP/1.1\r\nHost: a\r\n\r\n", count: 500),
      String(repeating: "GET /later HTTP/1.1\r\nHost: a\r\n\r\n", count: 50),
    ]
    try await staysFlat(rounds: 6) { server in
      for stage in stages {
        for ending in 0..<4 {
          let client = try Client(port: server.port)
          try client.send(stage)
          // At once, a moment later, after the first bytes of an answer; by reset and in an orderly way.
          if ending == 1 { pause(1) }
          if ending == 2 {
            var waiting = pollfd(fd: client.descriptor, events: Int16(POLLIN), revents: 0)
            poll(&waiting, 1, 20)
          }
          if ending == 3 { client.close() } else { client.reset() }
        }
      }
    }
  }

  @Test func aServerWithoutDescriptorsRefusesAndRecovers() async throws {
    let server = try await onThread { try ServerProcess(descriptors: 60) }
    let before = server.openDescriptors
    let port = server.port
    try await onThread {
      var clients: [Client] = []
      var refused = 0
      // Far more than the process may open.
      for _ in 0..<150 {
        let client = try Client(port: port)
        try client.send("GET /now HTTP/1.1\r\nHost: a\r\n\r\n")
        // One that finds no descriptor is answered 503, or cut where the answer met a request that was still coming.
        if let reply = try? client.reply(), reply.status == 200 { clients.append(client) } else { refused += 1 }
      }
      #expect(clients.count > 30)
      #expect(refused > 80)
      // Those that were there are served all the while.
      for client in clients { #expect(try client.get("/later").status == 200) }
      // It does not spin while it cannot accept.
      let used = try cpuTicks(server.pid)
      pause(300)
      #expect(try cpuTicks(server.pid) - used < 10)
    }
    // All of them are closed now.
    try await eventually("new clients are served again") {
      try await onThread { (try? Client(port: port).get("/now").status) == 200 }
    }
    try await handlersEnd(server)
    // A few more than at its start are the runtime's own, made with the first task (an epoll, an eventfd, a timer) at any time; of the fifty
    // connections that there were, none is left.
    try await eventually("all connections are closed") { server.openDescriptors <= before + 8 }
    #expect(try await onThread { server.stop() } == 0)
  }

  @Test func itEndsWithinItsDeadlineWhateverIsOpen() async throws {
    try await onThread {
      let server = try ServerProcess()
      let clients = try (0..<20).map { _ in try Client(port: server.port) }
      for (index, client) in clients.enumerated() {
        let requests = ["", "GET /no", "GET /forever HTTP/1.1\r\nHost: a\r\n\r\n", "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n"]
        try client.send(requests[index % 4])
      }
      #expect(server.stop() == 0)
    }
  }
}

/// User and system time of a process, in clock ticks (usually 10 ms).
private func cpuTicks(_ pid: pid_t) throws -> Int {
  let file = open("/proc/\(pid)/stat", O_RDONLY)
  guard file >= 0 else { throw ClientError(description: "no such process") }
  defer { close(file) }
  var bytes = [UInt8](repeating: 0, count: 1024)
  let count = read(file, &bytes, bytes.count)
  let fields = String(decoding: bytes[..<max(0, count)], as: UTF8.self).split(separator: ") ").last?.split(separator: " ") ?? []
  guard fields.count > 12, let user = Int(fields[11]), let system = Int(fields[12]) else {
    throw ClientError(description: "no times of \(pid)")
  }
  return user + system
}
