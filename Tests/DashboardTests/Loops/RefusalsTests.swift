// One agent's keys are that agent's matter, with a real Redis: whatever stands in them, everybody else is compared, heard, sent to and fenced.
import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Dashboard

@Suite struct RefusalsTests {
  /// What somebody did to an agent's keys with redis-cli.
  enum Harm: CaseIterable {
    case sends, fence, tombs

    func key(_ agent: AgentID) -> String {
      switch self {
      case .sends: Keys.sends(agent)
      case .fence: Keys.fence(agent)
      case .tombs: Keys.tombs(agent)
      }
    }
  }

  @Test(arguments: Harm.allCases) func oneAgentsSpoiltKeyHoldsUpNobodyElsesReports(_ harm: Harm) async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let (bad, good) = FlowParts.neighbours
      let (his, hers) = (try await flow.accept(bad), try await flow.accept(good))
      try await flow.server.ask("RPUSH", harm.key(bad), "x")
      try await flow.collecting(good) {
        // Of a word that nothing was started the tombstone is written first.
        try await flow.say(bad, [flow.ended(his, .rejected)])
        try await flow.say(good, [flow.ended(hers, .rejected)])
        try await flow.waits(good, hers, for: .rejected, "beside a spoilt key")
        try await eventually("health names the one that waits", within: .seconds(60)) {
          flow.parts.health.reason(.agents)?.contains("1 agent left to wait") ?? false
        }
        #expect(flow.parts.health.reason(.agents)?.contains("(a: WRONGTYPE") ?? false)
        #expect(try await flow.state(bad, his) == .sent)
        #expect(flow.standing.fence == FlowParts.fence, "nobody stands by for it")
        #expect(!flow.parts.mood.isRefusing && !flow.parts.mood.silencesAgents, "it says nothing about the server")
        // What it said is still there, whatever became of its host.
        try await eventually("only its own entry is left", within: .seconds(60)) { try await flow.entries(bad) == 1 }
        try await flow.server.ask("DEL", harm.key(bad))
        try await flow.waits(bad, his, for: .rejected, "once its key is gone")
        try await eventually("nothing is left", within: .seconds(60)) { try await flow.entries(bad) == 0 }
      }
      flow.refusals.settle(now: .now + Refusals.quiet + .seconds(1))
      #expect(flow.parts.health.reason(.agents) == nil)
    }
  }

  @Test func oneAgentThatCannotBeSentToKeepsNobodyElseWaiting() async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let (bad, good) = FlowParts.neighbours
      for agent in [bad, good] {
        _ = try await flow.accept(agent, sent: false)
        flow.introduce(agent)
      }
      try await flow.server.ask("RPUSH", Keys.tombs(bad), "x")
      try await flow.sending {
        flow.sender.ring([bad, good])
        try await eventually("the other one is sent to", within: .seconds(60)) {
          try await flow.server.ask("HLEN", Keys.inbox(good)).integer == 1
        }
        try await eventually("this one is told to wait", within: .seconds(60)) { flow.refusals.reason(bad) != nil }
        #expect(try await flow.server.ask("EXISTS", Keys.inbox(bad)).integer == 0)
        try await flow.server.ask("DEL", Keys.tombs(bad))
        try await eventually("it is sent to as well", within: .seconds(60)) {
          try await flow.server.ask("HLEN", Keys.inbox(bad)).integer == 1
        }
      }
    }
  }

  @Test func aRunThatIsToEndThereKeepsNoOtherFromEnding() async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let (bad, good) = FlowParts.neighbours
      let (his, hers) = (try await flow.accept(bad, sent: false), try await flow.accept(good, sent: false))
      for run in [RunID(agent: bad, task: his), RunID(agent: good, task: hers)] {
        _ = try await flow.store.write { try FlowStops.stop($0, named: run.description, StopOrder(), now: 1) }
      }
      try await flow.server.ask("RPUSH", Keys.tombs(bad), "x")
      let attendant = Attendant(flow: flow.flow)
      // Looks of the reconciler: the numbers are compared first.
      for _ in 0..<3 {
        let open = try await flow.store.read { try FlowEnds.toEnd($0, limit: 10).runs }
        _ = try await attendant.attend(open, FlowParts.fence)
      }
      #expect(try await flow.state(good, hers) == .cancelled)
      // Rule `tomb`: not final before its tombstone stands.
      #expect(try await flow.state(bad, his) == .queued)
    }
  }

  /// Rule `fence` holds for dashboards; this is a number that none has written.
  @Test func aFenceThatNoDashboardWroteIsTakenBackAndNobodyStandsByForIt() async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let (bad, good) = FlowParts.neighbours
      let (his, hers) = (try await flow.accept(bad), try await flow.accept(good))
      try await flow.server.ask("SET", Keys.fence(bad), 2_000_000)
      try await flow.collecting(good) {
        try await flow.say(bad, [flow.ended(his, .succeeded)])
        try await flow.say(good, [flow.ended(hers, .succeeded)])
        try await flow.waits(good, hers, for: .succeeded, "beside a fence of nobody's")
        try await eventually("this one waits", within: .seconds(60)) { flow.refusals.reason(bad)?.contains("2000000") ?? false }
        #expect(flow.standing.fence == FlowParts.fence)
        #expect(
          try await flow.server.ask("GET", Keys.fence(bad)).integer == 2_000_000, "a newer dashboard may be about to say so")
        let refusal = RedisReplyError(message: "FENCED 2000000")
        try await flow.refusals.heed([bad: refusal], now: .now + Refusals.fencePatience)
        #expect(try await flow.server.ask("GET", Keys.fence(bad)).integer == FlowParts.fence)
        try await flow.waits(bad, his, for: .succeeded, "once its fence is taken back")
      }
    }
  }

  @Test func aNewerDashboardIsStoodByFor() async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let agent = FlowParts.neighbours.0
      // It raises the fence of all before that of any agent.
      try await flow.server.ask("SET", Keys.fenceOfAll, FlowParts.fence + 1)
      try await flow.server.ask("SET", Keys.fence(agent), FlowParts.fence + 1)
      await #expect(throws: RedisReplyError.self) { try await flow.sender.compare([agent], FlowParts.fence) }
      guard case .standby(let reason) = flow.standing.state else {
        Issue.record("it is \(flow.standing.state)")
        return
      }
      #expect(reason.contains("its fence is 6"), "\(reason)")
      #expect(flow.refusals.reason(agent) == nil)
    }
  }

  @Test func theFencesOfRemovedAgentsStandButForTheOneWhoseKeyIsSpoilt() async throws {
    try await withLoopParts { (parts: LoopParts) async throws -> Void in
      let (bad, good) = FlowParts.neighbours
      try await parts.store.write { db in
        for agent in [bad, good] { _ = try FlowRemoval.remove(db, agent, journals: [Nonce(3)], by: "test", now: 0) }
      }
      try await parts.server.ask("SET", Keys.fenced(bad), "x")
      let flow = try await FlowParts(parts)
      try await flow.flow.removed.standAgain(FlowParts.fence)
      func stands(_ agent: AgentID) async throws -> Bool {
        try await parts.server.ask("SISMEMBER", Keys.fenced(agent), "\(Nonce(3))").integer == 1
      }
      #expect(try await stands(good))
      #expect(flow.refusals.reason(bad) != nil)
      try await parts.server.ask("DEL", Keys.fenced(bad))
      // Reports do not wait for it; the look at who is there tries it again.
      try await flow.flow.removed.standAgain(FlowParts.fence)
      #expect(try await !stands(bad))
      try await flow.flow.removed.standAgain(FlowParts.fence, andLacking: true)
      #expect(try await stands(bad))
    }
  }

  @Test func anAgentThatCannotBeComparedIsNotRemovedAndTheReasonIsTold() async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let agent = FlowParts.neighbours.0
      _ = try await flow.accept(agent)
      try await flow.server.ask("RPUSH", Keys.sends(agent), "x")
      await #expect { try await flow.flow.removed.remove(agent.text, by: "test") } throws: { error in
        (error as? RemovalFault)?.description.contains("WRONGTYPE") ?? false
      }
      try await flow.server.ask("DEL", Keys.sends(agent))
      try await flow.server.ask("CONFIG", "SET", "maxmemory", 1)
      #expect(try await flow.flow.removed.remove(agent.text, by: "test")?.closed.count == 1, "a full Redis is no reason")
    }
  }

  @Test func aRedisThatRefusesEverybodyIsToldFromOneAgentsTrouble() async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let agent = FlowParts.neighbours.0
      func judge(_ outcome: Result<RedisValue, RedisError>) -> String {
        switch flow.refusals.judge(agent, outcome) {
        case .value: "value"
        case .fenced: "fenced"
        case .waits: "waits"
        case .refused: "refused"
        }
      }
      func reply(_ message: String) -> Result<RedisValue, RedisError> { .success(.error(RedisReplyError(message: message))) }
      #expect(judge(.success(.integer(1))) == "value")
      #expect(judge(reply("FENCED 7")) == "fenced")
      #expect(judge(reply("WRONGTYPE Operation against a key")) == "waits")
      #expect(judge(reply("ERR user_script:1: attempt to compare number with nil")) == "waits")
      // A script that touches several keys of a slot that is on its way.
      #expect(judge(.failure(.notSent(.unavailable("TRYAGAIN Multiple keys request during rehashing of slot")))) == "waits")
      #expect(!flow.parts.mood.isRefusing)
      #expect(judge(.failure(.notSent(.unavailable("CLUSTERDOWN the cluster is down")))) == "refused")
      #expect(judge(.failure(.outcomeUnknown(.serverClosed))) == "refused")
      #expect(!flow.parts.mood.isRefusing)
      #expect(judge(reply("NOPERM this user has no permissions")) == "refused")
      #expect(flow.parts.mood.isRefusing && !flow.parts.mood.silencesAgents, "agents have rights of their own")
      #expect(judge(reply("READONLY You can't write against a read only replica.")) == "refused")
      #expect(flow.parts.mood.silencesAgents)
    }
  }
}
