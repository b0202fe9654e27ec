// The owner of all of the agent's work. Everything it has belongs to one thread, the engine's; what it does stands in the files beside
// this one, by job:
//   Redis/     Worker+Control (the loop that hears), +Registration, +Courier (the loop that tells)
//   Attempts/  Worker+Taking, +Starting, +Commands (cancel, reconcile …), +Ending, +Recovery (what a new process does first)
//   Runners/   Worker+Runners, +Adoption, +Backstop, +Leftovers, +Orphans
//   Output/    Worker+Shipping, +Results, +Parking (ends that wait for a dashboard), +Spools (the quota), +Damage
//   Journal/   Worker+Journal (what becomes of a journal that cannot be written; what is forgotten)
// The flow of an attempt: inbox → journal (synced) → confirm → hand-off (written) → runner → end (synced) → report → acknowledged.
// Decisions are AttemptFlow's. Whatever is awaited: the state may have changed meanwhile, so it is looked at anew behind every `await`.

import Logging
import Redis
import Shared

actor Worker {
  nonisolated let engine: Engine
  nonisolated var unownedExecutor: UnownedSerialExecutor { engine.asUnownedSerialExecutor() }

  let surroundings: WorkSurroundings
  let settings: AgentSettings
  let uuid: AgentID
  let logger: Logger
  let board: StatusBoard
  let shard: Int
  let bootID: String
  let incarnation = Incarnation.random()
  let environment = CleanEnvironment()

  let journal: Journal
  let attempts: Attempts
  let ids: ULIDGenerator
  /// Redis refuses what it is asked, or is away: each told once.
  let refusing: Trouble
  let away: Trouble
  /// Commands may be put into a key that is none for commands.
  let plainTaken: Trouble
  /// How long is waited while Redis refuses.
  var refusal = Backoff(base: .milliseconds(250), cap: .seconds(4))
  /// Risks of this Redis that were told.
  var toldRisks: Set<String> = []
  var clock = FleetClock()

  // Redis. `control` is always there; `courier` only while there is something to tell. In a Cluster `control` is about the node that holds
  // the agent's own keys, and presence goes to another one: `isSayingPresence` while it is on its way there.
  let control: RedisClient
  var courier: RedisClient?
  var isSayingPresence = false
  var isAskingWhoReads = false
  var courierUsedAt = MonotonicTime.distantPast
  var courierEpoch = 0

  // Registration.
  var registeredEpoch = 0
  var hasLease = false
  var leaseFault: String?
  var leaseRetryAt = MonotonicTime.distantPast
  /// When Redis was asked the last time and said that the lease is this agent's.
  var leaseRenewedAt = BootTime.distantPast
  var wasRegistered = false
  /// Redis had no room, or nobody was there, for a part of what it is to know of this agent; that is being written again.
  var owesIntroduction = false
  var isIntroducing = false
  /// Until then what may expire waits for a clock to tell that by.
  var clockAwaitedUntil = MonotonicTime.never
  var beats = 0
  var nextBeat = MonotonicTime.distantPast
  var nextPlainLook = MonotonicTime.distantPast
  var highestFence: Fence = 0
  var fatal: AgentWorkError?
  /// Identities that this journal had before.
  var formerIdentities: Set<JournalID> = []
  var ownAddress = "127.0.0.1"
  let startedAt = ProcessBoot.wallMilliseconds

  // Taking.
  /// Journaled and not yet confirmed in this process; goes, once it is durable, into every confirm until one succeeds.
  var unconfirmed: Set<AttemptID> = []
  /// Entries that cannot be read, told once.
  var strangers: Set<[UInt8]> = []
  /// The dashboard speaks a protocol that this agent does not.
  var languageFault: String?
  /// Control messages that say nothing to this version, told once.
  var strangeControls: Set<String> = []
  /// Confirmed, in the order in which they are to start.
  var queue: [AttemptID] = []
  var queueHead = 0

  // Runners.
  var links: [Int32: RunnerLink] = [:]
  var idle: [RunnerLink] = []
  /// Their sockets are closed, their processes are not waited for yet; by pid.
  var departing: [Int32: RunnerLink] = [:]
  var adopted: [AttemptID: AdoptedRunner] = [:]
  var nextRunner: UInt64 = 0
  /// Nothing is started before.
  var startsHeldUntil = MonotonicTime.distantPast
  /// What the host lacks for a start.
  var startTrouble: String?
  /// Is a look at what the runners are held to due?
  var backstopIsArmed = false
  /// Control groups of runners that are gone, in which something lives on.
  var groupsLeft: [String] = []
  /// What an end of all commands could not end, in words.
  var unended: [String] = []
  /// Attempts of concern by the file that their records stand in.
  var recordsInUse: [[UInt8]: Int] = [:]
  let buffer = ReceiveBuffer()

  // Ends.
  var ends: [(attempt: Attempt, ending: JournalRecord.Ending)] = []
  let endBell: Bell

  // Telling.
  let tellBell: Bell
  var reports = SendWindow<SaidEvent>()
  var frames = SendWindow<SaidFrame>()
  /// Bytes of tails in the window.
  var tailBytes = 0
  /// Counts goings-back, so that a send that was under way does not move the cursor.
  var generation = 0
  var reportsHeldUntil = MonotonicTime.distantPast
  var framesHeldUntil = MonotonicTime.distantPast
  var resultsHeldUntil = MonotonicTime.distantPast
  var progressAt = MonotonicTime.now
  var stall = Duration.seconds(5)
  // What waits for room in the window: who this is, what is under way, ends.
  var owesHello = false
  var owesStates = false
  var unsaid = AttemptQueue()
  /// One that cannot be read is asked for again shortly.
  var willSayUnsaid = false
  /// What the spools take on the disk, about; and when they are weighed next at the earliest.
  var spoolBytes: UInt64 = 0
  var nextSweep = MonotonicTime.distantPast
  var isSweeping = false
  /// Said to be damaged already.
  var damagedFiles: Set<[UInt8]> = []
  var nextGivingUp = MonotonicTime.distantPast
  /// Of these, those that are to be parked.
  var parkable: [Attempt] = []
  /// Waiting, and not said to be taken yet; started, and not said to be running yet.
  var takenLater = DelayLine(.milliseconds(100))
  /// A run that ends sooner is told in one message.
  var runningLater = DelayLine(.milliseconds(20))
  var feeds: [AttemptID: OutputFeed] = [:]
  var results: Set<AttemptID> = []
  var settledNow: [AttemptID] = []

  // Stopping.
  var mode: StopMode?
  var drains = false
  var isLeaving = false
  var isOver = false
  /// The loop that hears; cancelled when it is to end at once.
  var listening: Task<Void, Never>?
  /// Why the journal took nothing the last time; nothing is taken until it does again.
  var journalTrouble: String?
  /// The journal does not know of this process yet.
  var owesOpening = false
  /// How many hours the journal was in use.
  var hour: UInt32

  static func make(_ surroundings: WorkSurroundings) async throws(AgentWorkError) -> Worker {
    let engine = try Engine()
    let worker: Worker
    do throws(AgentWorkError) {
      worker = try Worker(surroundings, engine)
    } catch {
      engine.stop()
      throw error
    }
    do throws(AgentWorkError) {
      try await worker.recover()
    } catch {
      await worker.end()
      throw error
    }
    return worker
  }

  /// What the journal said; until the work begins with it.
  var opened: JournalContents?

  private init(_ surroundings: WorkSurroundings, _ engine: Engine) throws(AgentWorkError) {
    guard let bootID = ProcessBoot.current else { throw .system("read the host's boot id", 2) }
    self.surroundings = surroundings
    self.engine = engine
    self.bootID = bootID
    settings = surroundings.settings
    uuid = surroundings.uuid
    logger = surroundings.logger
    refusing = Trouble(
      surroundings.logger, begins: "Redis refuses what it is asked: what is to be told waits",
      ends: "Redis does what it is asked again")
    away = Trouble(
      surroundings.logger, begins: "Redis is away: commands go on, and what is to be told waits", ends: "Redis is back")
    plainTaken = Trouble(
      surroundings.logger, begins: "the key with the agent's name is left alone: commands that are put there are not run",
      ends: "the key with the agent's name is one for commands again")
    board = surroundings.board
    shard = Keys.shard(surroundings.uuid)
    let opened = try Journal.open("\(surroundings.settings.state.path)/journal")
    journal = opened.journal
    attempts = Attempts(opened.contents)
    self.opened = opened.contents
    ids = ULIDGenerator(floor: max(opened.contents.newestPlain, opened.contents.forgotten ?? .min))
    control = RedisClient(
      RedisConfiguration(surroundings.settings.redis, uuid: surroundings.uuid, name: "control"),
      home: Keys.control(surroundings.uuid))
    endBell = Bell(engine)
    tellBell = Bell(engine)
    hour = opened.contents.hour
    Worker.tell(of: opened, surroundings)
  }

  // MARK: Life

  /// Works until a stop has taken effect.
  func run() async -> Result<Void, AgentWorkError> {
    async let ending: Void = writeEnds()
    async let telling: Void = tell()
    let listening = Task { await listen() }
    self.listening = listening
    if isLeaving { listening.cancel() }
    await listening.value
    await leave()
    isOver = true
    endBell.ring()
    tellBell.ring()
    _ = await (ending, telling)
    publish()
    if let fatal { return .failure(fatal) }
    if !unended.isEmpty { return .failure(.unended(unended)) }
    return .success(())
  }

  /// Lets go of everything. The runners go on.
  func end() async {
    for link in links.values {
      // One that was stopped would not hear that its agent has gone.
      wake(link)
      engine.forget(link.process.socket)
      if link.process.pidfd >= 0 {
        ProcessBoot.close(link.process.pidfd)
      }
      link.close()
    }
    links = [:]
    for link in departing.values where link.process.pidfd >= 0 {
      engine.forget(link.process.pidfd)
      ProcessBoot.close(link.process.pidfd)
    }
    departing = [:]
    for runner in adopted.values {
      if let timer = runner.timer { engine.cancel(timer: timer) }
      engine.forget(runner.pidfd)
      runner.close()
    }
    adopted = [:]
    await control.close()
    await courier?.close()
    engine.stop()
  }

  var address: AgentAddress { AgentAddress(journal: journal.identity, incarnation: incarnation) }

  /// May anything be started?
  var mayStart: Bool {
    guard mode == nil, !drains, fatal == nil, journalTrouble == nil else { return false }
    var contact = LeaseContact.cutOff
    if case .connected = control.state {
      contact = control.epoch == registeredEpoch ? .connected(sinceRenewal: .now - leaseRenewedAt) : .reconnected
    }
    return AttemptFlow.mayStart(hasLease: hasLease, contact, lease: .milliseconds(BusLimits.leaseMilliseconds))
  }

  /// Puts the present state where everybody can read it.
  func publish() {
    var fault: String?
    if let error = journal.fault { fault = "\(error)" }
    fault = fault ?? journalTrouble ?? startTrouble ?? languageFault
    let redisFault: String?
    switch control.state {
    case .connected: redisFault = nil
    case .connecting: redisFault = wasRegistered ? "connecting" : "not connected yet"
    case .down(let why, _), .closed(let why): redisFault = "\(why)"
    }
    if let redisFault { fault = fault ?? "Redis is away: \(redisFault)" }
    if let reason = refusing.reason { fault = fault ?? "Redis refuses what it is asked: \(reason)" }
    if !hasLease { fault = fault ?? leaseFault.map { "no lease: \($0)" } ?? "not registered yet" }
    if mode != nil { fault = fault ?? "stopping" }
    if drains { fault = fault ?? "draining" }
    let status = AgentWork.Status(
      isRegistered: wasRegistered && hasLease, redisFault: redisFault, leaseFault: hasLease ? nil : leaseFault ?? "not taken yet",
      running: attempts.working, waiting: attempts.waiting, unacknowledged: attempts.unsettledEnds + attempts.parked.count,
      fault: fault,
      journal: journal.identity)
    board.update { $0 = status }
  }
}

extension RedisConfiguration {
  init(_ settings: RedisSettings, uuid: AgentID, name: String) {
    self.init(
      settings, clientName: "muster-agent-\(uuid)-\(name)",
      backoff: ReconnectBackoff(first: .milliseconds(500), base: .milliseconds(100), cap: .seconds(4)))
  }
}
