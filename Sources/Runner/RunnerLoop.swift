// The runner's one loop: takes an order from the agent, starts it, carries events to it, tells the agent, and serves again.
// It waits in one poll for signals (children, TERM), the socket, the two pipes and the next thing due. Nothing else ever blocks it but
// exec and the disk.

import CSpawn
import Glibc

final class RunnerLoop {
  private static let outputSlice = 65536

  private let signals: Descriptor
  private let link: AgentLink
  private let records: RecordsWriter
  private let process: ProcessIdentity
  private let buffer: UnsafeMutableRawBufferPointer
  private var attempt: RunningAttempt?
  /// The last attempt, if something it started lives on or holds its pipes.
  private var left: RunningAttempt?
  private var waiting: [AttemptOrder] = []
  private var isRetiring = false
  private var retryExitAt: UInt64?
  /// When the exit record could not be written for the first time.
  private var exitFailedAt: UInt64?

  init(signals: Descriptor, link: AgentLink, records: RecordsWriter, process: ProcessIdentity) {
    self.signals = signals
    self.link = link
    self.records = records
    self.process = process
    buffer = .allocate(byteCount: RunnerLoop.outputSlice, alignment: 4096)
  }

  deinit { buffer.deallocate() }

  /// Serves until the agent has gone or retired it, or until something its command left behind makes it useless.
  func run() {
    link.post(.records(path: records.path, process: process))
    link.post(.idle)
    while true {
      takeOrders()
      if let attempt {
        let now = System.monotonic()
        attempt.pass(now)
        if attempt.isOver(now) {
          // Nobody has read the pipes while this process waited for the disk.
          attempt.readRest(buffer: buffer)
          let now = System.monotonic()
          if attempt.isOver(now) { finish(attempt, now) }
        }
      }
      if attempt == nil, startNext() { continue }
      // Before the look at the link: what cannot be sent any more closes it, and then nothing would wake this loop again.
      link.flush()
      if attempt == nil, isRetiring || !link.isOpen { return leave() }
      wait()
    }
  }

  // MARK: Waiting

  private func wait() {
    let now = System.monotonic()
    var descriptors: [pollfd] = []
    descriptors.reserveCapacity(4)
    descriptors.append(pollfd(fd: signals.raw, events: Int16(POLLIN), revents: 0))
    descriptors.append(pollfd(fd: link.descriptor, events: Int16(POLLIN | (link.hasUnsent ? POLLOUT : 0)), revents: 0))
    let isReading = attempt?.isReading(now) ?? false
    descriptors.append(pollfd(fd: isReading ? attempt?.stdout?.raw ?? -1 : -1, events: Int16(POLLIN), revents: 0))
    descriptors.append(pollfd(fd: isReading ? attempt?.stderr?.raw ?? -1 : -1, events: Int16(POLLIN), revents: 0))
    let wakeAt = retryExitAt ?? attempt?.wakeAt(now) ?? .max
    let timeout = wakeAt == .max ? -1 : Int64(clamping: wakeAt > now ? wakeAt - now : 0)
    guard cspawn_poll(&descriptors, descriptors.count, timeout) > 0 else { return }
    if descriptors[1].revents != 0 { link.receive() }
    if descriptors[2].revents != 0 { attempt?.read(.stdout, buffer: buffer) }
    if descriptors[3].revents != 0 { attempt?.read(.stderr, buffer: buffer) }
    if descriptors[0].revents != 0 { takeSignals() }
  }

  private func takeSignals() {
    let set = cspawn_take_signals(signals.raw)
    attempt?.reap()
    guard set & 1 << UInt64(SIGTERM - 1) != 0 else { return }
    if let attempt {
      switch KillRequest.read(run: attempt.order.run, records: records.path) {
      case .another: return
      case .kill(let signal, let grace): attempt.end(.kill, signal: signal, graceMilliseconds: grace)
      case .nothing: attempt.end(.kill, signal: SIGTERM, graceMilliseconds: attempt.order.graceMilliseconds)
      }
    }
    isRetiring = true
  }

  private func takeOrders() {
    while let order = link.nextOrder() {
      switch order {
      case .attempt(let order): waiting.append(order)
      case .kill(let run, let signal, let grace):
        if let attempt, run.isEmpty || run == attempt.order.run { attempt.end(.kill, signal: signal, graceMilliseconds: grace) }
      case .retire: isRetiring = true
      }
    }
    // Without its agent it takes no further attempt than the one at work.
    if !link.isOpen, attempt != nil { waiting.removeAll() }
  }

  // MARK: One attempt

  /// Whether there was one to take.
  private func startNext() -> Bool {
    guard !waiting.isEmpty else { return false }
    let order = waiting.removeFirst()
    if isRetiring {
      refuse(order, .noResources, ECANCELED)
    } else {
      start(order)
    }
    return true
  }

