// What a dashboard is to an agent, with raw Redis: it sends, asks, reads the streams, commits contiguous sequences and acknowledges. It
// judges nothing: tests look at what was said.

import Redis
import RedisTestSupport
import Shared

@testable import Agent

actor StandInDashboard {
  let connection: RedisConnection
  let agent: AgentID
  let ids = ULIDGenerator()
  let fence: Fence = 1
  private var number = SendNumber(fence: 1)
  private var reports = CommittedSequence()
  private var output = CommittedSequence()
  /// Nothing is acknowledged while this is false; what was read is read again.
  var acknowledges = true
  private(set) var events: [ReportEvent] = []
  private(set) var batches: [ReportBatch] = []
  private(set) var bytes: [AttemptID: [UInt8]] = [:]
  private(set) var streams: [AttemptID: [[Int]]] = [:]
  /// What the newest slice said to be overwritten.
  private(set) var dropped: [AttemptID: DroppedMiddle] = [:]
  /// Offsets that did not follow on what was there.
  private(set) var gaps = 0

  init(_ redis: RedisServerProcess, agent: String = "web-1") {
    connection = RedisConnection(redis.configuration)
    self.agent = AgentID(agent)
  }

  func acknowledge(_ on: Bool) { acknowledges = on }

  // MARK: Sending

  /// Waits for the agent's lease.
  func lease() async throws -> Lease {
    let deadline = ContinuousClock.now + .seconds(20)
    while true {
      // Looked at once more when the time is up: the machine may have given none to the last sleep.
      let isOver = ContinuousClock.now >= deadline
      if let lease = try? await connection.send(RedisCommand("GET", Keys.lease(agent))).bytes.flatMap({ Lease(bytes: $0) }) {
        return lease
      }
      guard !isOver else { throw TestFailure("the agent has no lease") }
      try await Task.sleep(for: .milliseconds(3))
    }
  }

  func address() async throws -> AgentAddress { try await lease().address }

  func envelope(_ spec: TaskSpec, id: ULID? = nil, journal: JournalID? = nil, startBefore: Int64? = nil) async throws -> Envelope
  {
    number = number.next
    let journal = if let journal { journal } else { try await address().journal }
    return Envelope(agent: agent, journal: journal, task: id ?? ids.next(), number: number, spec: spec, startBefore: startBefore)
  }

  /// Sends and returns the script's answers.
  @discardableResult
  func send(_ envelopes: [Envelope]) async throws -> [Int64] {
    let entries = try envelopes.map { (id: $0.id, envelope: try $0.encoded()) }
    let reply = try await connection.send(DashboardBus.send(agent, fence: fence, number: number, entries))
    return reply.array?.compactMap(\.integer) ?? []
  }

  /// Sends a shell line; returns its attempt.
  func send(_ line: String, timeout: Double? = nil) async throws -> AttemptID {
    let envelope = try await envelope(TaskSpec(taskname: line, timeout: timeout))
    try await send([envelope])
    return envelope.id
  }

  func control(
    _ kind: ControlMessage.Kind, _ ids: [AttemptID], to: AgentAddress? = nil, cause: ControlMessage.Cause? = nil,
    signal: String? = nil, grace: Double? = nil
  ) async throws {
    let to = if let to { to } else { try await address() }
    let message = ControlMessage(kind, to: to, attempts: ids, cause: cause, signal: signal, grace: grace)
    _ = try await connection.send(try DashboardBus.control(agent, fence: fence, number: number, message))
  }

  func inbox() async throws -> [String] {
    let reply = try await connection.send(RedisCommand("HKEYS", Keys.inbox(agent)))
    return reply.array?.compactMap(\.string) ?? []
  }

  // MARK: Collecting

  private var shard: Int { Keys.shard(agent) }

  /// Reads both streams once.
  func collect() async throws {
    for (entry, message) in try await read(Keys.verdicts(shard)) {
      guard let batch = try? ReportBatch(bytes: message) else { continue }
      batches.append(batch)
      if case .apply(let skip) = reports.judge(
        incarnation: batch.from.incarnation, first: batch.first, count: batch.events.count, oldest: batch.oldest)
      {
        var tails = batch.tails[...]
        for (index, event) in batch.events.enumerated() {
          let tail = Array(tails.prefix(event.tail?.length ?? 0))
          tails = tails.dropFirst(tail.count)
          guard index >= skip else { continue }
          events.append(event)
          if let slice = event.tail { store(slice, tail) }
        }
      }
      if acknowledges { _ = try await connection.send(RedisCommand("XDEL", Keys.verdicts(shard), entry)) }
    }
    for (entry, message) in try await read(Keys.output(shard)) {
      guard let frame = try? OutputFrame(bytes: message) else { continue }
      if case .apply = output.judge(incarnation: frame.from.incarnation, first: frame.sequence, count: 1, oldest: frame.oldest) {
        var rest = frame.bytes[...]
        for slice in frame.slices {
          store(slice, Array(rest.prefix(slice.length)))
          rest = rest.dropFirst(slice.length)
        }
      }
      if acknowledges { _ = try await connection.send(RedisCommand("XDEL", Keys.output(shard), entry)) }
    }
    if acknowledges, let incarnation = reports.incarnation {
      let same = output.incarnation == incarnation ? output.sequence : 0
      let word = Acknowledgement(incarnation: incarnation, reports: reports.sequence, output: same)
      _ = try await connection.send(DashboardBus.acknowledge(agent, fence: fence, word))
    }
  }

  private func store(_ slice: OutputSlice, _ piece: [UInt8]) {
    guard let id = AttemptID(slice.attempt) else { return }
    dropped[id] = slice.dropped
    let have = bytes[id]?.count ?? 0
    let skip = have - Int(slice.offset)
    if skip < 0 { gaps += 1 }
    guard skip < piece.count else { return }
    bytes[id, default: []] += piece.dropFirst(max(0, skip))
    streams[id, default: []] += slice.segments
  }

  private func read(_ stream: String) async throws -> [(entry: String, message: [UInt8])] {
    let reply = try await connection.send(RedisCommand("XRANGE", stream, "-", "+"))
    return (reply.array ?? []).compactMap { entry in
      guard let id = entry.array?.first?.string, let message = entry.array?.last?.array?.last?.bytes else { return nil }
      return (id, message)
    }
  }

  // MARK: Waiting

  func said(_ id: AttemptID) -> [ReportEvent] { events.filter { $0.attempt == id.description } }
  func kinds(_ id: AttemptID) -> [ReportEvent.Kind] { said(id).map(\.kind) }
  func verdict(_ id: AttemptID) -> Verdict? { said(id).last { $0.kind == .ended }?.verdict }
  func output(of id: AttemptID) -> [UInt8] { bytes[id] ?? [] }
  func text(of id: AttemptID) -> String { String(decoding: output(of: id), as: UTF8.self) }

  /// Collects until the condition holds.
  func until(
    _ what: String, within limit: Duration = .seconds(60), _ condition: @Sendable (isolated StandInDashboard) async throws -> Bool
  ) async throws {
    let deadline = ContinuousClock.now + limit
    while true {
      do { try await collect() } catch is RedisError {}
      if try await condition(self) { return }
      guard ContinuousClock.now < deadline else {
        throw TestFailure("not within \(limit): \(what); heard \(events.map { "\($0.kind) \($0.attempt ?? "")" })")
      }
      try await Task.sleep(for: .milliseconds(3))
    }
  }

  func untilSaid(_ kind: ReportEvent.Kind, _ id: AttemptID, within limit: Duration = .seconds(60)) async throws {
    try await until("the agent says \(kind) of \(id)", within: limit) { $0.said(id).contains { $0.kind == kind } }
  }

  @discardableResult
  func untilEnded(_ id: AttemptID, within limit: Duration = .seconds(60)) async throws -> Verdict {
    try await untilSaid(.ended, id, within: limit)
    return verdict(id)!
  }
}

