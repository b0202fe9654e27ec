// The explorer's `RedisMirror` against the real scripts on a real redis-server: the same random calls, by seed, and after each the same answer
// and the same contents. Were the two to differ, the explorer would search another protocol than the one that runs.
import Redis
import RedisTestSupport
import Shared
import Testing

@testable import explore

@Suite struct MirrorTests {
  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func theMirrorDoesWhatTheScriptsDo(seed: UInt64) async throws {
    let server = try await RedisServerProcess.start()
    let connection = RedisConnection(server.configuration)
    do {
      try await connection.connect()
      try await compare(connection, Dice(seed: seed), calls: 600)
    } catch { Issue.record(error) }
    await connection.close()
    try await server.stop()
  }

  private func compare(_ redis: RedisConnection, _ dice: Dice, calls: Int) async throws {
    var dice = dice
    let real = RealRedis(redis)
    var mirror = RedisState()
    var changes = 0
    for call in 1...calls {
      let before = mirror
      let step = try await real.call(&dice, &mirror)
      if mirror.asked == 0 { mirror.askedOf = 0 }
      if mirror != before { changes += 1 }
      let held = try await real.state()
      guard step.said == step.mirrored, held == mirror else {
        Issue.record("call \(call): \(step.words): Redis said \(step.said), the mirror \(step.mirrored); \(held) and \(mirror)")
        return
      }
    }
    #expect(changes > calls / 8, "most calls changed nothing: this compares too little")
  }
}

/// Random numbers by seed (SplitMix64).
struct Dice: Sendable {
  private var state: UInt64
  init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 }
  mutating func roll(_ sides: Int) -> Int {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return Int((z ^ (z >> 31)) % UInt64(sides))
  }
  mutating func byte(_ range: ClosedRange<Int>) -> UInt8 { UInt8(range.lowerBound + roll(range.count)) }
}

/// The scripts, called as the programs call them, with the explorer's small numbers.
private struct RealRedis {
  let redis: RedisConnection
  private let agent = AgentID("mirrored")
  private let id = AttemptID(task: ULID.max)
  private let stream = "stream"

  init(_ redis: RedisConnection) { self.redis = redis }

  struct Step {
    var words: String
    var said: String
    var mirrored: String
  }