  private func start(_ order: AttemptOrder) {
    if order.hasNul { return refuse(order, .malformed, EINVAL) }
    var begin = BeginRecord(
      run: order.run, attempt: order.attempt, outputPath: order.outputPath, cap: order.cap,
      wallMilliseconds: System.wallMilliseconds())
    begin.timeoutMilliseconds = order.timeoutMilliseconds
    begin.graceMilliseconds = order.graceMilliseconds
    let resources: LaunchResources
    do {
      resources = try LaunchResources(standardInput: order.standardInput)
    } catch {
      return refuse(order, .noResources, error.error)
    }
    begin.monotonicNanoseconds = System.monotonic()
    let error = records.append(.begin(begin))
    if error != 0 { return refuse(order, .noResources, error) }
    let spool: SpoolWriter
    do {
      spool = try SpoolWriter(path: order.outputPath, cap: order.cap)
    } catch {
      return refuse(order, error.error == EEXIST ? .outputExists : .outputFailed, error.error)
    }
    // Before exec, so that a run never seems shorter than it was.
    let startedAt = System.monotonic()
    let before = System.sinceBoot()
    switch Launch.start(order, resources) {
    case .started(let pid):
      resources.closeChildSide()
      let running = RunningAttempt(
        order: order, pid: pid, startedAt: startedAt, resources: resources, spool: spool, records: records, link: link)
      attempt = running
      var started = StartedRecord(pid: pid, wallMilliseconds: running.startedWall)
      (started.bootNanoseconds, started.bootNanosecondsAfter) = (before, System.sinceBoot())
      _ = records.append(.started(started))
      if Pretending.laterRecords { _ = records.append(bytes: RunnerRecord.later, essential: false) }
      link.post(.began(run: order.run, attempt: order.attempt, pid: pid, wallMilliseconds: running.startedWall))
    case .failed(let error, let step): fail(order, error, step)
    }
  }

  private func refuse(_ order: AttemptOrder, _ reason: RefusedRecord.Reason, _ error: Int32) {
    let record = RefusedRecord(run: order.run, attempt: order.attempt, reason: reason, error: error)
    _ = records.append(.refused(record), essential: true)
    link.post(.refused(record))
    serveAgain()
  }

  private func fail(_ order: AttemptOrder, _ error: Int32, _ step: Int32) {
    let now = System.wallMilliseconds()
    var exit = ExitRecord(run: order.run, attempt: order.attempt, how: .couldNotStart(error, step: step))
    exit.startedWallMilliseconds = now
    exit.finishedWallMilliseconds = now
    exit.layout = SpoolLayout(cap: order.cap)
    if records.append(.exit(exit), essential: true) != 0 { exit.notes.insert(.unrecorded) }
    link.post(.began(run: order.run, attempt: order.attempt, pid: 0, wallMilliseconds: now))
    link.post(.ended(EndedMessage(exit: exit, segments: SegmentList(offset: 0), output: [])))
    serveAgain()
  }

  private func finish(_ running: RunningAttempt, _ now: UInt64) {
    if let retryExitAt, now < retryExitAt { return }
    if !running.finish(now) {
      let failedAt = exitFailedAt ?? now
      exitFailedAt = failedAt
      // An agent that is there is told; it may go at any time, and then the record is all that there will ever be.
      if now < System.after(failedAt, milliseconds: link.isOpen ? 10_000 : 3_600_000) {
        retryExitAt = System.after(now, milliseconds: 100)
        return
      }
      running.giveUpRecording()
      isRetiring = true
    }
    (retryExitAt, exitFailedAt) = (nil, nil)
    attempt = nil
    if let message = running.endedMessage { link.post(.ended(message)) }
    if running.isClean {
      serveAgain()
    } else {
      isRetiring = true
      left = running
    }
  }

  private func serveAgain() {
    guard !isRetiring, link.isOpen else { return }
    if records.rotateIfLarge() { link.post(.records(path: records.path, process: process)) }
    link.post(.idle)
  }

  // MARK: Leaving

  private func leave() {
    for order in waiting { refuse(order, .noResources, ECANCELED) }
    waiting.removeAll()
    link.post(.retiring)
    let patience = System.after(System.monotonic(), milliseconds: 5000)
    link.flush()
    while link.hasUnsent, System.monotonic() < patience {
      var socket = pollfd(fd: link.descriptor, events: Int16(POLLOUT), revents: 0)
      _ = cspawn_poll(&socket, 1, 100_000_000)
      link.flush()
    }
    link.close()
    lingerForPipes()
  }

  /// What lives on by intention may go on writing into the pipes: without a reader that would kill it. So the runner stays, holding
  /// nothing else, and throws away what comes, until nobody can write any more or TERM ends it.
  private func lingerForPipes() {
    guard let left else { return }
    while left.stdout != nil || left.stderr != nil {
      var descriptors = [
        pollfd(fd: signals.raw, events: Int16(POLLIN), revents: 0),
        pollfd(fd: left.stdout?.raw ?? -1, events: Int16(POLLIN), revents: 0),
        pollfd(fd: left.stderr?.raw ?? -1, events: Int16(POLLIN), revents: 0),
      ]
      guard cspawn_poll(&descriptors, descriptors.count, -1) > 0 else { continue }
      if descriptors[0].revents != 0 {
        isRetiring = false
        takeSignals()
        left.reap()
        if isRetiring { return }
      }
      if descriptors[1].revents != 0 { left.discard(.stdout, buffer: buffer) }
      if descriptors[2].revents != 0 { left.discard(.stderr, buffer: buffer) }
    }
  }
}
