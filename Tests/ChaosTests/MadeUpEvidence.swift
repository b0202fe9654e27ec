// Evidence that was made up, run by run.
import Shared

@testable import Chaos

extension Evidence {
  /// Of a plan in which the database goes back, or of one in which Redis forgets.
  static func madeUp(redisForgets: Bool = false) -> Evidence {
    Evidence(seed: 5, agents: 2, redisForgets: redisForgets, databaseGoesBack: !redisForgets)
  }

  /// A run of host-0 that was accepted within ten milliseconds, and whose verdict was seen.
  /// - Parameters:
  ///   - attempts: nil: one, of which the dashboard says no more than of the run.
  ///   - runners: one for each line in the file of starts.
  ///   - at: when it was posted.
  ///   - suits: which of the tasks of that kind; each is taken once.
  mutating func add(
    _ run: String, _ kind: PostedTask.Kind, _ state: RunState, exitCode: Int? = nil, attempts: [AttemptRow]? = nil,
    runners: [Int32] = [], ends: Int = 0, at: Int = 1000, verdictAt: Int = 2000, isUnknown: Bool = false,
    suits: (PostedTask) -> Bool = { _ in true }
  ) {
    let task = (0...).lazy.map { PostedTask(seed: 5, number: $0, agents: 2) }
      .first { [posts = ledger.posts] in $0.kind == kind && $0.agent == 0 && posts[$0.number] == nil && suits($0) }
    guard let task else { return }
    ledger.posts[task.number] = PostRecord(number: task.number, at: at, answeredAt: at + 10, outcome: .accepted([run]))
    ledger.numbers[run] = task.number
    ledger.seen[run] = Sighting(verdict: state.rawValue, verdictAt: verdictAt)
    rows[run] = RunRow(
      run: run, agent: "host-0", taskname: isUnknown ? RunRow.unknownTaskname : task.mark, state: state,
      attempt: attempts?.count ?? 1, exitCode: exitCode)
    self.attempts[run] = attempts
    if !runners.isEmpty { starts[run] = runners.compactMap { StartLine("\(run) \($0) \(task.number)") } }
    if ends > 0 { self.ends[run] = ends }
  }

  /// Runner → when it was killed.
  mutating func kill(_ runners: KeyValuePairs<Int32, Int>, of agent: Int = 0) {
    deeds.runnerKills += runners.map { Deeds.RunnerKill(agent: agent, pid: $0.key, at: $0.value) }
  }

  var violations: [String] { PromiseCheck(self).violations.map(\.text) }
}
