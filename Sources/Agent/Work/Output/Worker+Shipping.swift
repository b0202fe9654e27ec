// Output on its way: slices of several runs put together into frames, the first bytes of a run at once, then every 50 ms or 64 KiB. The
// bytes are read from the spools when a frame is sent, and again when it is sent again; so a window of frames costs no memory.

import Redis
import Shared

extension Worker {
  private static let framesInWindow = 32
  private static let framesAtOnce = 4
  private static let gathering = Duration.milliseconds(50)
  private static let ringPatience = Duration.milliseconds(200)

  /// Something of the output may be shipped, or soon.
  /// - Parameter atOnce: it has ended: nothing more is worth waiting for.
  func feedIsReady(_ attempt: Attempt, atOnce: Bool = false) {
    guard let feed = attempt.feed else { return }
    if atOnce { feed.due = .distantPast }
    feeds[attempt.id] = feed
    tellBell.ring()
  }

  var framesAreWaiting: Bool {
    frames.unsent > 0 || (!feeds.isEmpty && frames.count < Worker.framesInWindow && nextFeed() < .never)
  }

  /// When the next feed may be shipped from; never while none may.
  func nextFeed() -> MonotonicTime {
    if frames.unsent > 0 { return .distantPast }
    var next = MonotonicTime.never
    for feed in feeds.values {
      // The dashboard does not know a plain task's run before it was introduced.
      guard attempts[feed.id]?.isIntroduced ?? false else { continue }
      next = min(next, feed.due)
    }
    return next
  }

  struct OutgoingFrame {
    var sequence: UInt64
    var bytes: [UInt8]
  }

  /// Frames to be sent now, as messages: those to be sent again first, then fresh ones.
  func nextFrames() -> [OutgoingFrame] {
    var outgoing: [OutgoingFrame] = []
    let (first, again) = frames.pending(limit: Worker.framesAtOnce)
    var sequence = first
    for frame in again {
      guard let bytes = encode(frame, sequence) else { break }
      outgoing.append(OutgoingFrame(sequence: sequence, bytes: bytes))
      sequence += 1
    }
    while outgoing.count < Worker.framesAtOnce, frames.count < Worker.framesInWindow, let frame = gather() {
      sequence = frames.next
      if frames.count == 0 { progressAt = .now }
      frames.append(SaidFrame(slices: frame.slices, bytes: nil))
      guard let bytes = encode(frame, sequence) else { break }
      outgoing.append(OutgoingFrame(sequence: sequence, bytes: bytes))
    }
    return outgoing
  }

  /// One frame of what is due, or nil.
  private func gather() -> SaidFrame? {
    let now = MonotonicTime.now
    var frame = SaidFrame(slices: [], bytes: [])
    var room = BusLimits.outputFrameBytes
    for (id, feed) in feeds {
      guard room > 0 else { break }
      guard let attempt = attempts[id], attempt.isIntroduced else { continue }
      feed.advance()
      guard feed.due <= now || (feed.available >= UInt64(OutputFeed.sliceBytes) && !feed.isInRing) else { continue }
      var took = false
      while room > 0, let (slice, bytes) = feed.take(limit: min(room, OutputFeed.sliceBytes)) {
        frame.slices.append(SaidFrame.Slice(id: id, slice: slice))
        frame.bytes?.append(contentsOf: bytes)
        feed.unacknowledged += 1
        room -= bytes.count
        took = true
      }
      if took {
        feed.due = feed.available > 0 && !feed.isInRing ? now : now + Worker.gathering
        if attempt.stage == .working { resultMayFollow(attempt) }
      } else if feed.available == 0 {
        if attempt.stage == .ending || attempt.stage == .ended, feed.goesOnAfterTheEnd() {
          feed.due = feed.available > 0 ? now : now + Worker.ringPatience
          continue
        }
        feeds[id] = nil
        noteDamage(feed, attempt)
        outputMayBeDone(attempt, feed)
      } else {
        // Bytes of a ring that is being written: they can be told once it has gone on, or ended.
        feed.due = now + Worker.ringPatience
      }
    }
    return frame.slices.isEmpty ? nil : frame
  }

  private func encode(_ frame: SaidFrame, _ sequence: UInt64) -> [UInt8]? {
    var slices: [OutputSlice] = []
    var bytes: [UInt8] = []
    if let ready = frame.bytes {
      slices = frame.slices.map(\.slice)
      bytes = ready
    } else {
      for part in frame.slices {
        // What the ring has overwritten meanwhile, or what is settled, cannot be sent again; the sequence stays whole all the same.
        guard let feed = attempts[part.id]?.feed else { continue }
        switch feed.again(part.slice) {
        case .bytes(let again):
          slices.append(part.slice)
          bytes += again
        case .gone: continue
        case .later:
          framesHeldUntil = .now + Worker.ringPatience
          return nil
        }
      }
    }
    let message = OutputFrame(agent: uuid, from: address, sequence: sequence, oldest: frames.oldest, slices: slices, bytes: bytes)
    return try? message.encoded()
  }

  /// The dashboard lacks what it had acknowledged: its store is a restored copy. All of it goes again; what is there is skipped there.
  func shipAgain(_ attempt: Attempt) {
    guard attempt.stage != .waiting else { return }
    attempt.isOutputDone = false
    if let feed = attempt.feed {
      feed.rewind()
      feedIsReady(attempt, atOnce: true)
    } else if attempt.stage == .ended {
      resumeOutput(attempt)
    }
  }

  func acknowledged(_ frame: SaidFrame) {
    for part in frame.slices {
      guard let attempt = attempts[part.id], let feed = attempt.feed else { continue }
      feed.unacknowledged -= 1
      outputMayBeDone(attempt, feed)
    }
  }

  private func outputMayBeDone(_ attempt: Attempt, _ feed: OutputFeed) {
    guard feed.isDone, attempt.stage == .ended || attempt.stage == .ending else { return }
    attempt.isOutputDone = true
    settleIfDone(attempt)
  }
}
