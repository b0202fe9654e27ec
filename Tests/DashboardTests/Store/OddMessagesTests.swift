// Messages as they come over Redis, by seed changed into what no program writes: numbers beyond every bound, names that are none, texts where
// numbers belong. Each is refused by its typed error, or the store takes it and goes on with what it has become. The bounds themselves are
// SharedTests' (`BoundsTests`); this finds those that are missing.
import GRDB
import Shared
import Testing

@testable import Dashboard

@Suite struct OddMessagesTests {
  private let agent = AgentID("web-1")
  private let ids = ULIDGenerator()

  @Test(arguments: 1...8 as ClosedRange<UInt64>)
  func whateverComesOverRedisIsRefusedOrTakenAndEverythingGoesOn(seed: UInt64) async throws {
    try await withStore { (store: Store) async throws -> Void in
      var tasks: [ULID] = []
      for number in 0..<30 {
        let retries = number % 3 == 0 ? Retries(count: 2, on: [.failed, .lost]) : .none
        tasks.append(try await store.accept(ids.next(), on: agent, retries: retries, sent: number % 5 > 0))
      }
      let (agent, accepted) = (agent, tasks)
      let counts = try await store.write { db in
        var odd = OddMessages(seed: seed)
        var counts = Counts()
        for round in 0..<300 {
          let said = Said(agent: agent, round: round, tasks: accepted)
          try counts.add { try Self.hear(db, try odd.report(said)) }
          try counts.add { try Self.store(db, try odd.output(said)) }
          try counts.add { _ = try InboxEntry(bytes: try odd.envelope(said)) }
          try counts.add { _ = try ControlMessage(bytes: try odd.control(said)) }
          _ = Lease(bytes: try odd.lease(said))
        }
        return counts
      }
      #expect(counts.taken > 100 && counts.refused > 100, "\(counts)")
      try await store.read { try Self.look(at: $0, agent, accepted) }
      // What comes after it is heard.
      let last = try await store.accept(ids.next(), on: agent, sent: true)
      let state = try await store.write { db in
        let address = AgentAddress(journal: .random(), incarnation: .random())
        let ended = ReportEvent(.ended, attempt: AttemptID(task: last), verdict: Verdict(state: .succeeded, exitCode: 0))
        let batch = ReportBatch(
          agent: agent, from: address, position: JournalPosition(journal: address.journal, count: 1, nonce: Nonce(1)), first: 1,
          oldest: 1, events: [ended])
        return try FlowReports.apply(db, batch, now: 5, deadline: 5) { _ in (nil, false) }.changed.map(\.state)
      }
      #expect(state == [.succeeded])
    }
  }

  private struct Counts {
    var taken = 0
    var refused = 0
    mutating func add(_ body: () throws -> Void) throws {
      do {
        try body()
        taken += 1
      } catch is FrameFault { refused += 1 }
    }
  }

  /// As `ReportCollector` does, and what the sender does next.
  private static func hear(_ db: Database, _ bytes: [UInt8]) throws {
    let batch = try ReportBatch(bytes: bytes)
    let entombed = Set(ReportCollector.neverStarted(batch).map(\.id.task))
    let outcome = try FlowReports.apply(db, batch, now: 5, deadline: 5) { (entombed.contains($0) ? .cancelled : nil, false) }
    var desk = Desk()
    desk.concurrency = max(1, outcome.hello?.concurrency ?? 1)
    #expect(desk.room > 0)
    let number = try FlowMarks.next(db, batch.agent, now: 6).number
    #expect(SendNumber("\(number.raw)") != nil, "\(number) is none that Lua compares")
    _ = try FlowMarks.mark(db, batch.agent, limit: 2, now: 6)
  }

  /// As `OutputCollector` does.
  private static func store(_ db: Database, _ bytes: [UInt8]) throws {
    let frame = try OutputFrame(bytes: bytes)
    #expect(try FlowReports.apply(db, frame, now: 5).damaged.isEmpty)
  }

  /// What the loops and the API read of it.
  private static func look(at db: Database, _ agent: AgentID, _ tasks: [ULID]) throws {
    var damaged: [String] = []
    _ = try FlowDesks.load(db) { damaged += $0 }
    _ = try AgentQueries.find(db, agent)
    _ = try OutputRecall.wanted(db)
    _ = try FlowAttempts.held(db, now: 5)
    damaged += try FlowEnds.toEnd(db, limit: 1000).damaged
    #expect(damaged.isEmpty, "\(damaged)")
    for task in tasks {
      let run = try #require(try RunQueries.find(db, RunID(agent: agent, task: task)))
      _ = run.isComplete
      let attempts = try AttemptQueries.all(db, run)
      #expect(!JSONBody.object { run.write(to: &$0, attempts: attempts) }.isEmpty)
      for attempt in attempts {
        let pieces = try OutputQueries.pieces(db, run: run.row, attempt: attempt.attempt)
        #expect(pieces.allSatisfy { $0.offset >= 0 && $0.length > 0 })
      }
    }
  }
}

/// What is said in one round, before it is changed: each by a process of its own, so that none is stale.
private struct Said {
  var agent: AgentID
  var from: AgentAddress
  var attempts: [AttemptID]

  init(agent: AgentID, round: Int, tasks: [ULID]) {
    self.agent = agent
    from = AgentAddress(journal: Nonce(1), incarnation: Nonce(UInt64(round) + 2))
    attempts = (0..<4).map { AttemptID(task: tasks[(round * 7 + $0) % tasks.count], attempt: 1 + ($0 + round) % 2) }
  }
}

