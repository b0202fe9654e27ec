// The seeds' plain keys: commands put into the hash `<uuid>` by anybody, and the result hashes (API.md, "By redis-cli alone").

import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Agent

@Suite struct PlainTests {
  private func result(_ all: Surroundings, _ key: String) async throws -> [String: [UInt8]] {
    let reply = try await all.dashboard.connection.send(RedisCommand("HGETALL", key))
    var fields: [String: [UInt8]] = [:]
    for (field, value) in AgentBus.entries(reply) { fields[String(decoding: field, as: UTF8.self)] = value }
    return fields
  }

  private func untilResult(_ all: Surroundings, _ key: String, state: String) async throws -> [String: [UInt8]] {
    var found: [String: [UInt8]] = [:]
    try await eventually("\(state) under \(key), but \(found.mapValues { String(decoding: $0, as: UTF8.self) })") {
      found = try await result(all, key)
      return found["state"] == Array(state.utf8)
    }
    return found
  }

  @Test func aCommandInThePlainHashIsRunAndItsResultStandsUnderBothNames() async throws {
    let all = try await Surroundings()
    let connection = all.dashboard.connection
    _ = try await connection.send(RedisCommand("HSET", "web-1", "say hi/there", "printf 'a\\000b\\377'; exit 3"))
    let alias = try await untilResult(all, "web-1say hi/there", state: "failed")
    #expect(alias["log"] == [0x61, 0, 0x62, 0xff])
    #expect(alias["uuid"] == Array("web-1".utf8))
    #expect(alias["taskname"] == Array("say hi/there".utf8))
    #expect(alias["exit"] == Array("3".utf8))
    #expect(alias["muster"] == Array("1".utf8))
    #expect(try await connection.send(RedisCommand("EXISTS", "web-1")).integer == 0)
    // The dashboard hears of it with its name and command.
    try await all.dashboard.until("it is reported") { $0.events.contains { $0.kind == .ended } }
    let ended = try #require(await all.dashboard.events.last { $0.kind == .ended })
    #expect(ended.plain?.name.bytes == Array("say hi/there".utf8))
    #expect(ended.plain?.command.bytes == Array("printf 'a\\000b\\377'; exit 3".utf8))
    let id = try #require(AttemptID(ended.attempt ?? ""))
    let own = try await result(all, "web-1-\(id.task)")
    #expect(own == alias)
    let seconds = try await connection.send(RedisCommand("TTL", "web-1-\(id.task)")).integer ?? 0
    #expect((600_000...604_800).contains(seconds))
  }

  @Test func aSignalIsAnExitOf128AndMore() async throws {
    let all = try await Surroundings()
    _ = try await all.dashboard.connection.send(RedisCommand("HSET", "web-1", "die", "kill -KILL $$"))
    #expect(try await untilResult(all, "web-1die", state: "failed")["exit"] == Array("137".utf8))
  }

  @Test func aHashThatCarriesMusterIsAResultAndRunsNothing() async throws {
    let all = try await Surroundings()
    let connection = all.dashboard.connection
    let marker = all.marker("ran")
    _ = try await connection.send(RedisCommand("HSET", "web-1", "muster", "1", "log", "echo x > \(marker)"))
    try await all.dashboard.untilEnded(try await all.dashboard.send("sleep 2"))
    #expect(!Files.exists(marker))
    #expect(try await connection.send(RedisCommand("HLEN", "web-1")).integer == 2)
    try await eventually("the log says that nothing there is run") {
      all.contents(all.disk.logFile).contains("commands that are put there are not run")
    }
  }

  /// Its alias would be the agent's own key: from then on nothing that is put there would be run.
  @Test func aCommandWithoutANameIsRejectedAndThePlainKeyStaysOneForCommands() async throws {
    let all = try await Surroundings()
    let connection = all.dashboard.connection
    _ = try await connection.send(RedisCommand("HSET", "web-1", "", "echo nameless"))
    try await all.dashboard.until("it is reported") { $0.events.contains { $0.verdict?.state == .rejected } }
    let id = try #require(await all.dashboard.events.compactMap { AttemptID($0.attempt ?? "") }.last)
    _ = try await untilResult(all, "web-1-\(id.task)", state: "rejected")
    _ = try await connection.send(RedisCommand("HSET", "web-1", "named", "echo named"))
    #expect(try await untilResult(all, "web-1named", state: "succeeded")["log"] == Array("named\n".utf8))
  }

