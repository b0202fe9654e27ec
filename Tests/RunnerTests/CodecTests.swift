// The formats: what is written reads back, golden files of every version stay readable, damage is refused.

import Glibc
import Testing

@testable import Runner

struct CodecTests {
  static let process = ProcessIdentity(pid: 4711, startTime: 1_234_567, bootID: "2b1d4c5e-0000-4000-8000-123456789abc")

  static let exit: ExitRecord = {
    var exit = ExitRecord(run: "web1-01J0000000000000000000000A", attempt: 2, how: .signalled(15))
    exit.cause = .deadline
    exit.signalled = 3
    exit.left = 1
    exit.notes = [.pipeHeld, .storeFailed]
    exit.total = 5_000_000_000
    exit.stored = 4_999_999_999
    exit.layout = SpoolLayout(head: 100, ring: 101, tail: .ordered)
    exit.startedWallMilliseconds = 1_700_000_000_123
    exit.finishedWallMilliseconds = 1_700_000_010_456
    exit.durationNanoseconds = 10_333_000_000
    return exit
  }()

  static let segments = SegmentList(offset: 70_000, [Segment(.stdout, 1), Segment(.stderr, 65_535), Segment(.stdout, 3)])

  static let openedInGroup: OpenedRecord = {
    var record = OpenedRecord(process: process, wallMilliseconds: 1_700_000_000_000)
    record.controlGroup = "/sys/fs/cgroup/muster-4711-1234567"
    return record
  }()

  static let startedByBootClock: StartedRecord = {
    var record = StartedRecord(pid: 4712, wallMilliseconds: 1_700_000_000_002)
    record.bootNanoseconds = 12_345_678_900_000
    record.bootNanosecondsAfter = 12_345_679_800_000
    return record
  }()

  static let beginWithLimits: BeginRecord = {
    var record = BeginRecord(
      run: "web1-01J0000000000000000000000A", attempt: 2, outputPath: Array("/var/log/x.log".utf8), cap: 201,
      wallMilliseconds: 1_700_000_000_001)
    record.timeoutMilliseconds = 1500
    record.graceMilliseconds = 250
    record.monotonicNanoseconds = 12_345_678_900_000
    return record
  }()

  static let records: [(String, RunnerRecord)] = [
    ("opened", .opened(OpenedRecord(process: process, wallMilliseconds: 1_700_000_000_000))),
    (
      "begin",
      .begin(
        BeginRecord(
          run: "web1-01J0000000000000000000000A", attempt: 2, outputPath: Array("/var/log/x.log".utf8), cap: 201,
          wallMilliseconds: 1_700_000_000_001))
    ),
    ("started", .started(StartedRecord(pid: 4712, wallMilliseconds: 1_700_000_000_002))),
    ("segments", .segments(segments)),
    ("layout", .layout(SpoolLayout(head: 100, ring: 101, tail: .copied))),
    ("refused", .refused(RefusedRecord(run: "web1-x", attempt: 1, reason: .outputExists, error: 17))),
    ("exit", .exit(exit)),
    ("exit-code", .exit(ExitRecord(run: "web1-y", attempt: 1, how: .exited(255)))),
    ("exit-not-started", .exit(ExitRecord(run: "web1-z", attempt: 1, how: .couldNotStart(2, step: 8)))),
  ]

  /// What was added to kinds of records that were there before.
  static let laterRecords: [(String, RunnerRecord)] = [
    ("opened-in-group", .opened(openedInGroup)),
    ("started-by-boot-clock", .started(startedByBootClock)),
    ("begin-with-limits", .begin(beginWithLimits)),
  ]

  static let order: AttemptOrder = {
    var order = AttemptOrder(
      run: "web1-01J0000000000000000000000A", attempt: 3, executable: Array("/bin/sh".utf8),
      arguments: [Array("sh".utf8), Array("-c".utf8), [0xFF, 0x20, 0x0A]], outputPath: Array("/o".utf8))
    order.environment = [Array("A=1".utf8), Array("B=".utf8)]
    order.directory = Array("/tmp".utf8)
    order.standardInput = [0, 1, 2]
    order.timeoutMilliseconds = 1500
    order.graceMilliseconds = 250
    order.cap = 4096
    order.fileMask = 0o077
    order.ids = AttemptOrder.Ids(user: 1000, group: 1001, groups: [4, 24])
    order.limits = [AttemptOrder.Limit(resource: 7, soft: 64, hard: .max)]
    return order
  }()

  static let orders: [(String, RunnerOrder)] = [
    ("order-attempt", .attempt(order)),
    ("order-kill", .kill(run: "web1-x", signal: 2, graceMilliseconds: 3000)),
    ("order-retire", .retire),
  ]

  static let messages: [(String, RunnerMessage)] = [
    ("message-records", .records(path: Array("/s/r.2".utf8), process: process)),
    ("message-began", .began(run: "web1-x", attempt: 1, pid: 99, wallMilliseconds: -1)),
    ("message-output", .output(run: "web1-x", attempt: 1, segments)),
    ("message-ended", .ended(EndedMessage(exit: exit, segments: segments, output: nil))),
    (
      "message-ended-inline",
      .ended(EndedMessage(exit: exit, segments: SegmentList(offset: 0, [Segment(.stderr, 2)]), output: [0, 255]))
    ),
    ("message-refused", .refused(RefusedRecord(run: "web1-x", attempt: 1, reason: .noResources, error: 24))),
    ("message-idle", .idle),
    ("message-retiring", .retiring),
  ]

