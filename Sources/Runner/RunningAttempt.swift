// One attempt from exec to its exit record. It owns the pipes, the spool and the clocks of the attempt; the loop tells it what happened
// (bytes to read, children to wait for, time passed, an order to kill) and asks whether it is over.
//
// Invariants: bytes are in the spool before a record tells of them, and at most RunnerLimits.unrecorded of them wait for one; records
// are written before the agent hears; nothing here waits for the command or for the agent.

import CSpawn
import Glibc

final class RunningAttempt {
  /// Waiting for a record: the first bytes shortly, then less often.
  private static let firstRecordMilliseconds: UInt64 = 5
  private static let recordMilliseconds: UInt64 = 50
  private static let messageMilliseconds: UInt64 = 20
  /// After the leader's exit what still holds a pipe gets this long without a byte, and so long in all.
  private static let quietMilliseconds: UInt64 = 200
  private static let drainMilliseconds: UInt64 = 1500
  /// A command that keeps changing streams with tiny writes makes records larger than its output: it is read more slowly then.
  private static let manySegments = 65536
  private static let tinySegment: UInt64 = 512
  /// So often both pipes are read before an end: with a buffer of 64 KiB all of what a pipe holds, which is 1 MiB at most.
  private static let lastReads = 16

  let order: AttemptOrder
  let startedWall: Int64
  private let pid: Int32
  private let spool: SpoolWriter
  private let records: RecordsWriter
  private let link: AgentLink
  private let startedAt: UInt64
  private(set) var stdout: Descriptor?
  private(set) var stderr: Descriptor?

  private var pending = SegmentList(offset: 0)
  private var unsent = SegmentList(offset: 0)
  private var inlineSegments = SegmentList(offset: 0)
  private var inlineBytes: [UInt8] = []
  private var total: UInt64 = 0
  private var segmentCount = 0
  private var recordAt = UInt64.max
  private var hasRecorded = false
  private var recordsFail = false
  private var sendAt = UInt64.max
  private var nextMessageAt: UInt64 = 0
  private var napUntil: UInt64 = 0

  private var deadlineAt = UInt64.max
  private var ending: TreeEnding?
  private var status: Int32?
  private var exitedAt: UInt64 = 0
  private var exitedWall: Int64 = 0
  private var nobodyLeft = false
  private var drainSince: UInt64?
  private var lastByteAt: UInt64 = 0
  private var exit: ExitRecord?

  init(
    order: AttemptOrder, pid: Int32, startedAt: UInt64, resources: LaunchResources, spool: SpoolWriter, records: RecordsWriter,
    link: AgentLink
  ) {
    self.order = order
    self.pid = pid
    self.spool = spool
    self.records = records
    self.link = link
    stdout = resources.stdout.read
    stderr = resources.stderr.read
    self.startedAt = startedAt
    startedWall = System.wallMilliseconds()
    if order.timeoutMilliseconds > 0 { deadlineAt = System.after(startedAt, milliseconds: order.timeoutMilliseconds) }
  }

  // MARK: What the loop asks

  /// Whether the pipes should be watched now.
  func isReading(_ now: UInt64) -> Bool { now >= napUntil }

  /// The earliest time at which `pass` has something to do.
  func wakeAt(_ now: UInt64) -> UInt64 {
    var earliest = min(recordAt, sendAt)
    if now < napUntil { earliest = min(earliest, napUntil) }
    if status == nil, ending == nil { earliest = min(earliest, deadlineAt) }
    if let ending { earliest = min(earliest, ending.wakeAt) }
    if let drainSince { earliest = min(earliest, drainEnd(drainSince)) }
    return earliest
  }

  /// The leader has exited, its tree is ended if it was to be, and its output is in or was waited for.
  func isOver(_ now: UInt64) -> Bool {
    guard let drainSince else { return false }
    return (stdout == nil && stderr == nil) || now >= drainEnd(drainSince)
  }

  private func drainEnd(_ since: UInt64) -> UInt64 {
    min(
      System.after(max(since, lastByteAt), milliseconds: RunningAttempt.quietMilliseconds),
      System.after(since, milliseconds: RunningAttempt.drainMilliseconds))
  }

  // MARK: What happens