/// Redis, an agent as a real process, and the stand-in.
struct Surroundings {
  let redis: RedisServerProcess
  let disk: AgentOnDisk
  let dashboard: StandInDashboard
  var agent: AgentCommandRun

  /// What every agent of it gets on top of the environment.
  var environment: [String: String]
  /// Which agent is started next; another one where the test is about an upgrade.
  var executable = AgentOnDisk.executable

  init(
    _ settings: [String: JSONValue] = [:], uuid: String = "web-1", redis arguments: [String] = [],
    environment: [String: String] = [:]
  ) async throws {
    self.environment = environment
    redis = try await RedisServerProcess.start(arguments)
    disk = try AgentOnDisk(redisPort: redis.port, uuid: uuid, settings)
    dashboard = StandInDashboard(redis, agent: uuid)
    // Without a dashboard's lease agents do not send again what seems to have been lost.
    _ = try await dashboard.connection.connected(within: .seconds(10))
    _ = try await dashboard.connection.send(RedisCommand("SET", Keys.dashboard, "stand-in"))
    _ = try await dashboard.connection.send(DashboardBus.clock(ahead: 0))
    agent = try disk.spawn(["run", "-f", disk.settingsFile], environment: environment)
    _ = try await dashboard.lease()
  }

  /// As a crash would.
  func killAgent() async throws {
    _ = killProcess(agent.pid)
    _ = try await disk.end(of: agent)
  }

  mutating func startAgent() async throws {
    let before = try await dashboard.connection.send(RedisCommand("GET", Keys.lease(dashboard.agent))).bytes
    agent = try disk.spawn(["run", "-f", disk.settingsFile], environment: environment, program: executable)
    let (dashboard, pid, run) = (dashboard, agent.pid, agent)
    try await eventually("the new agent has its lease; it said \(run.errorText)") {
      guard let now = try await dashboard.connection.send(RedisCommand("GET", Keys.lease(dashboard.agent))).bytes, now != before,
        let lease = Lease(bytes: now)
      else { return false }
      return lease.beat.pid == Int(pid)
    }
  }

  func log(_ id: AttemptID) -> String { "\(disk.state)/log/runs/\(disk.uuid)-\(id.task).log" }
  func marker(_ name: String) -> String { "\(disk.folder)/\(name)" }
  func contents(_ path: String) -> String { (try? Files.read(path)).map { String(decoding: $0, as: UTF8.self) } ?? "" }
}
