// A server in a process of its own, for tests that look at the process: its descriptors, its memory, its limits.
// `HTTPTestServer [descriptor limit]` prints its port, serves until its input ends, then drains.

import Glibc
import HTTP
import HTTPTypes
import Synchronization

@main
struct HTTPTestServer {
  static func main() async throws {
    if CommandLine.arguments.count > 1, let number = rlim_t(CommandLine.arguments[1]) {
      var limit = rlimit(rlim_cur: number, rlim_max: number)
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
    var limits = ServerLimits()
    limits.halfClosedGrace = .milliseconds(200)
    limits.linger = .milliseconds(500)
    let running = RunningHandlers()
    let server = try Server(port: 0, limits: limits, loops: 2, router: Router(routes(running)))
    // Not `print`, whose output would wait in a buffer.
    let line = Array("port \(server.port)\n".utf8)
    write(1, line, line.count)
    let input = Task.detached { await endOfInput() }
    async let served: Void = server.run()
    await input.value
    await server.shutdown()
    try await served
  }

  private static func routes(_ running: RunningHandlers) -> [Route] {
    [
      Route(.get, "/now", .immediate { _, _ in .text("now") }),
      Route(.get, "/later", .waiting { _, _ in .text("later") }),
      Route(.get, "/running", .immediate { _, _ in .text("\(running.count)") }),
      Route(.post, "/echo", .waiting { request, _ in Response(contentType: "x/y", bytes: request.body) }),
      Route(
        .get, "/forever",
        .waiting { _, _ in
          try await running.counting { try await Task.sleep(for: .seconds(3600)) }
          return .text("never")
        }),
      Route(
        .get, "/endless",
        .waiting { _, _ in
          Response(
            body: .stream(length: nil) { writer in
              let block = [UInt8](repeating: 65, count: 20_000)
              try await running.counting { while true { try await writer.write(block) } }
            })
        }),
    ]
  }

  private static func endOfInput() async {
    await withCheckedContinuation { continuation in
      var thread = pthread_t()
      let box = Unmanaged.passRetained(Box(continuation))
      pthread_create(
        &thread, nil,
        { argument in
          var byte: UInt8 = 0
          while read(0, &byte, 1) > 0 {}
          if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().continuation.resume() }
          return nil
        }, box.toOpaque())
      pthread_detach(thread)
    }
  }

  private final class Box {
    let continuation: CheckedContinuation<Void, Never>
    init(_ continuation: CheckedContinuation<Void, Never>) { self.continuation = continuation }
  }
}

/// How many handlers have not ended yet.
private final class RunningHandlers: Sendable {
  private let state = Mutex(0)
  var count: Int { state.withLock { $0 } }

  func counting(_ body: () async throws -> Void) async throws {
    state.withLock { $0 += 1 }
    defer { state.withLock { $0 -= 1 } }
    try await body()
  }
}
