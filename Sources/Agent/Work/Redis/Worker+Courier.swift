// The loop that tells: reports, output and result hashes, over a connection of its own that is open while there is something to tell.
// Numbers are contiguous within this incarnation; what is not acknowledged is kept and sent again after a reconnect or a stall (DESIGN,
// "Acknowledgement"). Reports go first in each pipeline: a verdict is never behind output.
// What if: a stream is full: nothing is dropped, it is tried again; Redis is away: everything waits in the window and on the disk.

import Redis
import Shared

extension Worker {
  private static let batchEvents = 200
  private static let batchBytes = 512 * 1024
  /// Events that wait for their acknowledgement; further ends wait in the journal.
  static let windowEvents = 1024
  /// Bytes of output that they may carry.
  private static let windowTails = 4 << 20
  private static let quiet = Duration.seconds(30)
  static let pace = Duration.milliseconds(4)

  // MARK: Saying

  func say(_ event: SaidEvent) {
    if reports.count == 0 { progressAt = .now }
    tailBytes += event.tail.count
    reports.append(event)
    tellBell.ring()
  }

  /// The hello comes first; and without a dashboard the window would else grow for as long as the agent lives.
  var hasRoom: Bool { wasRegistered && !owesHello && reports.count < Worker.windowEvents }

  func sayTaken(_ attempt: Attempt) {
    guard hasRoom else { return owesStates = true }
    attempt.saidTaken = true
    say(SaidEvent(event: ReportEvent(.taken, attempt: attempt.id, plain: attempt.plain), id: attempt.id))
  }

  func sayRunning(_ attempt: Attempt) {
    guard hasRoom else { return owesStates = true }
    // A task of the plain hash is introduced first.
    if attempt.plain != nil, !attempt.saidTaken { sayTaken(attempt) }
    attempt.saidRunning = true
    let event = ReportEvent(.running, attempt: attempt.id, startedAt: attempt.startedAt, deadline: deadline(of: attempt))
    say(SaidEvent(event: event, id: attempt.id))
  }

  /// When its time limit is over, by the clock for deadlines; nil: there is none, or Redis did not say its time yet.
  private func deadline(of attempt: Attempt) -> Int64? {
    let (now, at) = (MonotonicTime.now, attempt.backstop.deadline)
    guard at < .never, let present = clock.milliseconds() else { return nil }
    return present + Int64(clamping: (at - now).wholeMilliseconds)
  }

  /// Says how it ended, with its output where that is short and nothing of it is under way.
  /// - Parameter again: it was acknowledged once and is asked for.
  func sayEnded(_ attempt: Attempt, again: Bool = false) {
    guard let ending = attempt.ending else { return }
    if attempt.saidEnded && !again { return }
    guard hasRoom else {
      unsaid.append(attempt.id)
      parkIfIdle(attempt)
      return
    }
    attempt.saidEnded = true
    var event = ReportEvent(.ended, attempt: attempt.id, verdict: ending.verdict, plain: ending.plain)
    if case .tombstone = attempt.knowledge.record { event.tombstone = true }
    var tail: [UInt8] = []
    if let output = attempt.shortOutput, let segments = attempt.shortSegments, !attempt.isOutputDone {
      if tailBytes > Worker.windowTails, !output.isEmpty {
        // Many ends wait for their acknowledgement: this output goes by frames, which are read when they are sent.
        attempt.shortOutput = nil
        attempt.shortSegments = nil
        resumeOutput(attempt)
        return say(SaidEvent(event: event, id: attempt.id))
      }
      if !output.isEmpty {
        let pairs = segments.segments.map { [$0.stream == .stderr ? 2 : 1, Int(clamping: $0.length)] }
        event.tail = OutputSlice(attempt: attempt.id, offset: 0, segments: pairs)
        tail = output
      }
      attempt.shortSegments = nil
      attempt.isOutputDone = true
    } else if attempt.feed == nil {
      attempt.isOutputDone = true
    }
    say(SaidEvent(event: event, tail: tail, id: attempt.id))
  }

  // MARK: The loop

  /// Tells until the work is over.
  func tell() async {
    while !isOver {
      await tellBell.wait(until: nextTelling(), worker: self)
      let began = MonotonicTime.now
      sayWhatIsDue()
      await closeQuietCourier()
      guard hasSomethingToTell else { continue }
      await tellOnce()
      await pause(since: began)
    }
  }

  /// Under load: batches of a few milliseconds instead of one per run. What comes after a quiet moment is never kept waiting.
  func pause(since began: MonotonicTime, _ pace: Duration = Worker.pace) async {
    let left = pace - (MonotonicTime.now - began)
    guard left > .zero, !isLeaving else { return }
    await withCheckedContinuation { continuation in engine.at(.now + left) { continuation.resume() } }
  }

