// Looks once a second for runs that want attention and does what `RunFlow.due` says: compare, tombstone, end alone, ask to cancel, ask to
// close, ask what became of it. Control messages are hints: each is repeated until its effect is reported.
// What if: Redis is away: nothing is final, runs read `stopRequestedAt` and wait; killed between tombstone and end: the next process finds the
// run still open, writes the tombstone again and ends it.
import GRDB
import Logging
import Redis
import ServiceLifecycle
import Shared

struct Reconciler: Service {
  let flow: CollectorTools
  let clock: DeadlineClock

  /// Runs read at once.
  private static let limit = 5000
  /// A question or a request is repeated after so long without an effect.
  private static let patience: Duration = .seconds(3)
  private static let idsInMessage = 200

  func run() async throws {
    await cancelWhenGracefulShutdown {
      while await pause(.seconds(1)) {
        guard let fence = await flow.standing.untilWriting() else { break }
        do {
          try await look(fence)
        } catch { flow.logger.debug("reconciling stopped", metadata: ["why": "\(error)"]) }
      }
    }
  }

  private typealias Page = @Sendable (Database, OpenRun?, Int) throws -> [OpenRun]

  func look(_ fence: Fence) async throws {
    let now = WallTime.now().milliseconds
    let deadline = clock.now
    _ = try await flow.store.write { try FlowEnds.expire($0, deadline: deadline, now: now, limit: Self.limit) }
    try await readWhatToAsk()
    // All of them, page after page: runs of hosts that are away for long must not stand before everybody else's.
    for page: Page in [FlowEnds.toEnd, FlowEnds.unreported] {
      var last: OpenRun?
      repeat {
        let after = last
        let open = try await flow.store.read { try page($0, after, Self.limit) }
        try await carryOut(duties(of: open), fence)
        last = open.count == Self.limit ? open.last : nil
      } while last != nil
    }
    try await askAgain(fence)
  }

  // MARK: What is due

  private struct Duties {
    var compare: Set<AgentID> = []
    var tombstone: [AgentID: [AttemptID]] = [:]
    var endAlone: [OpenRun] = []
    var send: Set<AgentID> = []
    var asks: [Ask: [AttemptID]] = [:]
  }
  private struct Ask: Hashable {
    var agent: AgentID
    var kind: ControlMessage.Kind
    var cause: EndCause?
  }

  private func duties(of open: [OpenRun]) -> Duties {
    var duties = Duties()
    let now = SuspendingClock.now
    for var run in open {
      let lives = flow.fleet.isOnline(run.agent)
      let due: RunDuty? = flow.desks.withDesk(run.agent) { desk in
        let marked = desk.marked.contains { $0.task == run.task }
        run.knowledge.markedHere = marked
        run.knowledge.denied = desk.denied.contains(run.task)
        run.knowledge.tombstoned = desk.tombstoned.contains(run.task)
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
      let id = AttemptID(task: run.task, attempt: run.attempt)
      switch due {
      case .compare: duties.compare.insert(run.agent)
      case .tombstone: duties.tombstone[run.agent, default: []].append(id)
      case .endAlone: duties.endAlone.append(run)
      case .askToCancel(let cause): duties.asks[Ask(agent: run.agent, kind: .cancel, cause: cause), default: []].append(id)
      case .askToClose: duties.asks[Ask(agent: run.agent, kind: .close), default: []].append(id)
      case .reconcile: duties.asks[Ask(agent: run.agent, kind: .reconcile), default: []].append(id)
      case .send: duties.send.insert(run.agent)
      case .mark, nil: break
      }
    }
    return duties
  }

  private func carryOut(_ duties: Duties, _ fence: Fence) async throws {
    if !duties.compare.isEmpty { try await flow.sender.compare(duties.compare, fence) }
    try await flow.entomb(duties.tombstone, fence)
    // What got its tombstone just now ends in this turn already.
    let entombed = duties.tombstone.flatMap { agent, ids in
      ids.map { OpenRun(agent: agent, task: $0.task, attempt: $0.attempt, knowledge: RunKnowledge(state: .queued)) }
    }
    let ending = duties.endAlone + entombed
    if !ending.isEmpty {
      let now = WallTime.now().milliseconds
      let ended = try await flow.store.write { db in try ending.map { ($0, try FlowEnds.endAlone(db, $0, now: now)) } }
      for (run, state) in ended {
        guard let state else { continue }
        flow.desks.withDesk(run.agent) { desk in
          desk.tombstoned.remove(run.task)
          desk.asked[run.task] = nil
        }
        flow.publish(run.agent, [(run.task, state)], [])
      }
    }
    for (ask, ids) in duties.asks { try await say(ask.kind, ask.cause, ids, to: ask.agent, fence) }
    if !duties.send.isEmpty { flow.sender.ring(duties.send) }
  }

  // MARK: Questions after a new incarnation, process or fence

  private func readWhatToAsk() async throws {
    let agents = flow.desks.agents { $0.toAsk == nil && $0.address != nil && $0.compared }
    guard !agents.isEmpty else { return }
    for part in agents.chunks(of: 500) {
      let found = try await flow.store.read { db in try part.map { ($0, try FlowEnds.out(db, $0)) } }
      for (agent, tasks) in found {
        flow.desks.withDesk(agent) { desk in
          let waiting = Set(desk.marked.map(\.task))
          desk.toAsk = tasks.subtracting(waiting)
          for task in tasks { desk.asked[task] = nil }
        }
      }
    }
  }

  private func askAgain(_ fence: Fence) async throws {
    let now = SuspendingClock.now
    for agent in flow.desks.agents(where: { !($0.toAsk ?? []).isEmpty }) where flow.fleet.isOnline(agent) {
      let tasks: [ULID] = flow.desks.withDesk(agent) { desk in
        let due = (desk.toAsk ?? []).filter { task in
          !desk.marked.contains { $0.task == task } && (desk.asked[task].map { $0.duration(to: now) >= Self.patience } ?? true)
        }
        for task in due { desk.asked[task] = now }
        return Array(due)
      }
      guard !tasks.isEmpty else { continue }
      let known = try await flow.store.read { db in
        try tasks.map { task in (task, try RunRow.fetch(db, task: task, agent: agent)) }
          .compactMap { task, row in row.flatMap { $0.knowledge.isOpen ? AttemptID(task: task, attempt: $0.attempt) : nil } }
      }
      let stillOpen = Set(known.map(\.task))
      flow.desks.withDesk(agent) { $0.toAsk?.subtract(tasks.filter { !stillOpen.contains($0) }) }
      try await say(.reconcile, nil, known, to: agent, fence)
    }
  }

  private func say(_ kind: ControlMessage.Kind, _ cause: EndCause?, _ ids: [AttemptID], to agent: AgentID, _ fence: Fence)
    async throws
  {
    guard let address = flow.desks.desk(agent).address, !ids.isEmpty else { return }
    // Rule `asks`: a message about a run raises the number in Redis too.
    let number = try await flow.store.read { try AgentRow.number($0, agent) }
    let commands = try ids.chunks(of: Self.idsInMessage).map { part in
      try DashboardBus.control(
        agent, fence: fence, number: number, ControlMessage(kind, to: address, attempts: part, cause: cause))
    }
    for reply in try await flow.link.commands.pipeline(commands) {
      guard let error = reply.error else { continue }
      flow.sender.fenced(error)
      throw error
    }
  }
}
