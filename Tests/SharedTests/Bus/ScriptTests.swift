// The scripts against a real redis-server: each test forces the interleaving that its rule of DESIGN section 3 is for.
import Redis
import RedisTestSupport
import Testing

@testable import Shared

@Suite struct ScriptTests {
  private func withRedis(_ body: (RedisConnection) async throws -> Void) async throws {
    let server = try await RedisServerProcess.start()
    let connection = RedisConnection(server.configuration)
    do {
      try await connection.connect()
      try await body(connection)
    } catch { Issue.record(error) }
    await connection.close()
    try await server.stop()
  }

  private let id = AttemptID(task: ULID("01ARZ3NDEKTSV4RRFFQ69G5FAV")!)
  private let address = AgentAddress(journal: Nonce(1), incarnation: Nonce(2))
  /// Longer than any of these tests takes: nobody renews it.
  private static let leaseMilliseconds = 600_000

  /// `#expect` wants untyped throws.
  private func call(_ redis: RedisConnection, _ command: RedisCommand) async throws -> RedisValue {
    try await redis.send(command)
  }

  private func send(
    _ redis: RedisConnection, _ agent: AgentID, fence: Fence = 1, count: Int64 = 1, _ bytes: [UInt8] = [1, 0, 255]
  ) async throws -> RedisValue {
    try await redis.send(DashboardBus.send(agent, fence: fence, number: SendNumber(fence: fence, count: count), [(id, bytes)]))
  }
  private func takeLease(_ redis: RedisConnection, _ agent: AgentID, _ address: AgentAddress, position: String = "") async throws
    -> RedisValue
  {
    try await redis.run(
      Scripts.takeLease, keys: [Keys.lease(agent), Keys.journal(agent), Keys.fenced(agent)],
      [address.journal.description, "\(address) {}", Self.leaseMilliseconds, position])
  }
  private func confirm(
    _ redis: RedisConnection, _ agent: AgentID, _ address: AgentAddress, count: Int, nonce: Nonce = Nonce(9), _ ids: [AttemptID]
  ) async throws -> RedisValue {
    try await redis.run(
      Scripts.confirm, keys: [Keys.lease(agent), Keys.fenced(agent), Keys.inbox(agent), Keys.journal(agent)],
      [address.description, address.journal.description, count, nonce.description]
        + ids.map { $0.description as any RedisArgument })
  }
  private func expectError(_ prefix: String, _ body: () async throws -> RedisValue) async {
    do {
      let value = try await body()
      Issue.record("expected \(prefix), got \(value)")
    } catch RedisError.reply(let error) {
      #expect(error.message.hasPrefix(prefix))
    } catch { Issue.record(error) }
  }