  private func nextTelling() -> MonotonicTime {
    var next = MonotonicTime.never
    next = min(next, takenLater.next, runningLater.next)
    let now = MonotonicTime.now
    if isRegisteredHere {
      if reports.unsent > 0 { next = min(next, max(reportsHeldUntil, now)) }
      if framesAreWaiting { next = min(next, max(framesHeldUntil, nextFeed())) }
      for id in results { if let attempt = attempts[id] { next = min(next, max(attempt.resultDue, resultsHeldUntil)) } }
    }
    if courier != nil { next = min(next, courierUsedAt + Worker.quiet) }
    return next
  }

  private func sayWhatIsDue() {
    let now = MonotonicTime.now
    while let id = takenLater.take(at: now) {
      if let attempt = attempts[id], attempt.stage == .waiting, !attempt.saidTaken, AttemptFlow.mayReport(attempt.knowledge) {
        sayTaken(attempt)
      }
    }
    while let id = runningLater.take(at: now) {
      guard let attempt = attempts[id], attempt.stage == .working, !attempt.saidRunning else { continue }
      sayRunning(attempt)
      resultIsDue(attempt)
    }
    sayUnsaid()
  }

  /// Registered with the Redis that is there now: one that came back empty hears first who speaks.
  private var isRegisteredHere: Bool {
    // A stop cuts the control connection short; what is left to say is said all the same.
    if isLeaving { return hasLease }
    guard hasLease, case .connected(let epoch) = control.state else { return false }
    return epoch == registeredEpoch
  }

  private var hasSomethingToTell: Bool {
    guard isRegisteredHere else { return false }
    let now = MonotonicTime.now
    return (reports.unsent > 0 && now >= reportsHeldUntil) || (framesAreWaiting && now >= max(framesHeldUntil, nextFeed()))
      || (now >= resultsHeldUntil && results.contains { attempts[$0].map { $0.resultDue <= now } ?? true })
  }

  // MARK: One round

  private func tellOnce() async {
    guard let connection = await openCourier() else { return }
    let generation = generation
    let now = MonotonicTime.now
    var commands: [RedisCommand] = []
    let batch = now >= reportsHeldUntil ? nextBatch() : nil
    if let batch { commands.append(AgentBus.report(shard: shard, [batch.bytes])) }
    let sending = now >= framesHeldUntil ? nextFrames() : []
    let writing = now >= resultsHeldUntil ? nextResults() : []
    commands += writing.flatMap(\.commands)
    for frame in sending { commands.append(AgentBus.output(shard: shard, [frame.bytes])) }
    if reports.count + frames.count > 0 { commands.append(AgentBus.acked(uuid)) }
    guard !commands.isEmpty else { return }
    courierUsedAt = now
    let outcomes = await connection.outcomes(of: commands)
    courierUsedAt = .now
    var next = outcomes.makeIterator()
    if let batch {
      switch accepted(next.next()) {
      case .yes:
        if generation == self.generation { reports.sent(from: batch.first, count: batch.count) }
      case .full: reportsHeldUntil = .now + .milliseconds(100)
      case .failed: reportsHeldUntil = .now + heldAfterFailure()
      }
    }
    for result in writing { written(result, result.commands.map { _ in next.next() }) }
    for frame in sending {
      switch accepted(next.next()) {
      case .yes: if generation == self.generation { frames.sent(from: frame.sequence, count: 1) }
      case .full: framesHeldUntil = .now + .milliseconds(100)
      case .failed: framesHeldUntil = .now + heldAfterFailure()
      }
    }
    if case .success(let value)? = next.next(), let text = value.string { acknowledged(text) }
  }

  private enum Acceptance { case yes, full, failed }

  private func accepted(_ outcome: Result<RedisValue, RedisError>?) -> Acceptance {
    switch outcome {
    case .success(let value):
      if let error = value.error {
        refused(by: error)
        return .failed
      }
      return value.integer == -1 ? .full : .yes
    case .failure, nil: return .failed
    }
  }

  /// A refusing Redis is asked less and less often, each agent at its own time.
  func heldAfterFailure() -> Duration {
    refusing.reason == nil ? .milliseconds(200) : .milliseconds(200) + refusal.next()
  }

  private struct Batch {
    var bytes: [UInt8]
    var first: UInt64
    var count: Int
  }

