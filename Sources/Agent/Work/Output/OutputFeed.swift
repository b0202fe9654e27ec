// What of one attempt's output has been shipped and what is next: reads the runner's records for the streams and lengths, and the spool
// for the bytes. Used the same way for a runner that is connected, one that was adopted, and one that has ended long ago.
// Belongs to the `Worker`; its file reads are short and happen on the engine's thread.

import Glibc
import Runner
import Shared

final class OutputFeed {
  /// More segments than this are not read ahead.
  private static let segmentsAhead = 4096
  /// Bytes shipped in one slice.
  static let sliceBytes = 64 * 1024

  let id: AttemptID
  let path: [UInt8]
  /// Where in the records its own begin is, or would be; 0: not known.
  let start: UInt64
  private let run: String
  private let attempt: UInt64
  let records: [UInt8]
  private var reader: RecordsReader
  private(set) var state = RecordedAttempt()
  /// Segments from `next` on, as far as they were read.
  private var ahead: [Runner.Segment] = []
  /// Logical offset of the next byte to be shipped.
  private(set) var next: UInt64 = 0
  /// Slices that were put into frames and are not acknowledged.
  var unacknowledged = 0
  /// Not to be shipped before.
  var due = MonotonicTime.distantPast
  /// No record will follow: the exit is known, or the runner is gone.
  private(set) var isClosed = false
  /// How it was closed where no exit record did it: to be done again after a rewind.
  private var closing: Closing?
  private enum Closing {
    case spool(UInt64)
    case verdict(Verdict)
  }
  /// Why the records could not be read to their end the last time.
  private(set) var fault: Int32?
  /// Another attempt was begun behind it, or where it had to be. A runner has one at a time.
  private var isPassed = false
  /// The runner whose records these are has refused it or is done with it: also if it lives, it is none of this attempt's any more.
  var isLetGo: Bool { state.refused != nil || isPassed }
  /// Behind the last record stand bytes that are no whole one: a write under way, or what nobody can read any more.
  private(set) var isTorn = false
  /// A part of the records was unreadable.
  private(set) var isDamaged = false
  /// The output file holds less than the records say.
  private(set) var isShort = false
  private var failures = 0
  /// So many failed reads in a row of bytes that should be there, a few a second, and they are given up.
  private static let patience = 300

  /// - Parameters:
  ///   - offset: where in the records its begin is, or would be; 0: not known.
  init(_ attempt: Attempt, records: [UInt8], offset: UInt64, path: String) {
    id = attempt.id
    start = offset
    run = "\(attempt.run)"
    self.attempt = UInt64(attempt.id.attempt)
    self.path = Array(path.utf8)
    self.records = records
    reader = RecordsReader(path: records, offset: offset)
  }

  /// Reads on in the records.
  func advance() {
    read { ahead.count < OutputFeed.segmentsAhead }
  }

  /// The same without an end: for whoever has to see the exit, however much comes before it. Memory is bounded by what is merged.
  func advanceToEnd() {
    read { true }
  }

  private func read(_ goesOn: () -> Bool) {
    // Thousands of feeds may be kept: what was read ahead is not.
    defer { reader.release() }
    while !isClosed, goesOn() {
      switch reader.next() {
      case .record(let record): apply(record)
      case .damaged: isDamaged = true
      case .end(let torn):
        isTorn = torn
        fault = nil
        return
      case .failed(let error):
        fault = error
        if error == EBADMSG { isDamaged = true }
        return
      }
    }
    fault = nil
  }

  private func apply(_ record: RunnerRecord) {
    switch record {
    case .begin(let begin):
      guard begin.run == run, begin.attempt == attempt else {
        // Where the start is not known (0), those before this attempt are passed over.
        isPassed = isPassed || state.begin != nil || start > 0
        isClosed = isClosed || isPassed
        return
      }
      state = RecordedAttempt()
    case .exit(let exit) where state.begin == nil && exit.run == run && exit.attempt == attempt:
      // Its beginning is damaged. The end says whose it is; of which stream the bytes are nobody knows.
      state.apply(
        .begin(
          BeginRecord(run: run, attempt: attempt, outputPath: path, cap: .max, wallMilliseconds: exit.startedWallMilliseconds)))
      ahead = exit.total > 0 ? [Runner.Segment(.unknown, exit.total)] : []
    case .refused(let refused) where state.begin == nil && refused.run == run && refused.attempt == attempt:
      // Refused before it was begun: for want of descriptors, say.
      break
    default:
      // Records of attempts before this one.
      guard state.begin != nil else { return }
    }
    let before = state.total
    state.apply(record)
    switch record {
    case .segments(let list) where list.end > before:
      for segment in list.segments { append(segment) }
    case .exit: isClosed = true
    case .refused: isClosed = true
    default: break
    }
  }

  private func append(_ segment: Runner.Segment) {
    if let last = ahead.indices.last, ahead[last].stream == segment.stream {
      ahead[last].length += segment.length
    } else {
      ahead.append(segment)
    }
  }

  /// The runner is gone, or has nothing more to say, without an exit record: what the spool holds beyond the records belongs to a stream that
  /// nobody knows.
  func close(spoolBytes: UInt64) {
    isClosed = true
    closing = .spool(spoolBytes)
    if state.begin == nil, state.refused == nil {
      // Its beginning is damaged.
      state.apply(.begin(BeginRecord(run: run, attempt: attempt, outputPath: path, cap: .max, wallMilliseconds: 0)))
    }
    state.isLeft(with: spoolBytes)
    let known = next + available
    if state.total > known { append(Runner.Segment(.unknown, state.total - known)) }
  }