  /// One random call to both.
  func call(_ dice: inout Dice, _ mirror: inout RedisState) async throws -> Step {
    let fence = dice.byte(0...3)
    let number = fence << 2 | dice.byte(0...3)
    let address = Names.address(dice.byte(1...3), dice.byte(0...2))
    let journal = Names.addressJournal(address)
    switch dice.roll(21) {
    case 0..<4:
      let answer = RedisMirror.send(&mirror, fence: fence, number: number, journal: journal, envelopeNumber: number)
      let said = try await answered(
        DashboardBus.send(agent, fence: Fence(fence), number: Names.number(number), [(id, [journal, number])]))
      let words: [RedisMirror.Sent: String] = [.added: "[1]", .alreadyThere: "[0]", .tombstoned: "[-1]"]
      return Step(words: "send", said: said, mirrored: words[answer] ?? "FENCED")
    case 4..<6:
      let kind = dice.roll(2) == 0 ? Asked.cancel : Asked.close
      let refusal = RedisMirror.control(&mirror, fence: fence, number: number, kind: kind, to: address)
      let message = ControlMessage(kind == Asked.cancel ? .cancel : .close, to: Names.address(address), attempts: [id])
      let said = try await answered(
        DashboardBus.control(agent, fence: Fence(fence), number: Names.number(number), message))
      return Step(words: "control", said: said, mirrored: worded(refusal))
    case 6:
      let refusal = RedisMirror.tombstone(&mirror, fence: fence, number: number)
      let said = try await answered(
        DashboardBus.tombstones(agent, fence: Fence(fence), number: Names.number(number), [(id, .cancelled)]))
      return Step(words: "tombstone", said: said, mirrored: refusal.map { worded($0) } ?? "[cancelled]")
    case 20:
      let answer = RedisMirror.withdraw(&mirror, fence: fence)
      let said = try await answered(DashboardBus.withdraw(agent, fence: Fence(fence), [id]))
      return Step(words: "withdraw", said: said, mirrored: answer.refusal.map { worded($0) } ?? "\(answer.removed)")
    case 7..<9:
      let answer = RedisMirror.compare(&mirror, fence: fence)
      let said = try await answered(DashboardBus.compare(agent, fence: Fence(fence)))
      return Step(
        words: "compare", said: said, mirrored: answer.refusal.map { worded($0) } ?? "\(Names.number(answer.known).raw)")
    case 9..<12:
      let isChecked = dice.roll(3) > 0
      let position = try await redis.send(RedisCommand("GET", Keys.journal(agent))).string ?? ""
      let answer = RedisMirror.takeLease(&mirror, address: address, checked: isChecked)
      let value = try await outcome(
        AgentBus.takeLease(
          agent, journal: Names.journal(journal), lease: Array("\(Names.address(address)) {}".utf8),
          checked: isChecked ? position : ""))
      let said =
        switch value {
        case .failure(let error): error
        case .success(let value):
          switch AgentBus.leaseReply(value) {
          case .taken: "ok"
          case .held: "held"
          case .position: "position"
          case .unreadable: "unreadable"
          }
        }
      let words: [RedisMirror.LeaseAnswer: String] = [.ok: "ok", .held: "held", .position: "position"]
      return Step(words: "takeLease", said: said, mirrored: words[answer] ?? "REMOVED")
    case 12..<15:
      let count = dice.byte(0...6)
      let epoch = dice.byte(0...2)
      let removes = dice.roll(2) == 0
      // The present holder half of the time, or next to nothing would be confirmed.
      let who = mirror.lease != 0 && dice.roll(2) == 0 ? mirror.lease : address
      let journal = Names.addressJournal(who)
      let refusal = RedisMirror.confirm(
        &mirror, address: who, journal: journal, count: count, epoch: epoch, removes: removes)
      let position = JournalPosition(journal: Names.journal(journal), count: UInt64(count), nonce: Nonce(UInt64(epoch)))
      let said = try await answered(AgentBus.confirm(agent, Names.address(who), position, removes ? [id] : []))
      return Step(words: "confirm", said: said, mirrored: worded(refusal))
    case 15:
      let who = mirror.lease != 0 && dice.roll(2) == 0 ? mirror.lease : address
      let isRenewal = dice.roll(2) == 0
      let kept = isRenewal ? RedisMirror.renewLease(mirror, address: who) : RedisMirror.dropLease(&mirror, address: who)
      let command =
        isRenewal
        ? AgentBus.renewLease(agent, Names.address(who), lease: Array("\(Names.address(who)) {}".utf8))
        : AgentBus.dropLease(agent, Names.address(who))
      return Step(words: isRenewal ? "renewLease" : "dropLease", said: try await answered(command), mirrored: kept ? "1" : "0")
    case 16:
      let before = RedisMirror.raiseFence(&mirror, to: fence)
      return Step(words: "raiseFence", said: try await answered(DashboardBus.raiseFence(to: Fence(fence))), mirrored: "\(before)")
    case 17:
      let report = Report(
        dice.byte(1...10), journal: dice.byte(1...3), incarnation: dice.byte(0...3), sequence: dice.byte(4...9),
        behind: dice.byte(0...3))
      let length = [mirror.stream0, mirror.stream1, mirror.stream2].filter(\.isThere).count
      let isThere = RedisMirror.append(&mirror, report)
      let said = try await answered(Scripts.append.call(keys: [stream], [3, [UInt8](report.bits.bytes)]))
      return Step(words: "append", said: said, mirrored: isThere ? "\(length + 1)" : "-1")
    case 18:
      // What is no script: the agent reads its list, the collector deletes, an operator removes.
      mirror.asked = 0
      mirror.pop()
      mirror.fenced |= dice.roll(8) == 0 ? 1 << journal : 0
      var commands = [RedisCommand("DEL", Keys.control(agent))]
      if let first = try await redis.send(RedisCommand("XRANGE", stream, "-", "+", "COUNT", 1)).array?.first?.array?.first?.string
      {
        commands.append(RedisCommand("XDEL", stream, first))
      }
      for journal in 1...3 as ClosedRange<UInt8> where mirror.fenced >> journal & 1 == 1 {
        commands.append(RedisCommand("SADD", Keys.fenced(agent), Names.journal(journal).description))
      }
      _ = try await redis.pipeline(commands)
      return Step(words: "the others", said: "", mirrored: "")
    default:
      guard dice.roll(6) == 0 else { return Step(words: "nothing", said: "", mirrored: "") }
      mirror = RedisState()
      _ = try await redis.send(RedisCommand("FLUSHALL"))
      return Step(words: "flush", said: "", mirrored: "")
    }
  }

