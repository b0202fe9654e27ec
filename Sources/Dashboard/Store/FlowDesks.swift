// What a new process takes over from the store about each agent: who spoke last, how much it takes, whether something waits.
import GRDB
import Shared

enum FlowDesks {
  /// - Parameter damaged: told of agents whose last hello cannot be read; they are taken for the smallest.
  static func load(_ db: Database, damaged: ([String]) -> Void = { _ in }) throws -> [(AgentID, Desk)] {
    var desks: [(AgentID, Desk)] = []
    for row in try Row.fetchAll(db, sql: "SELECT uuid, journal, incarnation, hello FROM agents WHERE removed_at IS NULL") {
      var desk = Desk()
      let journal: String? = row[1]
      let incarnation: String? = row[2]
      let speaker = CommittedSequence(incarnations: incarnation, sequence: 0)
      if let journal = journal.flatMap({ Nonce($0) }), let incarnation = speaker.incarnation {
        desk.address = AgentAddress(journal: journal, incarnation: incarnation)
      }
      if let hello: String = row[3] {
        do { desk.concurrency = max(1, try JSONCoder.decode(Hello.self, from: Array(hello.utf8)).concurrency) } catch {
          damaged(["agent \(row[0] as String): its hello cannot be read: \(error)"])
        }
      }
      desks.append((AgentID(row[0]), desk))
    }
    let known = Set(desks.map(\.0))
    return desks + (try FlowEnds.busyAgents(db)).subtracting(known).map { ($0, Desk()) }
  }
}
