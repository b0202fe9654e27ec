// Head, ring and order of an output file, compared with the plain list of bytes it stands for.

import Glibc
import Testing

@testable import Runner

struct SpoolTests {
  /// All that is kept, by way of the layout alone.
  static func kept(_ path: String, _ layout: SpoolLayout, stored: UInt64) throws -> [UInt64: UInt8] {
    guard let file = contents(of: path) else { throw TestFault("no file") }
    var found: [UInt64: UInt8] = [:]
    var offset: UInt64 = 0
    while let stretch = layout.stretch(from: offset, limit: 7, stored: stored) {
      switch stretch {
      case .gone(let until): offset = until
      case .at(let position, let length):
        for index in 0..<length { found[offset + index] = file[Int(position + index)] }
        offset += length
      }
    }
    return found
  }

  @Test(arguments: [0, 1, 2, 3, 5, 16, 33, 100] as [UInt64])
  func everyCapKeepsExactlyHeadAndTail(cap: UInt64) throws {
    let folder = try TestFolder()
    var seed = cap &* 7919 &+ 1
    func random(_ below: UInt64) -> UInt64 {
      seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (seed >> 33) % below
    }
    for round in 0..<60 {
      let path = "\(folder.path)/\(round)"
      let spool = try SpoolWriter(path: Array(path.utf8), cap: cap)
      var total: UInt64 = 0
      let goal = random(cap * 5 + 3)
      while total < goal {
        let piece = (0..<min(goal - total, random(cap + 20) + 1)).map { UInt8(truncatingIfNeeded: (total + $0) &* 31) }
        piece.withUnsafeBytes { spool.write($0) { _ in true } }
        total += UInt64(piece.count)
        if cap > 0 { #expect(spool.stored == total) }
      }
      let head = cap / 2
      let expected = (0..<total).filter { $0 < head || (cap > 0 && $0 + (cap - head) >= total) }
      let before = try SpoolTests.kept(path, spool.layout, stored: spool.stored)
      #expect(before.keys.sorted() == expected)
      #expect(before.allSatisfy { $1 == UInt8(truncatingIfNeeded: $0 &* 31) })
      var told: [SpoolLayout.Tail] = []
      let ordered = spool.order {
        told.append($0.tail)
        return true
      }
      #expect(ordered)
      #expect(contents(of: path) == expected.map { UInt8(truncatingIfNeeded: $0 &* 31) })
      #expect(try SpoolTests.kept(path, spool.layout, stored: spool.stored) == before)
      #expect(told.isEmpty == (total <= cap || cap == 0))
      #expect(!spool.hasFailed)
    }
  }

  @Test func everyStepOfOrderingLeavesAReadableFile() throws {
    let folder = try TestFolder()
    let path = "\(folder.path)/o"
    let spool = try SpoolWriter(path: Array(path.utf8), cap: 100)
    let bytes = (0..<1037).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    bytes.withUnsafeBytes { spool.write($0) { _ in true } }
    let before = try SpoolTests.kept(path, spool.layout, stored: spool.stored)
    var steps = 0
    let ordered = spool.order { layout in
      steps += 1
      #expect((try? SpoolTests.kept(path, layout, stored: 1037)) == before)
      return true
    }
    #expect(ordered)
    #expect(steps == 2)
  }

  @Test func orderingThatCannotBeRecordedLeavesTheRing() throws {
    let folder = try TestFolder()
    let path = "\(folder.path)/o"
    for allowed in 0...1 {
      let path = "\(path)\(allowed)"
      let spool = try SpoolWriter(path: Array(path.utf8), cap: 100)
      let bytes = (0..<1037).map { UInt8(truncatingIfNeeded: $0 &* 31) }
      bytes.withUnsafeBytes { spool.write($0) { _ in true } }
      let before = try SpoolTests.kept(path, spool.layout, stored: spool.stored)
      var calls = 0
      let ordered = spool.order { _ in
        calls += 1
        return calls <= allowed
      }
      #expect(!ordered)
      #expect(try SpoolTests.kept(path, spool.layout, stored: spool.stored) == before)
    }
  }

  @Test func anOutputFileThatIsThereIsNotTouched() throws {
    let folder = try TestFolder()
    let path = "\(folder.path)/o"
    try RecordsFileTests.write([1, 2, 3], to: path)
    #expect(throws: RunnerFault.self) { try SpoolWriter(path: Array(path.utf8), cap: 100) }
    symlink("/tmp/none-of-this-name", "\(folder.path)/link")
    #expect(throws: RunnerFault.self) { try SpoolWriter(path: Array("\(folder.path)/link".utf8), cap: 100) }
    #expect(contents(of: path) == [1, 2, 3])
  }

  /// The reader's rule: bytes of the ring count only if the records, read afterwards, rule out that they were overwritten meanwhile.
  @Test func aReaderDoesNotTrustWhatMayHaveBeenOverwritten() throws {
    let folder = try TestFolder()
    let path = Array("\(folder.path)/o".utf8)
    let cap: UInt64 = 400_000
    let spool = try SpoolWriter(path: path, cap: cap)
    let piece = [UInt8](repeating: 7, count: 50_000)
    for _ in 0..<12 { piece.withUnsafeBytes { spool.write($0) { _ in true } } }
    func state(_ total: UInt64) -> RecordedAttempt {
      var state = RecordedAttempt()
      state.apply(.begin(BeginRecord(run: "r", attempt: 1, outputPath: path, cap: cap, wallMilliseconds: 0)))
      state.apply(.segments(SegmentList(offset: 0, [Segment(.stdout, total)])))
      return state
    }
    // 600,000 bytes went through; the ring of 200,000 holds those from 400,000 on; 65,536 more may be there unrecorded.
    #expect(
      SpoolReader.read(path: path, from: 10, limit: 100, state: { state(600_000) }) == .bytes([UInt8](repeating: 7, count: 100)))
    #expect(SpoolReader.read(path: path, from: 390_000, limit: 100, state: { state(600_000) }) == .gone(until: 400_000))
    #expect(SpoolReader.read(path: path, from: 400_000, limit: 100, state: { state(600_000) }) == .end, "nobody can tell yet")
    #expect(
      SpoolReader.read(path: path, from: 465_536, limit: 100, state: { state(600_000) })
        == .bytes([UInt8](repeating: 7, count: 100)))
    #expect(SpoolReader.read(path: path, from: 600_000, limit: 100, state: { state(600_000) }) == .end)
    // The total grew between the two looks.
    var looks = 0
    let read = SpoolReader.read(path: path, from: 465_536, limit: 100) {
      looks += 1
      return state(looks == 1 ? 600_000 : 700_000)
    }
    #expect(read == .gone(until: 500_000))
    // Once the exit is recorded nothing moves any more, and the margin is not needed.
    var ended = state(600_000)
    var exit = ExitRecord(run: "r", attempt: 1, how: .exited(0))
    (exit.total, exit.stored, exit.layout) = (600_000, 600_000, spool.layout)
    ended.apply(.exit(exit))
    #expect(SpoolReader.read(path: path, from: 400_000, limit: 9, state: { ended }) == .bytes([UInt8](repeating: 7, count: 9)))
  }
}