  private func worded(_ refusal: RedisMirror.Refusal?) -> String {
    switch refusal {
    case nil: "1"
    case .fenced: "FENCED"
    case .noLease: "NOLEASE"
    case .removed: "REMOVED"
    }
  }

  private enum Outcome {
    case success(RedisValue)
    case failure(String)
  }

  private func outcome(_ command: RedisCommand) async throws -> Outcome {
    switch await redis.outcomes(of: [command])[0] {
    case .success(.error(let error)), .failure(.reply(let error)):
      return .failure(String(error.message.split(separator: " ").first ?? ""))
    case .success(let value): return .success(value)
    case .failure(let error): throw error
    }
  }

  private func answered(_ command: RedisCommand) async throws -> String {
    switch try await outcome(command) {
    case .failure(let word): return word
    case .success(let value):
      if let parts = value.array {
        return "[" + parts.compactMap { $0.integer.map(String.init) ?? $0.string }.joined(separator: " ") + "]"
      }
      return value.string ?? value.integer.map(String.init) ?? "?"
    }
  }

  /// What stands in Redis, in the explorer's words.
  func state() async throws -> RedisState {
    let values = try await redis.pipeline([
      RedisCommand("HGET", Keys.inbox(agent), id.description), RedisCommand("ZSCORE", Keys.tombs(agent), id.description),
      RedisCommand("GET", Keys.fence(agent)), RedisCommand("GET", Keys.sends(agent)),
      RedisCommand("LRANGE", Keys.control(agent), 0, -1), RedisCommand("GET", Keys.lease(agent)),
      RedisCommand("GET", Keys.journal(agent)), RedisCommand("SMEMBERS", Keys.fenced(agent)),
      RedisCommand("GET", Keys.fenceOfAll), RedisCommand("XRANGE", stream, "-", "+"),
      // A lease runs out where time passes; in the mirror none does.
      RedisCommand("PERSIST", Keys.lease(agent)),
    ])
    var state = RedisState()
    if let envelope = values[0].bytes, envelope.count == 2 {
      state.inbox = 1 + envelope[0]
      state.inboxNumber = envelope[1]
    }
    state.tomb = values[1].isNull ? 0 : 1
    state.fence = UInt8(values[2].string ?? "") ?? 0
    state.sends = values[3].string.flatMap { Int64($0) }.map { Names.number(SendNumber(raw: $0)) } ?? 0
    for bytes in values[4].array?.compactMap(\.bytes) ?? [] {
      let message = try ControlMessage(bytes: bytes)
      guard message.kind != .bell, let to = message.to else { continue }
      let address = Names.address(Names.journal(to.journal), Names.incarnation(to.incarnation))
      // One for somebody else makes those before it pointless: the explorer forgets them.
      if state.askedOf != address { state.asked = 0 }
      state.askedOf = address
      state.asked |= message.kind == .cancel ? Asked.cancel : Asked.close
    }
    if let lease = values[5].string, let address = AgentAddress(String(lease.prefix { $0 != " " })) {
      state.lease = Names.address(Names.journal(address.journal), Names.incarnation(address.incarnation))
    }
    if let position = values[6].string.flatMap({ JournalPosition($0) }) {
      state.positionJournal = Names.journal(position.journal)
      state.positionCount = UInt8(position.count)
      state.positionEpoch = UInt8(position.nonce.value)
    }
    for name in values[7].array?.compactMap(\.string) ?? [] {
      if let id = Nonce(name) { state.fenced |= 1 << Names.journal(id) }
    }
    state.fenceOfAll = UInt8(values[8].string ?? "") ?? 0
    for entry in values[9].array ?? [] {
      var report = Report()
      for byte in entry.array?.last?.array?.last?.bytes ?? [] { report.bits = report.bits << 8 | UInt32(byte) }
      state.push(report)
    }
    return state
  }
}

extension UInt32 {
  fileprivate var bytes: [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: self >> $0) } }
}