/// Messages of every kind, each with some of its numbers and texts replaced.
private struct OddMessages {
  private var state: UInt64
  /// One leaf of so many is replaced.
  private var share = 1

  private static let numbers: [JSONValue] = [
    .integer(.min), .integer(.min + 1), .integer(-1), .integer(0), .integer(1), .integer(1 << 21), .integer(1 << 31),
    .integer(1 << 52), .integer(1 << 53 - 1), .integer(1 << 53), .integer(.max - 1), .integer(.max), .double(1e308),
    .double(-1e308), .double(9.3e18), .double(0.5),
  ]
  private static let texts = [
    "", " ", "all", "}x{", "a/b", "a\u{0}b", String(repeating: "x", count: 65), "0000000000000000", "ffffffffffffffff",
    "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAV.101",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV.9223372036854775807", "hello", "taken", "running", "ended", "unknown", "queued", "succeeded",
    "failed", "cancelled", "expired", "rejected", "lost", "AAAA",
  ]

  init(seed: UInt64) { state = seed }

  private mutating func roll(_ sides: Int) -> Int {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return Int((mixed ^ (mixed >> 31)) % UInt64(sides))
  }

  private mutating func changed(_ value: JSONValue) -> JSONValue {
    switch value {
    case .object(let object):
      return .object(JSONObject(object.members.map { JSONObject.Member(key: $0.key, value: changed($0.value)) }))
    case .array(let elements): return .array(elements.map { changed($0) })
    default: break
    }
    guard roll(share) == 0 else { return value }
    // What is absent may be there; now and then it is of another kind.
    switch (value, roll(8)) {
    case (.string, 1...), (.integer, 0), (.double, 0): return .string(Self.texts[roll(Self.texts.count)])
    case (.bool(let flag), _): return .bool(!flag)
    default: return Self.numbers[roll(Self.numbers.count)]
    }
  }

  private mutating func changed(_ bytes: [UInt8]) throws -> [UInt8] {
    share = [6, 30, 90][roll(3)]
    let frame = try Frame(bytes: bytes)
    let header = changed(try JSONCoder.decode(JSONValue.self, from: frame.header))
    return Frame(kind: frame.kind, header: try JSONCoder.encode(header), body: frame.body).bytes
  }

  mutating func report(_ said: Said) throws -> [UInt8] {
    let ids = said.attempts
    let hello = Hello(
      projects: ["web"], hostname: "h", address: "a", version: "1.0.0", os: "o", arch: "x", startedAt: 0, concurrency: 2,
      httpPort: 1, sends: SendNumber(fence: 1, count: 5))
    let events = [
      ReportEvent(.hello, hello: hello), ReportEvent(.taken, attempt: ids[0]),
      ReportEvent(.running, attempt: ids[1], startedAt: 3, deadline: 9),
      ReportEvent(
        .ended, attempt: ids[1],
        verdict: Verdict(
          state: .failed, exitCode: 1, startedAt: 3, finishedAt: 4, outputBytes: 9, droppedBytes: 3, droppedFrom: 2, signalled: 1,
          left: 0), tail: OutputSlice(attempt: ids[1], offset: 0, segments: [[1, 2], [2, 1]])),
      ReportEvent(.ended, attempt: ids[2], verdict: Verdict(state: .cancelled), tombstone: true),
      ReportEvent(
        .ended, attempt: AttemptID(task: said.attempts[3].task), verdict: Verdict(state: .rejected),
        plain: PlainTask(name: [110], command: [99], takenAt: 5)),
      ReportEvent(.unknown, attempt: ids[3]), ReportEvent(.bye),
    ]
    let position = JournalPosition(journal: said.from.journal, count: 1, nonce: Nonce(1))
    return try changed(
      ReportBatch(
        agent: said.agent, from: said.from, position: position, first: 1, oldest: 1, events: events, tails: [1, 2, 3]
      ).encoded())
  }

  mutating func output(_ said: Said) throws -> [UInt8] {
    let slices = said.attempts.prefix(2).map { id in
      OutputSlice(attempt: id, offset: 2, segments: [[1, 2], [2, 1]], dropped: DroppedMiddle(from: 1, count: 1))
    }
    return try changed(
      OutputFrame(
        agent: said.agent, from: said.from, sequence: 1, oldest: 1, slices: slices, bytes: [1, 2, 3, 4, 5, 6]
      ).encoded())
  }

  mutating func envelope(_ said: Said) throws -> [UInt8] {
    try changed(
      Envelope(
        agent: said.agent, journal: said.from.journal, task: said.attempts[0].task, attempt: 2,
        number: SendNumber(fence: 1, count: 5), spec: TaskSpec(taskname: "true", args: ["a"], env: ["A": "b"], timeout: 1.5),
        startBefore: 9
      ).encoded())
  }

  mutating func control(_ said: Said) throws -> [UInt8] {
    try changed(
      ControlMessage(
        .cancel, to: said.from, fence: 3, number: SendNumber(fence: 1, count: 5), attempts: said.attempts, cause: .expired,
        signal: "INT", grace: 2, output: true
      ).encoded())
  }

  mutating func lease(_ said: Said) throws -> [UInt8] {
    let beat = Heartbeat(
      count: 1, load1: 0.5, running: 1, waiting: 2, concurrency: 4, health: "healthy", hostname: "h", pid: 7)
    let header = changed(try JSONCoder.decode(JSONValue.self, from: try JSONCoder.encode(beat)))
    return Array("\(said.from) ".utf8) + (try JSONCoder.encode(header))
  }
}
