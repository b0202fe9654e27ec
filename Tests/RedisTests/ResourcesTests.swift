// What a connection leaves behind and what it costs while nothing happens. Each test has a process of its own, so that its
// descriptors and threads are nobody else's.
import Glibc
import Redis
import RedisTestSupport
import Testing

@Suite struct ResourcesTests {
  @Test func descriptorsAreFlatOverManyConnectionsAndLosses() async {
    await #expect(processExitsWith: .success) {
      let server = try await RedisServerProcess.start()
      let warm = RedisConnection(server.configuration)
      try await warm.connect()
      // Swift's pool opens up to three descriptors of its own (epoll, timers) when it likes; a leak here would be of five or more.
      let most = openDescriptors() + 3
      for _ in 0..<200 {
        let connection = RedisConnection(server.configuration)
        try await connection.connect()
        _ = try await connection.send(RedisCommand("PING"))
        await connection.close()
      }
      for _ in 0..<50 {
        // Not closed, only dropped.
        try await RedisConnection(server.configuration).connect()
      }
      for round in 0..<50 {
        let popped = Task { try await warm.blocking(RedisCommand("BLPOP", "a", 0), for: .seconds(600)) }
        _ = round % 2 == 0 ? await Task.yield() : ()
        popped.cancel()
        _ = await popped.result
      }
      for _ in 0..<5 {
        try await server.kill()
        for _ in 0..<50 { await RedisConnection(server.configuration).close() }
        try await server.restart()
        try await warm.connected(within: .seconds(20))
      }
      try await eventually("at most \(most) descriptors are open") { openDescriptors() <= most }
      try await eventually("one owner thread is left") { ownerThreads().count == 1 }
      await warm.close()
      try await eventually("no owner thread is left") { ownerThreads().isEmpty }
    }
  }

  @Test func aConnectionThatFoundNoDescriptorAtItsMakingIsThereOnceThereIsOne() async {
    await #expect(processExitsWith: .success) {
      let server = try await RedisServerProcess.start()
      // Swift's pool makes what it needs now.
      try? await Task.sleep(for: .milliseconds(1))
      var before = rlimit()
      getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before)
      var none = rlimit(rlim_cur: 0, rlim_max: before.rlim_max)
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &none)
      let connection = RedisConnection(server.configuration)
      let dropped = RedisConnection(server.configuration)
      for _ in 0..<2 {
        guard case .down(.system("eventfd", EMFILE), _) = connection.state else { throw TestFailure("\(connection.state)") }
        guard case .failure(.notSent(.system)) = await connection.outcomes(of: [RedisCommand("PING")])[0] else {
          throw TestFailure("no reason is told")
        }
        await #expect(throws: RedisError.self) { try await connection.connected(within: .milliseconds(200)) }
        await #expect(throws: RedisError.self) { try await connection.connect() }
      }
      await dropped.close()
      guard case .closed = dropped.state else { throw TestFailure("\(dropped.state)") }
      let waiting = Task { try await connection.connected(within: .seconds(20)) }
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before)
      try await waiting.value
      #expect(connection.epoch == 1)
      _ = try await connection.send(RedisCommand("PING"))
      await connection.close()
      try await eventually("no owner thread is left") { ownerThreads().isEmpty }
    }
  }

  @Test func anIdleConnectionNeverWakes() async {
    await #expect(processExitsWith: .success) {
      let server = try await RedisServerProcess.start()
      let connection = RedisConnection(server.configuration)
      try await connection.connect()
      _ = try await connection.send(RedisCommand("PING"))
      let thread = try #require(ownerThreads().first)
      var before = -1
      try await eventually("the owner sleeps") {
        defer { before = contextSwitches(thread) }
        return before == contextSwitches(thread) && text(thread + "/status").contains("State:\tS")
      }
      // Not a wait for something: the time in which nothing may happen.
      try await Task.sleep(for: .seconds(1))
      #expect(contextSwitches(thread) == before)
      await connection.close()
    }
  }

  @Test func aServerThatClosesWhileWeWriteRaisesNoSignal() async {
    await #expect(processExitsWith: .success) {
      signal(SIGPIPE, SIG_DFL)
      let server = try await RedisServerProcess.start(["--proto-max-bulk-len", "1mb"])
      let connection = RedisConnection(server.configuration)
      try await connection.connect()
      let tooLarge = RedisCommand("SET", "a", [UInt8](repeating: 1, count: 32 << 20))
      // The server refuses the length at once and closes, with most of the bytes still here.
      for _ in 0..<5 {
        try await connection.connected(within: .seconds(20))
        guard case .failure = await connection.outcomes(of: [tooLarge, tooLarge])[1] else {
          throw TestFailure("expected a failure")
        }
      }
    }
  }
}

private func entries(_ path: String) -> [String] {
  guard let folder = opendir(path) else { return [] }
  defer { closedir(folder) }
  var names: [String] = []
  while let entry = readdir(folder) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    if !name.hasPrefix(".") { names.append(name) }
  }
  return names
}

private func openDescriptors() -> Int { entries("/proc/self/fd").count }

private func text(_ path: String) -> String {
  guard let file = fopen(path, "r") else { return "" }
  defer { fclose(file) }
  var bytes = [UInt8](repeating: 0, count: 4096)
  let count = fread(&bytes, 1, bytes.count, file)
  return String(decoding: bytes[..<count], as: UTF8.self)
}

/// The folders in /proc of threads named `redis`.
private func ownerThreads() -> [String] {
  entries("/proc/self/task").map { "/proc/self/task/" + $0 }.filter { text($0 + "/comm") == "redis\n" }
}

private func contextSwitches(_ thread: String) -> Int {
  let line = text(thread + "/status").split(separator: "\n").first { $0.hasPrefix("voluntary_ctxt_switches:") }
  return line.flatMap { Int($0.drop { !$0.isNumber }) } ?? -1
}