  private func nextBatch() -> Batch? {
    let (first, items) = reports.pending(limit: Worker.batchEvents)
    guard !items.isEmpty else { return nil }
    var events: [ReportEvent] = []
    var tails: [UInt8] = []
    for item in items {
      if !events.isEmpty, tails.count + item.tail.count > Worker.batchBytes { break }
      events.append(item.event)
      tails += item.tail
    }
    let message = ReportBatch(
      agent: uuid, from: address, position: journal.synced, first: first, oldest: reports.oldest, events: events, tails: tails)
    do {
      return Batch(bytes: try message.encoded(), first: first, count: events.count)
    } catch {
      logger.critical("a report cannot be encoded", metadata: ["why": "\(error)"])
      return nil
    }
  }

  // MARK: The connection

  private func openCourier() async -> RedisClient? {
    if courier == nil {
      courier = RedisClient(
        RedisConfiguration(settings.redis, uuid: uuid, name: "courier"), home: Keys.verdicts(shard))
      courierEpoch = 0
    }
    guard let connection = courier else { return nil }
    do throws(RedisError) {
      try await connection.connected(within: .milliseconds(500))
    } catch {
      courierUsedAt = .now
      reportsHeldUntil = .now + .milliseconds(200)
      framesHeldUntil = reportsHeldUntil
      resultsHeldUntil = reportsHeldUntil
      return nil
    }
    if courierEpoch != connection.epoch {
      if courierEpoch != 0 { goBack() }
      courierEpoch = connection.epoch
    }
    return connection
  }

  /// Sentinels mean another master now. What is told to the old one, nobody hears.
  func leaveFormerMaster() async {
    guard !control.isCluster, let connection = courier, let server = connection.server, server != control.server else { return }
    courier = nil
    goBack()
    await connection.close()
  }

  /// Whatever is left to say: while Redis is away nothing is said, and what is said later opens another.
  private func closeQuietCourier() async {
    guard let connection = courier, MonotonicTime.now >= courierUsedAt + Worker.quiet else { return }
    courier = nil
    await connection.close()
  }

  // MARK: Acknowledgement

  /// Begins again with the first unacknowledged.
  func goBack() {
    generation += 1
    reports.goBack()
    frames.goBack()
    progressAt = .now
    tellBell.ring()
  }

  /// Something was sent, and nothing was acknowledged for a while.
  var isStalled: Bool {
    (reports.count > reports.unsent || frames.count > frames.unsent) && MonotonicTime.now >= progressAt + stall
  }

  /// Sends it again, unless nobody reads: then it would only fill the stream.
  func goAgain(readByDashboard: Bool) {
    guard readByDashboard else {
      progressAt = .now
      return
    }
    stall = min(stall * 2, .seconds(60))
    goBack()
  }

  /// In a Cluster, beside the loop: whether a dashboard reads stands on another node, and that one being away must not keep this agent from
  /// its own.
  func goAgainWhereRead() {
    guard isStalled, !isAskingWhoReads else { return }
    isAskingWhoReads = true
    Task {
      let outcome = await control.outcomes(of: [AgentBus.dashboard]).first
      isAskingWhoReads = false
      if isStalled { goAgain(readByDashboard: isThere(try? outcome?.get())) }
    }
  }

  /// What `muster:{uuid}:acked` says.
  func acknowledged(_ text: String) {
    guard let word = Acknowledgement(text), word.incarnation == incarnation else { return }
    let events = reports.acknowledge(min(word.reports, reports.next - 1))
    let slices = frames.acknowledge(min(word.output, frames.next - 1))
    guard !events.isEmpty || !slices.isEmpty else { return }
    progressAt = .now
    stall = .seconds(5)
    for event in events {
      tailBytes -= event.tail.count
      guard let id = event.id, let attempt = attempts[id] else { continue }
      if event.event.plain != nil { attempt.isIntroduced = true }
      if event.event.kind == .ended { attempt.isEndAcknowledged = true }
      settleIfDone(attempt)
    }
    for frame in slices { acknowledged(frame) }
    forgetSettled()
    tellBell.ring()
  }

  func settleIfDone(_ attempt: Attempt) {
    guard attempt.isSettled else { return }
    attempts.settle(attempt, hour: hour)
    feeds[attempt.id] = nil
    if let handOff = attempt.handOff { releaseRecords(handOff.records) }
    settledNow.append(attempt.id)
  }

  /// Not synced: at worst it is all said once more.
  func forgetSettled() {
    if attempts.settled.count > Attempts.settledLimit, journalTrouble == nil { forgetOld() }
    guard !settledNow.isEmpty else { return }
    let settled = settledNow
    settledNow = []
    do throws(AgentWorkError) {
      try journal.append(settled.map { .acknowledged($0) })
    } catch {
      logger.debug("acknowledgements are not journaled", metadata: ["why": "\(error)"])
    }
  }
}