  /// Neither it nor its verdict, which tells it again, could be read back from the journal.
  @Test func aCommandOfFortyMegabytesIsRejectedAndTheJournalStaysWhole() async throws {
    var all = try await Surroundings()
    let identity = try await all.dashboard.address().journal
    let huge = [UInt8](repeating: UInt8(ascii: "x"), count: 40 << 20)
    _ = try await all.dashboard.connection.send(RedisCommand("HSET", "web-1", "huge", huge))
    try await all.dashboard.until("it is reported", within: .seconds(120)) {
      $0.events.contains { $0.verdict?.state == .rejected }
    }
    let verdict = try #require(await all.dashboard.events.last { $0.kind == .ended }?.verdict)
    #expect(verdict.reason == "bad_command" && verdict.note?.contains("64 KiB") == true)
    try await all.killAgent()
    try await all.startAgent()
    #expect(try await all.dashboard.address().journal == identity)
    #expect(try await all.dashboard.untilEnded(try await all.dashboard.send("exit 3")).exitCode == 3)
    #expect(!all.contents(all.disk.logFile).contains(".damaged-"))
  }

  @Test func aResultNeverOverwritesAKeyThatIsSomebodyElses() async throws {
    let all = try await Surroundings(uuid: "web")
    let connection = all.dashboard.connection
    // An agent `web1` has commands waiting; `web` is given a task named `1`.
    _ = try await connection.send(RedisCommand("HSET", "web1", "theirs", "echo theirs"))
    _ = try await connection.send(RedisCommand("HSET", "web", "1", "echo ours"))
    try await all.dashboard.until("it is reported") { $0.events.contains { $0.kind == .ended } }
    let id = try #require(await all.dashboard.events.compactMap { AttemptID($0.attempt ?? "") }.last)
    _ = try await untilResult(all, "web-\(id.task)", state: "succeeded")
    let theirs = try await result(all, "web1")
    #expect(theirs == ["theirs": Array("echo theirs".utf8)])
  }

  @Test func theAliasIsOfTheNewestRunAndTheHTTPLogFindsIt() async throws {
    let all = try await Surroundings()
    let connection = all.dashboard.connection
    _ = try await connection.send(RedisCommand("HSET", "web-1", "n", "echo one"))
    _ = try await untilResult(all, "web-1n", state: "succeeded")
    _ = try await connection.send(RedisCommand("HSET", "web-1", "n", "echo two; exit 1"))
    #expect(try await untilResult(all, "web-1n", state: "failed")["log"] == Array("two\n".utf8))
    let port = try #require(try await all.disk.status()?["http"]?.split(separator: ":").last.flatMap { Int($0) })
    let answer = try await request("GET", "/v1/agent/web-1n/log", port)
    #expect(answer.status == 200)
    #expect(answer.body.contains("\"auuid\":\"two\\n\""))
  }

  @Test func hundredsOfFieldsAreAllRunOnce() async throws {
    let all = try await Surroundings()
    let marker = all.marker("all")
    var command = RedisCommand("HSET", "web-1")
    for index in 0..<300 {
      command.append("t\(index)")
      command.append("echo \(index) >> \(marker)")
    }
    _ = try await all.dashboard.connection.send(command)
    try await all.dashboard.until("all have ended", within: .seconds(40)) { $0.events.filter { $0.kind == .ended }.count >= 300 }
    #expect(all.contents(marker).split(separator: "\n").compactMap { Int($0) }.sorted() == Array(0..<300))
  }

  @Test func aLongLogIsShownByHeadAndTail() async throws {
    let all = try await Surroundings()
    _ = try await all.dashboard.connection.send(RedisCommand("HSET", "web-1", "long", "seq 1 100000"))
    let log = try await untilResult(all, "web-1long", state: "succeeded")["log"] ?? []
    let text = String(decoding: log, as: UTF8.self)
    #expect(log.count <= 128 * 1024)
    #expect(text.hasPrefix("1\n2\n"))
    #expect(text.hasSuffix("\n100000\n"))
    #expect(text.contains("bytes are left out here"))
  }

  @Test func anUnusableCommandIsRejectedWithTheReasonAndRunsNothing() async throws {
    let all = try await Surroundings()
    _ = try await all.dashboard.connection.send(RedisCommand("HSET", "web-1", "empty", ""))
    _ = try await untilResult(all, "web-1empty", state: "rejected")
    try await all.dashboard.until("it is reported") { $0.events.contains { $0.verdict?.state == .rejected } }
    #expect(await all.dashboard.events.last { $0.kind == .ended }?.verdict?.reason == "bad_command")
  }

  @Test func theResultSaysRunningWhileItRunsAndGrows() async throws {
    let all = try await Surroundings()
    let gate = all.marker("gate")
    _ = try await all.dashboard.connection.send(
      RedisCommand("HSET", "web-1", "slow", "echo a; while [ ! -e \(gate) ]; do sleep 0.02; done; echo b"))
    let first = try await untilResult(all, "web-1slow", state: "running")
    #expect(first["exit"] == nil)
    let connection = all.dashboard.connection
    try await eventually("the log grows") {
      try await all.dashboard.collect()
      return try await connection.send(RedisCommand("HGET", "web-1slow", "log")).string == "a\n"
    }
    try Files.writeAtomically([], to: gate)
    #expect(try await untilResult(all, "web-1slow", state: "succeeded")["log"] == Array("a\nb\n".utf8))
  }
}
