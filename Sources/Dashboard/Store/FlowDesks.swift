// What a new process takes over from the store about each agent: who spoke last, how much it takes, whether something waits.
import GRDB
import Shared

enum FlowDesks {
  /// - Parameter damaged: told of agents whose rows cannot be read; one whose hello cannot is taken for the smallest, any other is left out.
  static func load(_ db: Database, damaged: ([String]) -> Void = { _ in }) throws -> [(AgentID, Desk)] {
    var desks: [(AgentID, Desk)] = []
    for row in try Row.fetchAll(db, sql: "SELECT uuid, journal, incarnation, hello FROM agents WHERE removed_at IS NULL") {
      do {
        let name: String = try row.cell(0)
        var desk = Desk()
        let journal: String? = try row.cell(1)
        let speaker = CommittedSequence(incarnations: try row.cell(2), sequence: 0)
        if let journal = journal.flatMap({ Nonce($0) }), let incarnation = speaker.incarnation {
          desk.address = AgentAddress(journal: journal, incarnation: incarnation)
        }
        if let hello: String = try row.cell(3) {
          do { desk.concurrency = max(1, try JSONCoder.decode(Hello.self, from: Array(hello.utf8)).concurrency) } catch {
            damaged(["agent \(name): its hello cannot be read: \(error)"])
          }
        }
        desks.append((AgentID(name), desk))
      } catch let fault as StoredFault { damaged([fault.description]) }
    }
    let known = Set(desks.map(\.0))
    return desks + (try FlowEnds.busyAgents(db)).subtracting(known).map { ($0, Desk()) }
  }
}