  /// The attempt has ended, and nothing more of it was found. Where the records do not say so, because they cannot be read just now or their
  /// exit could not be written, what the spool holds is all that there is, in the end.
  /// - Returns: whether there is more to do here, now or later.
  func goesOnAfterTheEnd() -> Bool {
    guard !isClosed else { return false }
    if let fault, ReadFault.mayPass(fault), failures < OutputFeed.patience {
      failures += 1
      return true
    }
    close(spoolBytes: FileSize.of(path))
    return available > 0
  }

  /// Everything that the journal says, where the records are gone.
  func fabricate(_ verdict: Verdict) {
    closing = .verdict(verdict)
    state = RecordedAttempt()
    state.apply(.begin(BeginRecord(run: run, attempt: attempt, outputPath: path, cap: .max, wallMilliseconds: 0)))
    var exit = ExitRecord(run: run, attempt: attempt, how: .exited(0))
    exit.total = UInt64(clamping: verdict.outputBytes)
    exit.stored = exit.total
    let dropped = UInt64(clamping: verdict.droppedBytes)
    let head = dropped > 0 ? UInt64(clamping: verdict.droppedFrom ?? 0) : exit.total
    exit.layout = SpoolLayout(head: head, ring: exit.total - min(exit.total, head &+ dropped), tail: .ordered)
    state.apply(.exit(exit))
    ahead = exit.total > next ? [Runner.Segment(.unknown, exit.total - next)] : []
    isClosed = true
  }

  /// Begins again with the first byte. What is in frames stays counted there.
  func rewind() {
    (next, ahead, isClosed) = (0, [], false)
    state = RecordedAttempt()
    if case .verdict(let verdict) = closing { return fabricate(verdict) }
    reader = RecordsReader(path: records, offset: start)
    advance()
    guard case .spool(let bytes) = closing else { return }
    advanceToEnd()
    close(spoolBytes: bytes)
  }

  // MARK: Shipping

  /// Bytes that could be shipped now.
  var available: UInt64 { ahead.reduce(0) { $0 + $1.length } }
  /// Nothing more will come, and all of it was put into frames or given up.
  var isShipped: Bool { isClosed && ahead.isEmpty }
  var isDone: Bool { isShipped && unacknowledged == 0 }
  /// Past the head the ring is overwritten anyway: no hurry there while the command goes on.
  var isInRing: Bool { !isClosed && next >= state.layout.head }

  /// Takes the next slice off, with its bytes; nil where nothing can be shipped now.
  func take(limit: Int) -> (slice: OutputSlice, bytes: [UInt8])? {
    while true {
      if ahead.isEmpty { advance() }
      guard !ahead.isEmpty else { return nil }
      let wanted = min(UInt64(clamping: limit), available)
      switch read(from: next, limit: Int(clamping: wanted)) {
      case .bytes(let bytes):
        failures = 0
        let slice = OutputSlice(
          attempt: id, offset: Int64(clamping: next), segments: cut(UInt64(bytes.count)), dropped: dropped)
        return (slice, bytes)
      case .gone(let until): _ = cut(max(until, next + 1) - next)
      // In the ring nobody can tell yet whether these bytes were overwritten: later, at the latest once the exit is known.
      case .end where !isClosed: return nil
      case .failed(let error) where ReadFault.mayPass(error) && failures < OutputFeed.patience:
        failures += 1
        return nil
      // Recorded but not to be had: dropped for a full disk, or the file is gone.
      case .end: _ = cut(wanted)
      case .failed(let error):
        if error == ENODATA { isShort = true }
        _ = cut(wanted)
      }
    }
  }

  /// What the ring has overwritten, as far as was read in the records: never less than what is missing before `next`, and never more than
  /// the verdict will say.
  private var dropped: DroppedMiddle? {
    let (layout, stored) = (state.layout, state.stored)
    guard stored > layout.head, stored - layout.head > layout.ring else { return nil }
    return DroppedMiddle(
      from: Int64(clamping: layout.head), count: Int64(clamping: stored - layout.head - layout.ring))
  }

  enum Again {
    case bytes([UInt8])
    /// The ring has gone on, or the file is gone.
    case gone
    /// They cannot be read just now.
    case later
  }

  /// The bytes of a slice once more.
  func again(_ slice: OutputSlice) -> Again {
    var bytes: [UInt8] = []
    while bytes.count < slice.length {
      switch read(from: UInt64(clamping: slice.offset) + UInt64(bytes.count), limit: slice.length - bytes.count) {
      case .bytes(let more): bytes += more
      case .failed(let error) where ReadFault.mayPass(error) && failures < OutputFeed.patience:
        failures += 1
        return .later
      case .gone, .end, .failed: return .gone
      }
    }
    failures = 0
    return .bytes(bytes)
  }

  private func read(from offset: UInt64, limit: Int) -> SpoolRead {
    // Bytes of the head, and those of an ended attempt, never change.
    let isStable = isClosed || offset < state.layout.head
    return SpoolReader.read(path: path, from: offset, limit: limit) {
      if !isStable { self.advanceToEnd() }
      return self.state
    }
  }

  /// Takes so many bytes off the front of what is ahead.
  private func cut(_ length: UInt64) -> [[Int]] {
    var left = length
    var segments: [[Int]] = []
    var used = 0
    while left > 0, used < ahead.count {
      let part = min(left, ahead[used].length)
      let stream = ahead[used].stream == .stderr ? 2 : 1
      segments.append([stream, Int(clamping: part)])
      ahead[used].length -= part
      left -= part
      if ahead[used].length == 0 { used += 1 }
    }
    ahead.removeFirst(used)
    next += length - left
    return segments
  }
}
