// A Redis in which somebody, or something broken, has written what no program of ours writes: numbers beyond all bounds, names that are none. No
// program ends because of it, and nobody is served worse.
import Foundation
import Redis
import RedisTestSupport
import Shared
import Testing

@Suite struct OddNumbersTests {
  private let agent = AgentID("odd-1")

  @Test func whatNobodyCanHaveWrittenIntoRedisStopsNobody() async throws {
    let server = try await RedisServerProcess.start()
    let redis = RedisConnection(server.configuration)
    try await redis.connected(within: .seconds(20))
    try await withStand(redis: "127.0.0.1:\(server.port)") { (stand: Stand) async throws -> Void in
      let process = try await stand.startAgent(agent.text)
      _ = try await stand.verdict(try await stand.task(agent.text, "true"))
      try await stand.killDashboard()
      let lease = try #require(try await redis.send(RedisCommand("GET", Keys.lease(agent))).bytes.flatMap { Lease(bytes: $0) })
      for command in try keys() + streams() + agentsOwn(lease) { _ = try await redis.send(command) }
      try await stand.restartDashboard()
      #expect(try await stand.verdict(try await stand.task(agent.text, "exit 3"))["exitCode"] as? Int == 3)
      // It hears as well.
      let long = try await stand.task(agent.text, "sleep 600")
      try await stand.run(long, is: "running")
      #expect(try await stand.kill(long).status == 202)
      #expect(try await stand.verdict(long)["state"] as? String == "killed")
      let shard = Keys.shard(agent)
      _ = try await eventually("the streams are read to their ends") {
        let reports = try await redis.send(RedisCommand("XLEN", Keys.verdicts(shard))).integer
        let output = try await redis.send(RedisCommand("XLEN", Keys.output(shard))).integer
        return reports == 0 && output == 0 ? true : nil
      }
      let bounds: [(key: String, most: Int64)] = [
        (Keys.fenceOfAll, Fences.all.upperBound), (Keys.fence(agent), Fences.all.upperBound), (Keys.sends(agent), 1 << 52),
      ]
      for (key, most) in bounds {
        let held = try await redis.send(RedisCommand("GET", key)).integer ?? -1
        #expect((1..<most).contains(held), "\(key) is \(held)")
      }
      #expect(stand.dashboard.isRunning && process.isRunning)
      let log = stand.dashboard.text
      for words in ["nobody can read was dropped", "held a fence that no dashboard had", "holds a send number that no dashboard"]
      {
        #expect(log.contains(words), "\(words)")
      }
    }
    await redis.close()
    try await server.stop()
  }

  private func keys() throws -> [RedisCommand] {
    let nobody = AgentID("")
    let beat = Heartbeat(
      count: 1, load1: 0, running: .max, waiting: .min, concurrency: .max, health: "healthy", hostname: "h", pid: .min)
    let lease = Lease(address: AgentAddress(journal: Nonce(1), incarnation: Nonce(2)), beat: beat)
    return [
      RedisCommand("SET", Keys.fenceOfAll, Int64.max), RedisCommand("SET", Keys.clock, Int64.min),
      RedisCommand("SET", Keys.fence(agent), "18446744073709551615"), RedisCommand("SET", Keys.sends(agent), Int64.max),
      RedisCommand("SET", Keys.acked(agent), "\(Nonce(1)):\(UInt64.max):\(UInt64.max)"),
      RedisCommand("ZADD", Keys.agents, "1e308", nobody.text), RedisCommand("ZADD", Keys.agents, "-inf", "a b"),
      RedisCommand("SET", Keys.lease(nobody), try lease.encoded()),
    ]
  }

  /// In the streams in which the agent speaks: what holds them up holds it up.
  private func streams() throws -> [RedisCommand] {
    let id = AttemptID(task: ULIDGenerator().next())
    func said(_ agent: String, _ events: [ReportEvent], first: UInt64 = 1) -> ReportBatch {
      let from = AgentAddress(journal: .random(), incarnation: .random())
      return ReportBatch(
        agent: AgentID(agent), from: from, position: JournalPosition(journal: from.journal, count: 1, nonce: Nonce(1)),
        first: first,
        oldest: first, events: events, tails: [1])
    }
    func hello(concurrency: Int, sends: SendNumber) -> ReportEvent {
      ReportEvent(
        .hello,
        hello: Hello(
          projects: ["odd"], hostname: "h", address: "a", version: "1", os: "o", arch: "x", startedAt: .min,
          concurrency: concurrency,
          httpPort: .max, sends: sends))
    }
    let huge = OutputSlice(attempt: id, offset: .max, segments: [[1, .max], [1, 1]])
    var foreign = said("odd-2", [ReportEvent(.bye)])
    foreign.protocol = .min
    let reports = [
      foreign, said("", [ReportEvent(.bye)]), said("odd-3", [ReportEvent(.bye)], first: UInt64(Int64.max)),
      said("odd-4", [hello(concurrency: .max, sends: .zero)]),
      said("odd-5", [hello(concurrency: 1, sends: SendNumber(raw: .max))]),
      said("odd-6", [hello(concurrency: 1, sends: SendNumber(raw: 1 << 53 - 1))]),
      said("odd-7", [ReportEvent(.ended, attempt: id, verdict: Verdict(state: .failed), tombstone: true)]),
      said(
        "odd-8",
        [
          ReportEvent(
            .ended, attempt: id,
            verdict: Verdict(
              state: .succeeded, startedAt: .min, finishedAt: .max, outputBytes: .max, droppedBytes: .max, droppedFrom: .max)),
          ReportEvent(.ended, attempt: id, verdict: Verdict(state: .succeeded), tail: huge),
        ]),
    ]
    let from = AgentAddress(journal: .random(), incarnation: .random())
    let frames = [
      OutputFrame(agent: AgentID("odd-2"), from: from, sequence: 1, oldest: 1, slices: [huge], bytes: [1]),
      OutputFrame(agent: AgentID("odd-2"), from: from, sequence: UInt64(Int64.max), oldest: 1, slices: [], bytes: []),
    ]
    let shard = Keys.shard(agent)
    return try reports.map { RedisCommand("XADD", Keys.verdicts(shard), "*", "m", try $0.encoded()) }
      + frames.map { RedisCommand("XADD", Keys.output(shard), "*", "m", try $0.encoded()) }
  }

  /// What it takes for the dashboard's.
  private func agentsOwn(_ lease: Lease) throws -> [RedisCommand] {
    let task = ULIDGenerator().next()
    let last = AttemptID(task: task, attempt: .max)
    let deaf = ControlMessage(.reconcile, fence: .max)
    let many = ControlMessage(.cancel, to: lease.address, number: SendNumber(raw: .max), attempts: [last], grace: 1e308)
    var envelopes: [RedisCommand] = []
    for (id, number) in [(last, SendNumber.zero), (AttemptID(task: task), SendNumber(raw: .max))] {
      let envelope = Envelope(
        agent: agent, journal: lease.address.journal, task: task, attempt: id.attempt, number: number,
        spec: TaskSpec(taskname: "true"))
      envelopes.append(RedisCommand("HSET", Keys.inbox(agent), id.description, try envelope.encoded()))
    }
    return try envelopes + [deaf, many].map { RedisCommand("RPUSH", Keys.control(agent), try $0.encoded()) }
  }
}