  /// Reads once from a pipe that has something to say.
  func read(_ stream: OutputStream, buffer: UnsafeMutableRawBufferPointer) {
    // What comes while a judged attempt waits for room for its exit record is no part of it any more.
    guard exit == nil else { return discard(stream, buffer: buffer) }
    guard let pipe = stream == .stdout ? stdout : stderr else { return }
    let count = System.read(pipe.raw, into: buffer)
    guard count > 0 else {
      if count < 0 && errno == EAGAIN { return }
      if stream == .stdout { stdout = nil } else { stderr = nil }
      return
    }
    take(stream, UnsafeRawBufferPointer(rebasing: buffer[..<count]))
  }

  /// Reads what the pipes hold, before the attempt is judged: more may come while it is read, so not for ever.
  func readRest(buffer: UnsafeMutableRawBufferPointer) {
    for _ in 0..<RunningAttempt.lastReads where exit == nil {
      var pipes = [stdout, stderr].map { pollfd(fd: $0?.raw ?? -1, events: Int16(POLLIN), revents: 0) }
      guard stdout != nil || stderr != nil, cspawn_poll(&pipes, pipes.count, 0) > 0 else { return }
      if pipes[0].revents != 0 { read(.stdout, buffer: buffer) }
      if pipes[1].revents != 0 { read(.stderr, buffer: buffer) }
    }
  }

  /// Reads and forgets, once the attempt is over.
  func discard(_ stream: OutputStream, buffer: UnsafeMutableRawBufferPointer) {
    guard let pipe = stream == .stdout ? stdout : stderr, System.read(pipe.raw, into: buffer) <= 0 else { return }
    if stream == .stdout { stdout = nil } else { stderr = nil }
  }

  private func take(_ stream: OutputStream, _ bytes: UnsafeRawBufferPointer) {
    let now = System.monotonic()
    let count = UInt64(bytes.count)
    if pending.length + count > RunnerLimits.unrecorded { record(now) }
    spool.write(bytes) { [records] in records.append(.layout($0)) == 0 }
    // Behind the write: how long the disk took is not silence of whoever holds the pipe.
    lastByteAt = System.monotonic()
    total += count
    if total <= EndedMessage.inlineOutput {
      inlineBytes.append(contentsOf: bytes)
      inlineSegments.append(Segment(stream, count))
    }
    let before = pending.segments.count
    pending.append(Segment(stream, count))
    segmentCount += pending.segments.count - before
    if segmentCount > RunningAttempt.manySegments, total / UInt64(segmentCount) < RunningAttempt.tinySegment {
      napUntil = System.after(now, milliseconds: 2)
    }
    if recordAt == .max {
      let delay = hasRecorded ? RunningAttempt.recordMilliseconds : RunningAttempt.firstRecordMilliseconds
      recordAt = System.after(now, milliseconds: delay)
    }
    if pending.length >= RunnerLimits.unrecorded { record(now) }
  }

  /// Waits for children that have ended.
  func reap() {
    while true {
      var childStatus: Int32 = 0
      let child = waitpid(-1, &childStatus, WNOHANG)
      if child < 0 && errno == EINTR { continue }
      if child <= 0 {
        nobodyLeft = child < 0
        return
      }
      // Once the leader was waited for, its number may be that of a descendant.
      if child == pid, status == nil {
        status = childStatus
        exitedAt = System.monotonic()
        exitedWall = System.wallMilliseconds()
      }
    }
  }

  /// Ends the tree. Of no effect once the leader has exited by itself: what it left behind is left on purpose.
  func end(_ cause: ExitRecord.Cause, signal: Int32, graceMilliseconds: UInt64) {
    // The disk may have held this process up since it last looked: who has exited by then was ended by nobody.
    reap()
    let now = System.monotonic()
    let signal = (1...64).contains(signal) ? signal : SIGTERM
    if ending != nil {
      ending?.strike(signal: signal, graceMilliseconds: graceMilliseconds, leaderIsAlive: status == nil, now: now)
    } else if status == nil {
      ending = TreeEnding(
        cause: cause, leader: pid, signal: signal, graceMilliseconds: graceMilliseconds, leaderIsAlive: true, now: now)
    }
  }

  /// Does what is due.
  func pass(_ now: UInt64) {
    if status == nil, ending == nil, now >= deadlineAt {
      end(.deadline, signal: SIGTERM, graceMilliseconds: order.graceMilliseconds)
    }
    ending?.proceed(now: now, leaderIsAlive: status == nil, nobodyLeft: nobodyLeft)
    if now >= recordAt { record(now) }
    if now >= sendAt { sendOutput(now) }
    if drainSince == nil, status != nil, ending?.isOver ?? true { drainSince = now }
  }

