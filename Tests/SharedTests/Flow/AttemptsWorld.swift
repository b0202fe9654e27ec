// A small world around one run: a dashboard (process, store, copies of the store), Redis (inbox, tombstones, send number), and a host with its
// journal, all of it driven by the real `RunKnowledge`. `AttemptsWorldTests` walks through it at random. A step that breaks a promise throws.
//
// Not in it: another journal, runners that outlive their agent, a Redis that forgets. `shared/model` and the explorer have those for one attempt.

@testable import Shared

struct BrokenPromise: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

struct AttemptsWorld {
  enum Move: CaseIterable, Hashable {
    case attend, take, start, end, report, delayOver, silence, crash
    case cancel, copy, restore
  }

  /// What survives a crash of the dashboard, and what a copy holds.
  struct Store {
    var run: RunKnowledge
    /// Attempts before the present one; nil: their end is not known.
    var ended: [Int: RunState?] = [:]
    /// Of the present attempt's mark.
    var mark: Int?
    var number = 0
    var restored = 0
  }
  enum Record: Equatable {
    case taken, running
    case ended(RunState)
    case tombstone
  }

  // Dashboard.
  private(set) var store: Store
  private var copy: Store?
  private var compared = false
  private var fence = 1
  private var silent = false
  private var markedHere = false, denied = false, tombstoned = false
  // Redis.
  private var inbox: Set<Int> = []
  private var tombs: Set<Int> = []
  private var sends = 0
  // Host.
  private var journal: [Int: Record] = [:]
  private var reports: [(attempt: Int, word: AgentWord)] = []
  private var starts: [Int: Int] = [:]
  /// What the trace shows.
  private(set) var moves: [Move] = []
  /// The most attempts that were started.
  var started: Int { starts.count }

  init(retries: Retries) { store = Store(run: RunKnowledge(state: .queued, retries: retries)) }

  var isOver: Bool { !store.run.isOpen }

  /// What could be done now. Faults and people are not in it: those are the walker's to add.
  var possible: [Move] {
    guard !isOver else { return journal.values.contains(.running) ? [.end] : [] }
    var moves: [Move] = [.attend, .silence]
    if !inbox.isEmpty { moves.append(.take) }
    if journal.values.contains(.taken) { moves.append(.start) }
    if journal.values.contains(.running) { moves.append(.end) }
    if !reports.isEmpty { moves.append(.report) }
    if store.run.held { moves.append(.delayOver) }
    return moves
  }

  mutating func make(_ move: Move, _ random: inout SplitMix) throws {
    moves.append(move)
    switch move {
    case .attend: try attend()
    case .take:
      for attempt in inbox.sorted() where journal[attempt] == nil { say(attempt, .taken, .taken) }
      inbox = []
    case .start:
      for (attempt, record) in journal where record == .taken {
        starts[attempt, default: 0] += 1
        say(attempt, .running, .running)
      }
    case .end:
      let ends: [RunState] = [.succeeded, .failed, .failed, .failed, .timedOut, .lost]
      for (attempt, record) in journal where record == .running {
        let verdict = ends[Int(random.next() % UInt64(ends.count))]
        say(attempt, .ended(verdict), .ended(verdict))
      }
    case .report: if !reports.isEmpty { try hear(reports.removeFirst()) }
    case .delayOver: store.run.delayIsOver()
    case .silence: silent = true
    case .crash: restartDashboard()
    case .cancel: if store.run.wantsEnd == nil, store.run.isOpen { store.run.wantsEnd = .cancelled }
    case .copy: if copy == nil || random.next() % 4 == 0 { copy = store }
    case .restore:
      guard let copy else { return }
      store = copy
      restartDashboard()
    }
    try check()
  }

  // MARK: Dashboard

  private mutating func restartDashboard() {
    (compared, markedHere, denied, tombstoned, silent) = (false, false, false, false, true)
    fence += 1
  }

  private mutating func compare() {
    if sends > store.number {
      (store.number, store.restored) = (sends, sends)
      if store.run.isOpen {
        let wasQueued = store.run.state == .queued
        store.run.storeWasRestored()
        if wasQueued { store.mark = sends }
      }
    }
    store.number = max(store.number, fence * 1000)
    compared = true
  }

  private mutating func attend() throws {
    load()
    let due = store.run.due(RunCircumstances(agentLives: true, compared: compared, silent: silent, room: true))
    silent = false
    switch due {
    case nil: break
    case .compare: compare()
    case .mark:
      store.number += 1
      store.mark = store.number
      store.run.state = .sent
      markedHere = true
    case .send:
      (markedHere, denied) = (false, false)
      sends = max(sends, store.number)
      let attempt = store.run.attempt
      if tombs.contains(attempt) { store.run.sendRefused() } else { inbox.insert(attempt) }
    case .tombstone:
      sends = max(sends, store.number)
      tombs.insert(store.run.attempt)
      tombstoned = true
    case .endAlone(let verdict): settle(store.run.attempt) { $0.endAlone(verdict) }
    case .askToCancel, .askToClose: control(cancel: true)
    case .reconcile: control(cancel: false)
    }
  }

