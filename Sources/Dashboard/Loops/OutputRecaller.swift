// Asks agents for output that a restored store lacks (Store/OutputRecall), until it is whole. A question is a control message, so it may be
// lost: it is repeated. Given up after a while: the host may have removed its copy.
import Logging
import ServiceLifecycle
import Shared

struct OutputRecaller: Service {
  let flow: CollectorTools

  private static let interval: Duration = .seconds(2)
  private static let patience: Duration = .seconds(10)
  private static let mostQuestions = 6

  private struct Question: Hashable {
    var agent: AgentID
    var attempt: AttemptID
  }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      var questions: [Question: (count: Int, at: SuspendingClock.Instant)] = [:]
      while await pause(Self.interval) {
        guard let fence = await flow.standing.untilWriting() else { break }
        do {
          try await look(&questions, fence)
        } catch { flow.logger.debug("recalling output stopped", metadata: ["why": "\(error)"]) }
      }
    }
  }

  private func look(_ questions: inout [Question: (count: Int, at: SuspendingClock.Instant)], _ fence: Fence) async throws {
    let wanted = try await flow.store.read { try OutputRecall.wanted($0) }
    guard !wanted.isEmpty else {
      questions = [:]
      return
    }
    let now = SuspendingClock.now
    var asks: [Attendant.Ask: [AttemptID]] = [:]
    for (agent, ids) in wanted {
      guard flow.fleet.isOnline(agent), flow.desks.desk(agent).compared, flow.desks.desk(agent).address != nil else { continue }
      func count(_ id: AttemptID) -> Int { questions[Question(agent: agent, attempt: id)]?.count ?? 0 }
      let givenUp = Set(ids.filter { count($0) >= Self.mostQuestions })
      // Most of the time nothing has come yet: the writer is not troubled with that.
      let left = try await flow.store.read { try OutputRecall.rest($0, of: agent, ids, givenUp: givenUp) }
      if left != ids { try await flow.store.write { try OutputRecall.strike($0, agent, givenUp: givenUp) } }
      for id in left {
        let question = Question(agent: agent, attempt: id)
        if let last = questions[question], last.at.duration(to: now) < Self.patience { continue }
        questions[question] = (count(id) + 1, now)
        asks[Attendant.Ask(agent: agent, kind: .reconcile, output: true), default: []].append(id)
      }
    }
    try await Attendant(flow: flow).say(asks, fence)
  }
}