  // MARK: Records and messages

  private func record(_ now: UInt64) {
    recordAt = .max
    guard !pending.isEmpty else { return }
    hasRecorded = true
    if !recordsFail, records.append(.segments(pending)) != 0 {
      // What cannot be recorded must not be stored either, or readers of the ring could be misled.
      recordsFail = true
      spool.freeze()
    }
    if !recordsFail { queueForAgent(now) }
    pending.restart()
  }

  /// False where there is no room for it but what is kept for the exit record: then it goes with that one.
  private func recordRest(_ now: UInt64) -> Bool {
    if recordsFail { return false }
    if pending.isEmpty { return true }
    guard records.append(.segments(pending)) == 0 else { return false }
    queueForAgent(now)
    pending.restart()
    return true
  }

  private func queueForAgent(_ now: UInt64) {
    for segment in pending.segments { unsent.append(segment) }
    sendAt = min(sendAt, max(now, nextMessageAt))
    if unsent.segments.count > 4096 { sendOutput(now) }
  }

  private func sendOutput(_ now: UInt64) {
    sendAt = .max
    guard !unsent.isEmpty else { return }
    if !link.isCongested { link.post(.output(run: order.run, attempt: order.attempt, unsent)) }
    unsent.restart()
    nextMessageAt = System.after(now, milliseconds: RunningAttempt.messageMilliseconds)
  }

  // MARK: The end

  /// Whether the runner may serve again: nothing that the command started is left, and nobody holds its pipes.
  var isClean: Bool { stdout == nil && stderr == nil && exit?.left == 0 }

  /// Puts the output in order and writes the exit record. False where it could not be written: try again later.
  func finish(_ now: UInt64) -> Bool {
    let record = exit ?? judge(now)
    exit = record
    var bytes: [UInt8] = []
    if !pending.isEmpty, !recordsFail { bytes = RunnerRecord.segments(pending).framed }
    bytes += RunnerRecord.exit(record).framed
    if records.append(bytes: bytes, essential: true) != 0 {
      // On a full disk there is room for the exit, not for many changes of streams: these last bytes are nobody's stream then.
      bytes = []
      if !pending.isEmpty, !recordsFail {
        bytes = RunnerRecord.segments(SegmentList(offset: pending.offset, [Segment(.unknown, pending.length)])).framed
      }
      bytes += RunnerRecord.exit(record).framed
      guard records.append(bytes: bytes, essential: true) == 0 else { return false }
    }
    if !recordsFail { queueForAgent(now) }
    pending.restart()
    return true
  }

  /// The exit record will never be written; the message says so.
  func giveUpRecording() { exit?.notes.insert(.unrecorded) }

  /// To be sent once `finish` has succeeded or was given up.
  var endedMessage: EndedMessage? {
    guard let exit else { return nil }
    let isInline = total <= EndedMessage.inlineOutput
    return EndedMessage(exit: exit, segments: isInline ? inlineSegments : unsent, output: isInline ? inlineBytes : nil)
  }

  private func judge(_ now: UInt64) -> ExitRecord {
    let status = status ?? 0
    let how: ExitRecord.How = status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .signalled(status & 0x7F)
    var record = ExitRecord(run: order.run, attempt: order.attempt, how: how)
    if let ending {
      record.cause = ending.cause
      record.signalled = ending.signalled
    }
    record.left = countLeft()
    if status & 0x7F != 0, status & 0x80 != 0 { record.notes.insert(.core) }
    if stdout != nil || stderr != nil { record.notes.insert(.pipeHeld) }
    // Readers find a byte in the ring by how many are recorded: that has to be all of them before it is moved.
    if spool.hasGoneRound, !recordRest(now) || !spool.order(layoutChanged: { [records] in records.append(.layout($0)) == 0 }) {
      record.notes.insert(.unordered)
    }
    if spool.hasFailed { record.notes.insert(.storeFailed) }
    record.total = total
    record.stored = spool.stored
    record.layout = spool.layout
    record.startedWallMilliseconds = startedWall
    record.finishedWallMilliseconds = exitedWall
    record.durationNanoseconds = exitedAt &- startedAt
    return record
  }

  private func countLeft() -> UInt64 {
    for _ in 0..<3 {
      if !nobodyLeft { reap() }
      if nobodyLeft { return 0 }
      let left = ProcessTree.livingDescendants().count
      if left > 0 { return UInt64(left) }
    }
    return 0
  }
}
