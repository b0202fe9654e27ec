// Does what `RunFlow.due` says for open runs that want attention: compare, tombstone, end alone, ask to cancel, ask to close, ask what became
// of them. `Reconciler` brings every such run once a second, `Stopper` those that somebody has just asked to end. Control messages are hints:
// each is repeated until its effect is reported.
// What if: Redis is away: nothing is final, runs read `stopRequestedAt` and wait; killed between tombstone and end: the next process finds the
// run still open, writes the tombstone again and ends it.
import GRDB
import Redis
import Shared

struct Attendant: Sendable {
  let flow: CollectorTools

  /// A question or a request is repeated after so long without an effect.
  static let patience: Duration = .seconds(3)
  private static let idsInMessage = 200
  private static let messagesInPipeline = 500

  /// Carries out what is due now. Returns true when something else is due as soon as this is done: the send numbers had to be compared.
  func attend(_ open: [OpenRun], _ fence: Fence) async throws -> Bool {
    let duties = duties(of: open)
    try await carryOut(duties, fence)
    return !duties.compare.isEmpty
  }

  // MARK: What is due

  private struct Duties {
    var compare: Set<AgentID> = []
    var tombstone: [AgentID: [(id: AttemptID, cause: EndCause)]] = [:]
    var withdraw: [AgentID: [AttemptID]] = [:]
    var endAlone: [OpenRun] = []
    var send: Set<AgentID> = []
    var asks: [Ask: [AttemptID]] = [:]
  }
  /// What one control message can say at once.
  struct Ask: Hashable {
    var agent: AgentID
    var kind: ControlMessage.Kind
    var cause: EndCause?
    var stop = StopOrder()
    /// Their output as well.
    var output = false
  }

  private func duties(of open: [OpenRun]) -> Duties {
    var duties = Duties()
    let now = SuspendingClock.now
    for var run in open {
      let lives = flow.fleet.isOnline(run.agent)
      let id = AttemptID(task: run.task, attempt: run.attempt)
      if run.knowledge.isToBeWithdrawn {
        let isWithdrawn = flow.desks.withDesk(run.agent) { desk in
          if desk.unwanted[id] == nil { desk.unwanted[id] = Desk.Unwanted() }
          return desk.unwanted[id]?.isWithdrawn == true
        }
        if !isWithdrawn { duties.withdraw[run.agent, default: []].append(id) }
      }
      let due: RunDuty? = flow.desks.withDesk(run.agent) { desk in
        let marked = desk.marked.contains { $0.task == run.task }
        run.knowledge.markedHere = marked
        run.knowledge.denied = desk.denied.contains(run.task)
        run.knowledge.tomb = desk.tombs[run.task]
        let asked = desk.asked[run.task]
        // A run that this process neither sent nor asked about is silent from the start: its predecessor may have sent it.
        let silent = asked.map { $0.duration(to: now) >= BusLimits.silence } ?? true
        let circumstances = RunCircumstances(
          agentLives: lives && desk.address != nil, compared: desk.compared, silent: silent && !marked, room: false)
        guard let due = run.knowledge.due(circumstances) else { return nil }
        switch due {
        case .askToCancel, .askToClose:
          if let asked, asked.duration(to: now) < Self.patience { return nil }
          desk.asked[run.task] = now
        case .reconcile: desk.asked[run.task] = now
        default: break
        }
        return due
      }
      switch due {
      case .compare: duties.compare.insert(run.agent)
      case .tombstone(let cause): duties.tombstone[run.agent, default: []].append((id, cause))
      case .endAlone: duties.endAlone.append(run)
      case .askToCancel(let cause):
        let stop = cause == .cancelled ? run.stop : StopOrder()
        duties.asks[Ask(agent: run.agent, kind: .cancel, cause: cause, stop: stop), default: []].append(id)
      case .askToClose: duties.asks[Ask(agent: run.agent, kind: .close), default: []].append(id)
      case .reconcile: duties.asks[Ask(agent: run.agent, kind: .reconcile), default: []].append(id)
      case .send: duties.send.insert(run.agent)
      case .mark, nil: break
      }
    }
    return duties
  }

  private func carryOut(_ duties: Duties, _ fence: Fence) async throws {
    try await flow.withdraw(duties.withdraw, fence)
    if !duties.compare.isEmpty { try await flow.sender.compare(duties.compare, fence) }
    // What cannot be written now, on a node that is away perhaps, keeps nothing else from being done.
    var failure: (any Error)?
    var waiting = Set(duties.tombstone.keys)
    do { waiting = try await flow.entomb(duties.tombstone, fence) } catch { failure = error }
    // What got its tombstone just now ends in this turn already.
    let entombed = duties.tombstone.filter { [waiting] in !waiting.contains($0.key) }.flatMap { agent, tombs in
      let stands = flow.desks.desk(agent).tombs
      return tombs.map { tomb in
        OpenRun(
          agent: agent, task: tomb.id.task, attempt: tomb.id.attempt,
          knowledge: RunKnowledge(state: .queued, tomb: stands[tomb.id.task]))
      }
    }
    let ending = duties.endAlone + entombed
    if !ending.isEmpty {
      let now = WallTime.now().milliseconds
      let ended = try await flow.store.write { db in try ending.map { ($0, try FlowEnds.endAlone(db, $0, now: now)) } }
      for (run, state) in ended {
        // Also where it is not ended: it went another way, and whoever wants its end then writes the tombstone again.
        flow.desks.withDesk(run.agent) { desk in
          desk.tombs[run.task] = nil
          if state != nil { desk.stopped[run.task] = nil }
          desk.asked[run.task] = nil
        }
        guard let state else { continue }
        flow.publish(run.agent, [(run.task, state)], [])
      }
    }
    try await say(duties.asks, fence)
    if !duties.send.isEmpty { flow.sender.ring(duties.send) }
    if let failure { throw failure }
  }

  // MARK: Saying

  /// Puts messages before the agents that are spoken to.
  func say(_ asks: [Ask: [AttemptID]], _ fence: Fence) async throws {
    let spoken = asks.compactMap { ask, ids in
      flow.desks.desk(ask.agent).address.map { (ask: ask, address: $0, ids: ids) }
    }.filter { !$0.ids.isEmpty }
    guard !spoken.isEmpty else { return }
    // Rule `asks`: a message about a run raises the number in Redis too.
    let agents = spoken.map(\.ask.agent)
    let numbers = try await flow.store.read { db in try agents.map { try AgentRow.number(db, $0) } }
    var commands: [(agent: AgentID, command: RedisCommand)] = []
    for (item, number) in zip(spoken, numbers) {
      for part in item.ids.chunks(of: Self.idsInMessage) {
        let message = ControlMessage(
          item.ask.kind, to: item.address, attempts: part, cause: item.ask.cause, signal: item.ask.stop.signal,
          grace: item.ask.stop.grace, output: item.ask.output ? true : nil)
        commands.append((item.ask.agent, try DashboardBus.control(item.ask.agent, fence: fence, number: number, message)))
      }
    }
    // Whom it does not reach is told again.
    for part in commands.chunks(of: Self.messagesInPipeline) { _ = try await flow.refusals.answers(part) }
  }
}