  @Test func anEnvelopeIsAddedOnceByteForByteAndRingsTheBellOnce() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("send-once")
      #expect(try await send(redis, agent) == .array([.integer(1)]))
      #expect(try await send(redis, agent, count: 2, [7]) == .array([.integer(0)]))
      #expect(try await call(redis, RedisCommand("HGET", Keys.inbox(agent), id.description)).bytes == [1, 0, 255])
      #expect(try await call(redis, RedisCommand("LLEN", Keys.control(agent))).integer == 1)
      let bell = try await redis.send(RedisCommand("LPOP", Keys.control(agent))).bytes ?? []
      #expect(try ControlMessage(bytes: bell).kind == .bell)
    }
  }

  /// Rule `heed`.
  @Test func aTombstonedIdIsNeverAddedAgain() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("tomb")
      let number = SendNumber(fence: 1, count: 5)
      let reply = try await call(redis, DashboardBus.tombstones(agent, fence: 1, number: number, [(id, .cancelled)]))
      #expect(DashboardBus.causes(reply, count: 1) == [.cancelled])
      #expect(try await send(redis, agent) == .array([.integer(-1)]))
      #expect(try await call(redis, RedisCommand("HLEN", Keys.inbox(agent))).integer == 0)
      #expect(try await call(redis, RedisCommand("GET", Keys.sends(agent))).integer == number.raw)
    }
  }

  /// Rule `tomb`.
  @Test func theFirstCauseOfATombstoneStands() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("causes")
      func entomb(_ tombs: [(id: AttemptID, cause: EndCause)]) async throws -> [EndCause]? {
        DashboardBus.causes(
          try await call(redis, DashboardBus.tombstones(agent, fence: 1, number: .zero, tombs)), count: tombs.count)
      }
      let ids = ULIDGenerator()
      let (cancelled, expired) = (AttemptID(task: ids.next()), AttemptID(task: ids.next()))
      #expect(try await entomb([(cancelled, .cancelled), (expired, .expired)]) == [.cancelled, .expired])
      #expect(try await entomb([(expired, .cancelled), (cancelled, .expired)]) == [.expired, .cancelled])
      // The tombstone itself is what the send script looks for, whatever it says.
      for id in [cancelled, expired] {
        let sent = try await redis.send(DashboardBus.send(agent, fence: 1, number: .zero, [(id, [1])]))
        #expect(sent == .array([.integer(-1)]))
      }
      #expect(DashboardBus.causes(.integer(2), count: 2) == nil && DashboardBus.causes(.array([]), count: 1) == nil)
    }
  }

  /// Rules `raises`, `fence`, `oneWrites`.
  @Test func anOlderDashboardIsRefusedByEveryScriptOnceANewerOneCompared() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("fence")
      #expect(try await call(redis, DashboardBus.compare(agent, fence: 3)).string == "0")
      await expectError("FENCED 3") { try await send(redis, agent, fence: 2) }
      await expectError("FENCED 3") { try await redis.send(DashboardBus.compare(agent, fence: 2)) }
      await expectError("FENCED 3") {
        try await redis.send(DashboardBus.tombstones(agent, fence: 2, number: .zero, [(id, .cancelled)]))
      }
      let message = ControlMessage(.reconcile, to: address, attempts: [id])
      await expectError("FENCED 3") { try await redis.send(try DashboardBus.control(agent, fence: 2, number: .zero, message)) }
      let acknowledgement = Acknowledgement(incarnation: Nonce(1), reports: 1, output: 1)
      await expectError("FENCED 3") { try await redis.send(DashboardBus.acknowledge(agent, fence: 2, acknowledgement)) }
      #expect(try await send(redis, agent, fence: 3) == .array([.integer(1)]))
    }
  }

  @Test func acknowledgementsOfOneIncarnationOnlyGrowAndANewOneBeginsAnew() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("acked")
      for (incarnation, reports, output, expected) in [
        (1, 4, 7, "4:7"), (1, 6, 2, "6:7"), (1, 5, 9, "6:9"), (2, 1, 0, "1:0"),
      ] as [(UInt64, UInt64, UInt64, String)] {
        let said = Acknowledgement(incarnation: Nonce(incarnation), reports: reports, output: output)
        _ = try await redis.send(DashboardBus.acknowledge(agent, fence: 1, said))
        let held = try await redis.send(RedisCommand("GET", Keys.acked(agent))).string
        #expect(held == "\(Nonce(incarnation)):\(expected)")
      }
    }
  }

  /// Rule `asks`.
  @Test func theSendNumberIsRaisedAndNeverLowered() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("number")
      _ = try await send(redis, agent, fence: 2, count: 9)
      let message = ControlMessage(.reconcile, to: address, attempts: [id])
      _ = try await redis.send(try DashboardBus.control(agent, fence: 2, number: SendNumber(fence: 2, count: 4), message))
      #expect(try await call(redis, DashboardBus.compare(agent, fence: 2)).string == "\(SendNumber(fence: 2, count: 9).raw)")
      _ = try await redis.send(try DashboardBus.control(agent, fence: 2, number: SendNumber(fence: 2, count: 12), message))
      #expect(try await call(redis, DashboardBus.compare(agent, fence: 2)).string == "\(SendNumber(fence: 2, count: 12).raw)")
    }
  }

  @Test func aFenceOrASendNumberThatNoDashboardHadCountsForNothingAndIsWrittenOver() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("garbage")
      let number = SendNumber(fence: 5, count: 1)
      let written: [(fence: String, sends: String)] =
        ["", "x", "-1", "1.5", " 7", "0x10", "nan", "1e3", "9223372036854775807", "99999999999999999999"].map { ($0, $0) } + [
          ("2097152", "9007199254740992")
        ]
      for (fence, sends) in written {
        for (key, value) in [(Keys.fence(agent), fence), (Keys.sends(agent), sends), (Keys.fenceOfAll, fence)] {
          _ = try await call(redis, RedisCommand("SET", key, value))
        }
        let compared = try await call(redis, DashboardBus.compare(agent, fence: 5)).string
        #expect(compared.flatMap { SendNumber($0) } == nil, "'\(sends)' became \(compared ?? "nothing")")
        #expect(try await call(redis, RedisCommand("GET", Keys.fence(agent))).string == "5", "'\(fence)'")
        #expect(
          try await call(redis, DashboardBus.tombstones(agent, fence: 5, number: number, [(id, .cancelled)]))
            == .array([.bytes(Array("cancelled".utf8))]))
        #expect(try await call(redis, RedisCommand("GET", Keys.sends(agent))).string == "\(number.raw)", "'\(sends)'")
        let before = try await call(redis, DashboardBus.raiseFence(to: 5)).string
        #expect(before.flatMap { Fences.read($0) } == nil, "'\(fence)' became \(before ?? "nothing")")
        #expect(try await call(redis, RedisCommand("GET", Keys.fenceOfAll)).string == "5", "'\(fence)'")
      }
      // The highest that there are stay.
      _ = try await call(redis, RedisCommand("MSET", Keys.fence(agent), "2097151", Keys.fenceOfAll, "2097151"))
      await expectError("FENCED 2097151") { try await redis.send(DashboardBus.compare(agent, fence: 5)) }
      #expect(try await call(redis, DashboardBus.raiseFence(to: 5)).string == "2097151")
      #expect(try await call(redis, RedisCommand("GET", Keys.fenceOfAll)).string == "2097151")
    }
  }

  /// An agent whose acknowledgement cannot be read keeps everything, and comes to a stop once it keeps too much.
  @Test func anAcknowledgementOrAPositionThatNobodyHadIsWrittenOver() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("garbage")
      let said = Acknowledgement(incarnation: Nonce(2), reports: 4, output: 7)
      for garbage in ["99999999999999999999:9007199254740992", "9007199254740992:99999999999999999999", "x:y", "-1:-1"] {
        _ = try await call(redis, RedisCommand("SET", Keys.acked(agent), "\(said.incarnation):\(garbage)"))
        _ = try await call(redis, DashboardBus.acknowledge(agent, fence: 1, said))
        let acked = try await call(redis, RedisCommand("GET", Keys.acked(agent))).string
        #expect(acked.flatMap { Acknowledgement($0) } == said, "\(garbage) became \(acked ?? "nothing")")
      }
      for garbage in ["99999999999999999999:x", "9007199254740992:\(Nonce(1))", "x:y"] {
        _ = try await call(redis, RedisCommand("SET", Keys.journal(agent), "\(address.journal):\(garbage)"))
        _ = try await takeLease(redis, agent, address, position: "\(address.journal):\(garbage)")
        _ = try await confirm(redis, agent, address, count: 3, [])
        let position = try await call(redis, RedisCommand("GET", Keys.journal(agent))).string
        #expect(
          position.flatMap { JournalPosition($0) } == JournalPosition(journal: address.journal, count: 3, nonce: Nonce(9)),
          "\(garbage) became \(position ?? "nothing")")
      }
    }
  }

  @Test func theSameJournalTakesOverAtOnceAndAnotherIsToldWhoHoldsIt() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("lease")
      #expect(try await takeLease(redis, agent, address).array?.first?.string == "ok")
      let restarted = AgentAddress(journal: Nonce(1), incarnation: Nonce(3))
      #expect(try await takeLease(redis, agent, restarted).array?.first?.string == "ok")
      let stranger = AgentAddress(journal: Nonce(7), incarnation: Nonce(8))
      #expect(
        try await takeLease(redis, agent, stranger)
          == .array([.bytes(Array("held".utf8)), .bytes(Array("\(restarted) {}".utf8))]))
      let renewed = try await redis.run(
        Scripts.renewLease, keys: [Keys.lease(agent)], [address.description, "\(address) {}", Self.leaseMilliseconds])
      #expect(renewed.integer == 0, "the former incarnation has lost it")
    }
  }

  /// Rule `position`.
  @Test func theLeaseIsGivenOnlyToAJournalThatCheckedItsPosition() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("position")
      _ = try await redis.send(RedisCommand("SET", Keys.journal(agent), "\(Nonce(1)):7:\(Nonce(5))"))
      let first = try await takeLease(redis, agent, address)
      #expect(first == .array([.bytes(Array("position".utf8)), .bytes(Array("\(Nonce(1)):7:\(Nonce(5))".utf8))]))
      #expect(try await takeLease(redis, agent, address, position: "\(Nonce(1)):7:\(Nonce(5))").array?.first?.string == "ok")
    }
  }

  /// Rule `fenced`.
  @Test func aFencedJournalGetsNeitherLeaseNorConfirm() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("removed")
      _ = try await takeLease(redis, agent, address)
      _ = try await redis.send(RedisCommand("SADD", Keys.fenced(agent), address.journal.description))
      await expectError("REMOVED") { try await takeLease(redis, agent, address) }
      await expectError("REMOVED") { try await confirm(redis, agent, address, count: 1, [id]) }
    }
  }

  /// Rule `lease`.
  @Test func aConfirmOfAFormerIncarnationIsRefusedAndOfThePresentOneMayBeRepeated() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("confirm")
      _ = try await send(redis, agent)
      let present = AgentAddress(journal: Nonce(1), incarnation: Nonce(3))
      _ = try await takeLease(redis, agent, present)
      await expectError("NOLEASE") { try await confirm(redis, agent, address, count: 1, [id]) }
      #expect(try await call(redis, RedisCommand("HLEN", Keys.inbox(agent))).integer == 1)
      for _ in 0..<2 { #expect(try await confirm(redis, agent, present, count: 5, [id]).integer == 1) }
      #expect(try await call(redis, RedisCommand("HLEN", Keys.inbox(agent))).integer == 0)
    }
  }

  /// Rule `forward`.
  @Test func aLateConfirmNeverMovesTheJournalsPositionBack() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("forward")
      _ = try await takeLease(redis, agent, address)
      _ = try await confirm(redis, agent, address, count: 10, nonce: Nonce(10), [])
      _ = try await confirm(redis, agent, address, count: 9, nonce: Nonce(9), [])
      #expect(try await call(redis, RedisCommand("GET", Keys.journal(agent))).string == "\(Nonce(1)):10:\(Nonce(10))")
    }
  }

  private func movePlain(_ redis: RedisConnection, _ agent: AgentID, ids: Int = 64) async throws -> RedisValue {
    let fresh = (0..<ids).map { "id-\($0)" as any RedisArgument }
    return try await redis.run(
      Scripts.movePlain, keys: [Keys.plain(agent), Keys.inbox(agent), Keys.lease(agent)], [address.description, 256] + fresh)
  }

  /// Rule `plainMoved`.
  @Test func aPlainHashIsMovedAtomicallyByteForByteAndDeleted() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("plain")
      _ = try await takeLease(redis, agent, address)
      let every = (0...255).map { UInt8($0) }
      _ = try await redis.send(RedisCommand("HSET", Keys.plain(agent), every, every))
      #expect(try await movePlain(redis, agent).integer == 1)
      #expect(try await call(redis, RedisCommand("EXISTS", Keys.plain(agent))).integer == 0)
      let entry = try await redis.send(RedisCommand("HGET", Keys.inbox(agent), "id-0")).bytes ?? []
      #expect(try InboxEntry(bytes: entry) == .plain(name: every, command: every))
    }
  }

  @Test func aLargePlainHashIsMovedInParts() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("plain-many")
      _ = try await takeLease(redis, agent, address)
      for number in 0..<1000 { _ = try await redis.send(RedisCommand("HSET", Keys.plain(agent), "n\(number)", "c")) }
      var moved: Int64 = 0
      var calls = 0
      while moved < 1000, calls < 200 {
        calls += 1
        let part = try await movePlain(redis, agent).integer ?? -99
        #expect((1...64).contains(part))
        moved += part
        _ = try await redis.send(RedisCommand("DEL", Keys.inbox(agent)))
      }
      #expect(moved == 1000)
      #expect(try await call(redis, RedisCommand("EXISTS", Keys.plain(agent))).integer == 0)
    }
  }

  @Test func aResultHashAnotherTypeOrAFullInboxMovesNothing() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("plain-not")
      _ = try await takeLease(redis, agent, address)
      _ = try await redis.send(RedisCommand("HSET", Keys.plain(agent), "log", "rm -rf /", "muster", "1"))
      #expect(try await movePlain(redis, agent).integer == -1)
      #expect(try await call(redis, RedisCommand("HLEN", Keys.plain(agent))).integer == 2)
      _ = try await redis.send(RedisCommand("DEL", Keys.plain(agent)))
      _ = try await redis.send(RedisCommand("SADD", Keys.plain(agent), "x"))
      #expect(try await movePlain(redis, agent).integer == -1)
      _ = try await redis.send(RedisCommand("DEL", Keys.plain(agent)))
      #expect(try await movePlain(redis, agent).integer == 0)
      _ = try await redis.send(RedisCommand("HSET", Keys.plain(agent), "a", "b"))
      for number in 0..<256 { _ = try await redis.send(RedisCommand("HSET", Keys.inbox(agent), "x\(number)", "c")) }
      #expect(try await movePlain(redis, agent).integer == 0)
      #expect(try await call(redis, RedisCommand("HLEN", Keys.plain(agent))).integer == 1)
    }
  }

  /// Rule `plainMoved`.
  @Test func aPlainHashIsMovedOnlyByTheAgentThatHoldsTheLease() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("plain-lease")
      _ = try await redis.send(RedisCommand("HSET", Keys.plain(agent), "a", "b"))
      await expectError("NOLEASE") { try await movePlain(redis, agent) }
    }
  }

  private func result(_ redis: RedisConnection, _ key: String, task: String, _ log: String) async throws -> Int64? {
    try await redis.run(Scripts.result, keys: [key], [60, task, "uuid", "w", "log", log]).integer
  }

  @Test func aResultOverwritesOnlyResultsAndAnAliasBelongsToTheNewestRun() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      #expect(try await result(redis, "result-a", task: "02", "new") == 1)
      #expect(try await result(redis, "result-a", task: "01", "late words of an older run") == 0)
      #expect(try await call(redis, RedisCommand("HGET", "result-a", "log")).string == "new")
      #expect(try await result(redis, "result-a", task: "03", "newer") == 1)
      #expect(try await call(redis, RedisCommand("TTL", "result-a")).integer ?? 0 > 0)

      // `web` has a task named `1`: its alias is the key of an agent `web1`, whose commands stand there.
      _ = try await redis.send(RedisCommand("HSET", "web1", "backup", "make backup"))
      #expect(try await result(redis, "web1", task: "05", "x") == 0)
      #expect(try await call(redis, RedisCommand("HGETALL", "web1")).array?.compactMap(\.string) == ["backup", "make backup"])
    }
  }

  @Test func aFullStreamTakesNothing() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      for expected in 1...3 {
        #expect(try await call(redis, Scripts.append.call(keys: ["stream-full"], [3, "m"])).integer == Int64(expected))
      }
      #expect(try await call(redis, Scripts.append.call(keys: ["stream-full"], [3, "m"])).integer == -1)
      #expect(try await call(redis, RedisCommand("XLEN", "stream-full")).integer == 3)
    }
  }

  @Test func oneStoreTakesTheDashboardsPlaceAgainAtOnceAndAnotherStandsBy() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let store = Nonce(1)
      let other = Nonce(2)
      #expect(
        try await call(redis, DashboardBus.takeDashboard(store: store, process: Nonce(5), fence: 1)).array?.first?.string == "ok")
      #expect(
        try await call(redis, DashboardBus.takeDashboard(store: store, process: Nonce(6), fence: 2)).array?.first?.string == "ok")
      #expect(
        try await call(redis, DashboardBus.takeDashboard(store: other, process: Nonce(7), fence: 3)).array?.first?.string
          == "held")
      #expect(try await call(redis, DashboardBus.renewDashboard(store: store, process: Nonce(5), fence: 1)).integer == 0)
      #expect(try await call(redis, DashboardBus.renewDashboard(store: store, process: Nonce(6), fence: 2)).integer == 1)
      #expect(try await call(redis, DashboardBus.dropDashboard(store: store, process: Nonce(6), fence: 2)).integer == 1)
      #expect(try await call(redis, DashboardBus.renewDashboard(store: store, process: Nonce(6), fence: 2)).integer == -1)
      #expect(try await call(redis, DashboardBus.raiseFence(to: 9)).string == "0")
      #expect(try await call(redis, DashboardBus.raiseFence(to: 4)).string == "9")
      #expect(try await call(redis, RedisCommand("GET", Keys.fenceOfAll)).string == "9")
    }
  }

  @Test func presenceIsByRedissClock() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let said = try await redis.run(Scripts.presence, keys: [Keys.agents], ["p1"]).string.flatMap { Int64($0) } ?? 0
      #expect(abs(said - WallTime.now().milliseconds) < 60_000)
      #expect(try await call(redis, RedisCommand("ZSCORE", Keys.agents, "p1")).string.flatMap { Double($0) } == Double(said))
    }
  }

  @Test func aRemovalFencesEveryJournalThatCouldComeBackAndTakesTheAgentsKeysAway() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("removed")
      // The store knows journal 5, another confirmed last, a third holds the lease.
      let former = AgentAddress(journal: Nonce(6), incarnation: Nonce(1))
      _ = try await takeLease(redis, agent, former)
      _ = try await confirm(redis, agent, former, count: 3, [])
      _ = try await call(redis, RedisCommand("DEL", Keys.lease(agent)))
      _ = try await takeLease(redis, agent, address, position: "\(Nonce(6)):3:\(Nonce(9))")
      _ = try await send(redis, agent)
      _ = try await call(redis, RedisCommand("SET", Keys.info(agent), "{}"))
      let number = SendNumber(fence: 2, count: 9)
      let fenced = try await call(redis, try DashboardBus.removeAgent(agent, fence: 2, number: number, [Nonce(5)]))
      #expect(Set((fenced.array ?? []).compactMap(\.string)) == Set([Nonce(1), Nonce(5), Nonce(6)].map(\.description)))
      let gone = [Keys.lease(agent), Keys.info(agent), Keys.inbox(agent), Keys.acked(agent)]
      #expect(try await call(redis, RedisCommand("EXISTS", arguments: gone)) == .integer(0))
      #expect(try await call(redis, RedisCommand("GET", Keys.sends(agent))).string == "\(number.raw)")
      // Whoever lives is told to register again, and is refused.
      let message = try ControlMessage(
        bytes: try #require(try await call(redis, RedisCommand("LPOP", Keys.control(agent))).bytes))
      #expect(message.kind == .refresh && message.to == nil)
      for journal in [Nonce(1), Nonce(5), Nonce(6)] {
        await expectError("REMOVED") {
          try await takeLease(redis, agent, AgentAddress(journal: journal, incarnation: Nonce(2)))
        }
      }
      await expectError("FENCED") { try await redis.send(try DashboardBus.removeAgent(agent, fence: 1, number: number, [])) }
      let fresh = AgentAddress(journal: Nonce(77), incarnation: Nonce(3))
      #expect(try await takeLease(redis, agent, fresh, position: "\(Nonce(6)):3:\(Nonce(9))").array?.first?.string == "ok")
    }
  }

  @Test func fencesAreWrittenAgainAfterRedisLostThem() async throws {
    try await withRedis { (redis: RedisConnection) async throws -> Void in
      let agent = AgentID("fenced-again")
      let number = SendNumber(fence: 2, count: 1)
      #expect(
        try await call(redis, DashboardBus.fenceJournals(agent, fence: 2, number: number, [Nonce(1), Nonce(4)])) == .integer(2))
      await expectError("REMOVED") { try await takeLease(redis, agent, address) }
      await expectError("FENCED") {
        try await redis.send(DashboardBus.fenceJournals(agent, fence: 1, number: number, [Nonce(8)]))
      }
      #expect(try await call(redis, RedisCommand("SCARD", Keys.fenced(agent))) == .integer(2))
    }
  }
}
