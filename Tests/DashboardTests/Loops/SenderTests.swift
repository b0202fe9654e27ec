// What the sender does while Redis takes nothing, with a real Redis.
import GRDB
import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Dashboard

@Suite struct SenderTests {
  private func marked(_ store: Store) async throws -> Int {
    try await store.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM runs WHERE state = 'sent'") ?? 0 }
  }

  /// How often Redis has said that it is full.
  private func refusals(_ server: RedisServerProcess) async throws -> Int {
    let text = try await server.ask("INFO", "errorstats").string ?? ""
    let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("errorstat_OOM:count=") }
    return line.flatMap { Int($0.drop { $0 != "=" }.dropFirst()) } ?? 0
  }

  /// Found by review: marking went on beside it, and every host's share of a heavy broadcast came to wait in memory.
  @Test func whileWhatIsMarkedCannotBeSentNothingIsAddedToIt() async throws {
    try await withFlow { (flow: FlowParts) async throws -> Void in
      let (server, store) = (flow.server, flow.store)
      let agents = (0..<700).map { AgentID("h\($0)") }
      for agent in agents { flow.introduce(agent) }
      try await flow.sending {
        flow.sender.ring(agents)
        try await eventually("all are compared", within: .seconds(60)) { agents.allSatisfy { flow.desks.desk($0).compared } }
        try await server.ask("CONFIG", "SET", "maxmemory", 1)
        let task = flow.ids.next()
        try await store.write { db in
          try FreshTask(
            id: task, auuid: "web-\(task)", target: "web", kind: .project, spec: TaskSpec(taskname: "true"), origin: .http,
            createdAt: 0, startBefore: 1000, runs: agents.map { FreshRun(id: RunID(agent: $0, task: task), project: "web") }
          ).insert(into: db)
        }
        for agent in agents { flow.desks.withDesk(agent) { $0.backlog = true } }
        flow.sender.ring(agents)
        try await eventually("it is refused again and again", within: .seconds(60)) { try await refusals(server) > 1500 }
        #expect(try await (1...500).contains(marked(store)), "no more than one portion")
        try await server.ask("CONFIG", "SET", "maxmemory", 0)
        try await eventually("all are sent to", within: .seconds(60)) {
          guard try await marked(store) == agents.count else { return false }
          return agents.allSatisfy { flow.desks.desk($0).marked.isEmpty }
        }
        for agent in agents.prefix(3) + agents.suffix(3) {
          try await eventually("it is in its inbox", within: .seconds(60)) {
            try await server.ask("HLEN", Keys.inbox(agent)).integer == 1
          }
        }
      }
    }
  }
}
