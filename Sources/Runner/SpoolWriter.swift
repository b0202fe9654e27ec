// Writes a run's output into its one file: head, then ring, put in order at the end. SpoolLayout tells where what lies.
// A disk that fills up makes head and ring smaller; what cannot be stored at all ends the storing, never the command.

import Glibc

final class SpoolWriter {
  private let file: Descriptor
  private(set) var layout: SpoolLayout
  /// Bytes that went through, whether overwritten since or not. Stays where storing ended.
  private(set) var stored: UInt64 = 0
  /// Nothing is stored any more.
  private(set) var isFrozen = false
  /// Something could not be stored.
  private(set) var hasFailed = false

  /// - Throws: `RunnerFault`; `EEXIST` where the file is there already.
  init(path: [UInt8], cap: UInt64) throws(RunnerFault) {
    let raw = open(System.cString(path), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o640)
    guard let file = Descriptor(raw) else { throw RunnerFault("cannot make the output file", errno) }
    self.file = file
    layout = SpoolLayout(cap: cap)
  }

  func freeze() {
    isFrozen = true
    hasFailed = true
  }

  /// Stores what it can. `layoutChanged` is called before a smaller layout takes effect; false from it ends the storing.
  func write(_ bytes: UnsafeRawBufferPointer, layoutChanged: (SpoolLayout) -> Bool) {
    var rest = bytes
    while !isFrozen, !rest.isEmpty {
      if stored >= layout.head, layout.ring == 0 {
        isFrozen = true
        return
      }
      // Of more than a whole round only the last one would survive.
      if stored >= layout.head, UInt64(rest.count) > layout.ring {
        let skipped = rest.count - Int(layout.ring)
        stored += UInt64(skipped)
        rest = UnsafeRawBufferPointer(rebasing: rest[skipped...])
      }
      let isHead = stored < layout.head
      let position = isHead ? stored : layout.head + (stored - layout.head) % layout.ring
      let room = (isHead ? layout.head : layout.head + layout.ring) - position
      let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(Int(clamping: room)))
      let (done, error) = System.write(file.raw, at: position, piece)
      stored += UInt64(done)
      rest = UnsafeRawBufferPointer(rebasing: rest[done...])
      if error != 0 { shrink(after: error, layoutChanged: layoutChanged) }
    }
  }

  /// Where the file could not grow, what it holds becomes a smaller head and a smaller ring.
  private func shrink(after error: Int32, layoutChanged: (SpoolLayout) -> Bool) {
    hasFailed = true
    let isFirstRound = stored < layout.head + layout.ring
    guard isFirstRound, stored > 1, error == ENOSPC || error == EDQUOT || error == EFBIG else { return freeze() }
    let head = min(layout.head, stored / 2)
    let smaller = SpoolLayout(head: head, ring: stored - head)
    guard layoutChanged(smaller) else { return freeze() }
    layout = smaller
  }

  /// The oldest bytes of the ring were overwritten: it is not in order.
  var hasGoneRound: Bool { layout.ring > 0 && stored > layout.head && stored - layout.head > layout.ring }

  /// Puts a ring that went round in order. False where it could not; the layout tells how it lies then. All that is stored has to be recorded.
  func order(layoutChanged: (SpoolLayout) -> Bool) -> Bool {
    guard hasGoneRound else { return true }
    let turn = (stored - layout.head) % layout.ring
    let (start, end) = (layout.head, layout.head + layout.ring)
    if turn != 0 {
      guard copy(from: start + turn, to: end, end - start - turn), copy(from: start, to: end + layout.ring - turn, turn),
        changeTail(.copied, layoutChanged)
      else {
        ftruncate(file.raw, Int(clamping: end))
        return false
      }
      guard copy(from: end, to: start, layout.ring) else { return false }
    }
    guard changeTail(.ordered, layoutChanged) else { return false }
    ftruncate(file.raw, Int(clamping: end))
    return true
  }

  private func changeTail(_ tail: SpoolLayout.Tail, _ layoutChanged: (SpoolLayout) -> Bool) -> Bool {
    let changed = SpoolLayout(head: layout.head, ring: layout.ring, tail: tail)
    guard layoutChanged(changed) else { return false }
    layout = changed
    return true
  }

  private func copy(from source: UInt64, to target: UInt64, _ length: UInt64) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: 65536, alignment: 16) { buffer in
      var done: UInt64 = 0
      while done < length {
        let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(65536, length - done))])
        guard System.read(file.raw, at: source + done, into: piece) == piece.count,
          System.write(file.raw, at: target + done, UnsafeRawBufferPointer(piece)).error == 0
        else { return false }
        done += UInt64(piece.count)
      }
      return true
    }
  }
}