  @Test func everyGoldenRecordStillReadsAsItDid() throws {
    let golden = try Golden.load("v1")
    for (name, record) in CodecTests.records + CodecTests.laterRecords {
      let bytes = try golden.bytes(name, now: record.framed)
      #expect(RunnerRecord(payload: bytes[8...]) == record, "\(name)")
      #expect(record.framed == bytes, "\(name) is written differently now")
    }
  }

  @Test func everyGoldenMessageStillReadsAsItDid() throws {
    let golden = try Golden.load("v1")
    for (name, order) in CodecTests.orders {
      let bytes = try golden.bytes(name, now: order.framed)
      #expect(RunnerOrder(frame: bytes[4...]) == order, "\(name)")
      #expect(order.framed == bytes, "\(name) is written differently now")
    }
    for (name, message) in CodecTests.messages {
      let bytes = try golden.bytes(name, now: message.framed)
      #expect(RunnerMessage(frame: bytes[4...]) == message, "\(name)")
      #expect(message.framed == bytes, "\(name) is written differently now")
    }
  }

  @Test func fieldsAndKindsFromLaterVersionsArePassedOver() {
    for (_, record) in CodecTests.records {
      var later = TLVWriter()
      later.put(31, [9, 9, 9])
      later.put(200, UInt64(1))
      #expect(RunnerRecord(payload: (record.payload + later.bytes)[...]) == record)
    }
    #expect(RunnerRecord(payload: [99, 1, 0, 0, 0, 0]) == nil)
    #expect(RunnerOrder(frame: [99]) == nil)
    #expect(RunnerMessage(frame: [1]) == nil)
  }

  @Test func framesComeOutWholeHoweverTheyArrive() {
    let bytes = CodecTests.messages.flatMap { $0.1.framed }
    for size in [1, 2, 3, 7, 64, bytes.count] {
      var frames = FrameBuffer()
      var read: [RunnerMessage] = []
      for start in stride(from: 0, to: bytes.count, by: size) {
        frames.append(bytes[start..<min(start + size, bytes.count)])
        while let frame = frames.next() { if let message = RunnerMessage(frame: frame) { read.append(message) } }
      }
      #expect(read == CodecTests.messages.map(\.1))
    }
  }

  @Test(arguments: [[0, 0, 0, 0, 1], [0xFF, 0xFF, 0xFF, 0xFF, 1]] as [[UInt8]])
  func aFrameOfImpossibleLengthBreaksTheStream(bytes: [UInt8]) {
    var frames = FrameBuffer()
    frames.append(bytes)
    #expect(frames.next() == nil)
    #expect(frames.isBroken)
  }

  @Test func cutPayloadsAreRefusedOrReadAsFewerFieldsButNeverCrash() {
    for (_, record) in CodecTests.records {
      for length in 0..<record.payload.count { _ = RunnerRecord(payload: record.payload[..<length]) }
    }
    for (_, message) in CodecTests.messages {
      let frame = message.framed.dropFirst(4)
      for length in 0..<frame.count { _ = RunnerMessage(frame: frame.prefix(length)) }
    }
    // A segment whose number does not end, and one of more than 64 bits.
    #expect(SegmentList(packed: [0, 0x80]) == nil)
    #expect(SegmentList(packed: [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]) == nil)
  }

  @Test func theChecksumIsThatOfZlib() {
    #expect(CRC32.of(Array("123456789".utf8)) == 0xCBF4_3926)
    #expect(CRC32.of([UInt8]()) == 0)
  }

  @Test func neighbouringSegmentsOfOneStreamBecomeOne() {
    var list = SegmentList(offset: 10)
    for (stream, length) in [(OutputStream.stdout, 1), (.stdout, 2), (.stderr, 0), (.stdout, 3), (.stderr, 4)] {
      list.append(Segment(stream, UInt64(length)))
    }
    #expect(list.segments == [Segment(.stdout, 6), Segment(.stderr, 4)])
    #expect(list.end == 20)
    #expect(SegmentList(packed: list.packed[...]) == list)
    list.restart()
    #expect(list == SegmentList(offset: 20))
  }

  @Test func aProcessNameMayHoldAnything() {
    let line = Array("12 (a) b ) (c) S 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 1 1 1".utf8)
    let entry = ProcessEntry(pid: 12, stat: line)
    #expect(entry?.parent == 1 && entry?.group == 2 && entry?.session == 3 && entry?.startTime == 987)
    #expect(ProcessEntry(pid: 12, stat: Array("12 (a".utf8)) == nil)
    #expect(ProcessEntry(pid: 12, stat: Array("12 (a) S 1".utf8)) == nil)
  }
}

/// `Golden/<version>.txt`: a name and hexadecimal bytes on each line. Lines are only ever added.
struct Golden {
  let lines: [String: [UInt8]]

  static func load(_ version: String) throws -> Golden {
    let here = #filePath
    let folder = here.prefix(upTo: here.lastIndex(of: "/") ?? here.startIndex)
    guard let bytes = contents(of: "\(folder)/Golden/\(version).txt") else { throw TestFault("no golden file \(version)") }
    var lines: [String: [UInt8]] = [:]
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let parts = line.split(separator: " ")
      guard parts.count == 2 else { continue }
      let digits = Array(parts[1].utf8)
      lines[String(parts[0])] = stride(from: 0, to: digits.count - 1, by: 2).compactMap {
        UInt8(String(decoding: digits[$0...$0 + 1], as: UTF8.self), radix: 16)
      }
    }
    return Golden(lines: lines)
  }

  func bytes(_ name: String, now: [UInt8]) throws -> [UInt8] {
    if let bytes = lines[name], bytes.count > 4 { return bytes }
    let digits = now.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    throw TestFault("the golden file lacks a line: \(name) \(digits)")
  }
}