  /// A message of control that arrives at once: what it asks for is the agent's to decide.
  private mutating func control(cancel: Bool) {
    sends = max(sends, store.number)
    let attempt = store.run.attempt
    switch journal[attempt] {
    case nil where cancel: say(attempt, .tombstone, .tombstone(.cancelled))
    case nil: reports.append((attempt, .unknown))
    case .taken where cancel: say(attempt, .ended(.cancelled), .ended(.cancelled))
    case .running where cancel: say(attempt, .ended(.killed), .ended(.killed))
    case .taken: reports.append((attempt, .taken))
    case .running: reports.append((attempt, .running))
    case .ended(let verdict): reports.append((attempt, .ended(verdict)))
    case .tombstone: reports.append((attempt, .tombstone(.cancelled)))
    }
  }

  private mutating func hear(_ report: (attempt: Int, word: AgentWord)) throws {
    if !compared { compare() }
    load()
    let before = store.run
    var run = store.run
    var hearing = run.hear(report.word, of: report.attempt)
    if hearing == .tombstoneFirst {
      sends = max(sends, store.number)
      tombs.insert(report.attempt)
      tombstoned = true
      run = before
      run.tomb = .cancelled
      hearing = run.hear(report.word, of: report.attempt)
    }
    guard hearing != .tombstoneFirst else { throw BrokenPromise("a tombstone stands and is asked for again") }
    let heard = run
    settle(before.attempt, said: report, hearing) { $0 = heard }
    denied = store.run.denied
    if store.run.attempt != before.attempt { (markedHere, tombstoned, silent) = (false, false, true) }
  }

  /// Fills in what the store and the process know beside the run's own state.
  private mutating func load() {
    (store.run.markedHere, store.run.denied, store.run.tomb) = (markedHere, denied, tombstoned ? .cancelled : nil)
    store.run.lastVerdict = store.ended[store.run.attempt - 1] ?? nil
    store.run.doubtful = store.mark.map { $0 <= store.restored } ?? (store.run.state != .queued)
  }

  /// Keeps the verdicts of attempts as the real store does.
  private mutating func settle(
    _ before: Int, said: (attempt: Int, word: AgentWord)? = nil, _ hearing: Hearing? = nil, _ change: (inout RunKnowledge) -> Void
  ) {
    change(&store.run)
    let after = store.run.attempt
    guard after != before else { return }
    store.mark = nil
    if after < before {
      for attempt in after...before { store.ended[attempt] = nil }
      return
    }
    for attempt in before..<after { store.ended.updateValue(store.ended[attempt] ?? nil, forKey: attempt) }
    if case .nextAttempt(let verdict)? = hearing, let said { store.ended.updateValue(verdict, forKey: said.attempt) }
  }

  // MARK: Host

  private mutating func say(_ attempt: Int, _ record: Record, _ word: AgentWord) {
    journal[attempt] = record
    reports.append((attempt, word))
  }

  // MARK: Promises

  private func check() throws {
    let run = store.run
    if let twice = starts.first(where: { $0.value > 1 }) { throw BrokenPromise("attempt \(twice.key) was started twice") }
    if let beyond = starts.keys.max(), beyond > run.retries.attempts {
      throw BrokenPromise("attempt \(beyond) was not asked for")
    }
    if run.attempt > run.retries.attempts { throw BrokenPromise("the run is at attempt \(run.attempt)") }
    let open = journal.filter { $0.value == .running || $0.value == .taken }
    if open.count > 1 { throw BrokenPromise("attempts \(open.keys.sorted()) are open at once") }
    guard !run.isOpen else { return }
    guard open.isEmpty else { throw BrokenPromise("attempt \(open.keys.sorted()) is open and the run is \(run.state)") }
    switch journal[run.attempt] {
    case .ended(run.state)?: break
    case nil, .tombstone?, .ended?, .taken?, .running?:
      let neverStarted = run.state.saysNeverStarted && starts[run.attempt] == nil
      guard neverStarted else {
        throw BrokenPromise(
          "the run is \(run.state) by attempt \(run.attempt), which is \(String(describing: journal[run.attempt]))")
      }
    }
    if let later = starts.keys.max(), later > run.attempt {
      throw BrokenPromise("attempt \(later) was started, the verdict is \(run.attempt)'s")
    }
    if run.wantsEnd == nil, run.retries.follows(run.attempt, run.state), tombs.isEmpty {
      throw BrokenPromise("attempt \(run.attempt + 1) was owed")
    }
  }
}

/// A generator that makes the same walk of the same seed.
struct SplitMix {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
