// What the dashboard's process remembers of each agent's flow, beside the store: one `Desk` per agent. All of it is forgotten with the
// process or with a new fence, and nothing here is needed for truth: it only says what was compared, sent, denied or asked since.
// Guarded by one lock, so that the store's writer thread can look at it inside a transaction.
import Shared
import Synchronization

/// A run that is marked in the store and has to be handed to the send script.
struct MarkedRun: Sendable {
  var task: ULID
  var attempt: Int
  var spec: TaskSpec
  /// From when it was marked, or when it was read to be sent again.
  var mark: SendMark
  /// The clock for deadlines, milliseconds since 1970.
  var startBefore: Int64?

  var id: AttemptID { AttemptID(task: task, attempt: attempt) }

  /// Rule `meant`: for the journal that it was marked for, not for whoever speaks by now.
  func envelope(for agent: AgentID, at address: AgentAddress, number: SendNumber) -> Envelope {
    Envelope(
      agent: agent, journal: mark.journal ?? address.journal, task: task, attempt: attempt, number: number, spec: spec,
      startBefore: startBefore)
  }
}

struct Desk: Sendable {
  /// Who spoke last in the agent's stream.
  var address: AgentAddress?
  /// The send numbers were compared under the present fence.
  var compared = false
  var concurrency = 1
  /// Runs of this agent that are `sent` or `running` in the store, as far as known.
  var outstanding = 0
  /// Queued runs may wait in the store.
  var backlog = true
  var marked: [MarkedRun] = []
  var denied: Set<ULID> = []
  /// The tombstones that stand in Redis of runs that have not ended yet.
  var tombs: [ULID: EndCause] = [:]
  /// Somebody asked for the end of these runs, and when: nothing of them is sent any more.
  var stopped: [ULID: SuspendingClock.Instant] = [:]
  /// Attempts that are to end and may lie in the inbox. Not by run: one that had expired may turn out to have been started, and have another
  /// attempt.
  var unwanted: [AttemptID: Unwanted] = [:]
  struct Unwanted {
    /// It was taken out of the inbox.
    var isWithdrawn = false
    var since = SuspendingClock.now
  }
  /// It was logged that something which the agent says is passed over.
  var isToldApart = false
  /// When a run was last sent or asked about.
  var asked: [ULID: SuspendingClock.Instant] = [:]
  /// Open runs that have to be put to the agent: its incarnation, our process or our fence is new. Nil: still to be read from the store.
  var toAsk: Set<ULID>?

  /// The sender has something to do for it, as soon as it lives.
  var wantsSending: Bool { backlog || !compared || !marked.isEmpty || !denied.isEmpty }

  /// These runs have to be put to the agent. Nothing to remember where all of its open runs are to be read anyway.
  mutating func ask(_ tasks: some Sequence<ULID>) { toAsk?.formUnion(tasks) }

  var room: Int { max(0, concurrency + BusLimits.windowBeyondSlots - outstanding) }
}

final class Desks: Sendable {
  private let guarded = Mutex<[AgentID: Desk]>([:])

  /// Changes it in place: what it remembers of a long backlog is not copied for each change.
  func withDesk<T: Sendable>(_ agent: AgentID, _ body: (inout Desk) -> T) -> T {
    guarded.withLock { body(&$0[agent, default: Desk()]) }
  }

  func desk(_ agent: AgentID) -> Desk { guarded.withLock { $0[agent] ?? Desk() } }

  /// Agents for which the predicate holds.
  func agents(where predicate: (Desk) -> Bool) -> [AgentID] {
    guarded.withLock { $0.filter { predicate($0.value) }.map(\.key) }
  }

  /// A commit about their runs failed, or was done and told as failed: what waits and what is out is looked for in the store, and asked about at
  /// once instead of after the silence that `reconcile` allows. A write that the disk had no room for is known to have left nothing.
  func doubt(_ agents: some Collection<AgentID>, after error: any Error) {
    if case .full? = error as? StoreError { return }
    for agent in agents {
      withDesk(agent) { desk in
        desk.backlog = true
        desk.toAsk = nil
      }
    }
  }

  /// Forgets what was sent or asked about so long ago that it makes no difference any more: its run may have ended while the question was on its
  /// way, and then nobody else does.
  func settle(now: SuspendingClock.Instant = .now) {
    guarded.withLock { desks in
      func isOld(_ at: SuspendingClock.Instant) -> Bool { at.duration(to: now) >= BusLimits.silence }
      // First found, then changed: reading and writing one desk in one expression is refused by the compiler (not by a mere type check).
      let old = desks.filter { $0.value.asked.values.contains(where: isOld) }
      for (agent, desk) in old { desks[agent]?.asked = desk.asked.filter { !isOld($0.value) } }
      // What was noted of a run that had just ended, nobody else forgets. Of others it is noted again, or does not matter any more.
      func isForgotten(_ at: SuspendingClock.Instant) -> Bool { at.duration(to: now) >= Self.memory }
      let stale = desks.filter {
        $0.value.stopped.values.contains(where: isForgotten) || $0.value.unwanted.values.contains { isForgotten($0.since) }
      }
      for (agent, desk) in stale {
        let marked = Set(desk.marked.map(\.task))
        desks[agent]?.stopped = desk.stopped.filter { marked.contains($0.key) || !isForgotten($0.value) }
        desks[agent]?.unwanted = desk.unwanted.filter { !isForgotten($0.value.since) }
      }
    }
  }

  private static let memory: Duration = .seconds(3600)

  /// It was removed: another that comes under its name begins anew.
  func forget(_ agent: AgentID) { guarded.withLock { $0[agent] = nil } }

  /// A new fence: everything is compared and asked again.
  func forget() {
    guarded.withLock { desks in
      for agent in desks.keys {
        let address = desks[agent]?.address
        let concurrency = desks[agent]?.concurrency ?? 1
        var fresh = Desk()
        fresh.address = address
        fresh.concurrency = concurrency
        desks[agent] = fresh
      }
    }
  }
}
