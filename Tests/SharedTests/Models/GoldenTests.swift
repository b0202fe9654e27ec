// Formats that outlive a version: what stands in Tests/SharedTests/Golden was written by earlier versions, and every later one must read it.
// A new format version gets new files beside the old ones; these are never written again. (To make files for a new format:
// MUSTER_WRITE_GOLDEN=1 swift test --filter GoldenTests writes those that are missing.)
import Foundation
import Testing

@testable import Shared

enum Samples {
  static let agent = AgentID("web-1")
  static let task = ULID("01ARZ3NDEKTSV4RRFFQ69G5FAV")!
  static let address = AgentAddress(journal: Nonce(0x1122_3344_5566_7788), incarnation: Nonce(0x99aa_bbcc_ddee_ff00))
  static let envelope = Envelope(
    agent: agent, journal: address.journal, task: task, attempt: 2, number: SendNumber(fence: 3, count: 7),
    spec: TaskSpec(
      taskname: "deploy é", args: ["-v", ""], env: ["A": "b"], cwd: "/tmp", stdin: Base64Bytes([0, 255, 10]), timeout: 1.5),
    startBefore: 1_700_000_000_123)
  static let control = ControlMessage(
    .cancel, to: address, fence: 3, number: SendNumber(fence: 3, count: 8),
    attempts: [AttemptID(task: task), AttemptID(task: task, attempt: 2)], cause: .expired, signal: "INT", grace: 2)
  static let verdict = Verdict(
    state: .failed, exitCode: 3, reason: "output_cap", note: "a note", startedAt: 1_700_000_000_000,
    finishedAt: 1_700_000_001_000,
    outputBytes: 100, droppedBytes: 40, droppedFrom: 30, stdoutSha256: "aa", stderrSha256: "bb", signalled: 2, left: 1)
  static let report = ReportBatch(
    agent: agent, from: address, position: JournalPosition(journal: address.journal, count: 9, nonce: Nonce(5)), first: 4,
    oldest: 2,
    events: [
      ReportEvent(
        .hello,
        hello: Hello(
          projects: ["web", "all-of-them"], hostname: "h", address: "10.0.0.1", version: "1.0.0", os: "Debian", arch: "x86_64",
          startedAt: 1_700_000_000_000, concurrency: 4, httpPort: nil, sends: SendNumber(fence: 3, count: 7))),
      ReportEvent(
        .taken, attempt: AttemptID(task: task),
        plain: PlainTask(name: Array("n".utf8), command: [0xff, 0], takenAt: 1_700_000_000_000)),
      ReportEvent(.running, attempt: AttemptID(task: task), startedAt: 1_700_000_000_000),
      ReportEvent(
        .ended, attempt: AttemptID(task: task), verdict: verdict,
        tail: OutputSlice(attempt: AttemptID(task: task), offset: 97, segments: [[1, 1], [2, 2]])),
      ReportEvent(.ended, attempt: AttemptID(task: task, attempt: 3), verdict: Verdict(state: .cancelled), tombstone: true),
      ReportEvent(.unknown, attempt: AttemptID(task: task)), ReportEvent(.bye),
    ], tails: [0, 0xff, 0x0a])
  /// Since the first release `running` may carry a deadline.
  static let reportWithDeadline = ReportBatch(
    agent: agent, from: address, position: JournalPosition(journal: address.journal, count: 9, nonce: Nonce(5)), first: 4,
    oldest: 2,
    events: [
      ReportEvent(
        .running, attempt: AttemptID(task: task), startedAt: 1_700_000_000_000, deadline: 1_700_000_001_500)
    ])
  static let output = OutputFrame(
    agent: agent, from: address, sequence: 12, oldest: 11,
    slices: [OutputSlice(attempt: AttemptID(task: task), offset: 5, segments: [[1, 2], [2, 1]])], bytes: [0, 0xff, 0x0a])
  /// Since the first release a slice may say what was overwritten.
  static let outputPastItsCap = OutputFrame(
    agent: agent, from: address, sequence: 12, oldest: 11,
    slices: [
      OutputSlice(
        attempt: AttemptID(task: task), offset: 95, segments: [[1, 2], [2, 1]], dropped: DroppedMiddle(from: 16, count: 64))
    ], bytes: [0, 0xff, 0x0a])
}

@Suite struct GoldenTests {
  private func golden(_ name: String, _ present: [UInt8]) throws -> [UInt8] {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent(
      "Golden/\(name)")
    if ProcessInfo.processInfo.environment["MUSTER_WRITE_GOLDEN"] != nil, !FileManager.default.fileExists(atPath: url.path) {
      try Data(present).write(to: url)
    }
    return Array(try Data(contentsOf: url))
  }

  @Test func envelopesOfVersion1AreRead() throws {
    let bytes = try golden("envelope.v1", try Samples.envelope.encoded())
    #expect(try InboxEntry(bytes: bytes) == .envelope(Samples.envelope))
  }

  @Test func plainEntriesOfVersion1AreRead() throws {
    let bytes = try golden("plain.v1", Array("M1P000000004a \u{e9}echo \u{0}hi".utf8))
    #expect(try InboxEntry(bytes: bytes) == .plain(name: Array("a \u{e9}".utf8), command: Array("echo \u{0}hi".utf8)))
  }

  @Test func controlMessagesOfVersion1AreRead() throws {
    #expect(try ControlMessage(bytes: try golden("control.v1", try Samples.control.encoded())) == Samples.control)
  }

  @Test func reportsOfVersion1AreRead() throws {
    #expect(try ReportBatch(bytes: try golden("report.v1", try Samples.report.encoded())) == Samples.report)
  }

  @Test func reportsWithADeadlineAreReadAlsoByWhoDoesNotKnowIt() throws {
    let bytes = try golden("report-deadline.v1", try Samples.reportWithDeadline.encoded())
    #expect(try ReportBatch(bytes: bytes) == Samples.reportWithDeadline)
    // An older program sees a field that it does not know: it reads the rest.
    let text = String(decoding: try Frame(bytes: bytes).header, as: UTF8.self)
    let unknown = text.replacingOccurrences(of: "\"deadline\"", with: "\"fromLater\"")
    #expect(unknown != text)
    let read = try ReportBatch(bytes: Frame(kind: .report, header: Array(unknown.utf8)).bytes)
    #expect(read.events[0].deadline == nil && read.events[0].startedAt == 1_700_000_000_000)
  }

  @Test func outputOfVersion1IsRead() throws {
    #expect(try OutputFrame(bytes: try golden("output.v1", try Samples.output.encoded())) == Samples.output)
  }

  @Test func outputPastItsCapIsReadAlsoByWhoDoesNotKnowThat() throws {
    let bytes = try golden("output-dropped.v1", try Samples.outputPastItsCap.encoded())
    #expect(try OutputFrame(bytes: bytes) == Samples.outputPastItsCap)
    let frame = try Frame(bytes: bytes)
    let unknown = String(decoding: frame.header, as: UTF8.self).replacingOccurrences(of: "\"dropped\"", with: "\"fromLater\"")
    let read = try OutputFrame(bytes: Frame(kind: .output, header: Array(unknown.utf8), body: frame.body).bytes)
    #expect(read.slices[0].dropped == nil && read.slices[0].offset == 95 && read.bytes == [0, 0xff, 0x0a])
  }

  @Test func fieldsOfLaterVersionsAreIgnored() throws {
    var frame = try Frame(bytes: try Samples.envelope.encoded())
    #expect(frame.header.first == UInt8(ascii: "{"))
    frame.header.insert(contentsOf: #""retries":3,"sealed":{"a":[1]},"#.utf8, at: 1)
    #expect(try InboxEntry(bytes: frame.bytes) == .envelope(Samples.envelope))
  }

  @Test func everyCutAndEveryFlippedHeaderByteIsAFaultOrAnotherValueButNeverACrash() throws {
    let bytes = try Samples.report.encoded()
    for length in 0..<bytes.count - Samples.report.tails.count {
      #expect(throws: FrameFault.self) { try ReportBatch(bytes: Array(bytes[..<length])) }
    }
    for index in bytes.indices {
      for bit in [0x01, 0x80] as [UInt8] {
        var flipped = bytes
        flipped[index] ^= bit
        _ = try? ReportBatch(bytes: flipped)
      }
    }
  }

  @Test func aNewerFormatAndAnUnknownSchemeAreNamed() throws {
    var bytes = try Samples.control.encoded()
    bytes[1] = UInt8(ascii: "2")
    #expect(throws: FrameFault("format version '2', this program reads '1'")) { try Frame(bytes: bytes) }
    bytes[1] = UInt8(ascii: "1")
    bytes[3] = UInt8(ascii: "7")
    #expect(throws: FrameFault("signature scheme '7' is not known here")) { try Frame(bytes: bytes) }
  }
}

@Suite struct IdentityTests {
  @Test func aRunsIdIsTheAgentsNameAndTheTasks() {
    let run = RunID(agent: AgentID("a-b.c_1"), task: Samples.task)
    #expect(run.description == "a-b.c_1-01ARZ3NDEKTSV4RRFFQ69G5FAV")
    #expect(RunID(run.description) == run)
    #expect(RunID("01ARZ3NDEKTSV4RRFFQ69G5FAV") == nil)
    #expect(RunID("-01ARZ3NDEKTSV4RRFFQ69G5FAV") == nil)
    #expect(RunID("web-nonsense") == nil)
  }

  @Test func attemptsAfterTheFirstCarryTheirNumber() {
    #expect(AttemptID(task: Samples.task).description == "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    #expect(AttemptID("01ARZ3NDEKTSV4RRFFQ69G5FAV.2") == AttemptID(task: Samples.task, attempt: 2))
    #expect(AttemptID("01ARZ3NDEKTSV4RRFFQ69G5FAV.1") == nil)
    #expect(AttemptID("x") == nil)
  }

  @Test func textFormsComeBack() {
    #expect(Nonce("00000000000000ff")?.description == "00000000000000ff")
    #expect(Nonce("ff") == nil)
    let position = JournalPosition(journal: Nonce(1), count: 77, nonce: Nonce(3))
    #expect(JournalPosition(position.description) == position)
    #expect(AgentAddress(Samples.address.description) == Samples.address)
    let acknowledgement = Acknowledgement(incarnation: Nonce(9), reports: 4, output: 5)
    #expect(Acknowledgement(acknowledgement.description) == acknowledgement)
  }

  @Test func aSendNumberGrowsWithItsFenceFirst() {
    #expect(SendNumber(fence: 2, count: 0) > SendNumber(fence: 1, count: 4_000_000_000))
    #expect(SendNumber(fence: 2, count: 1).next == SendNumber(fence: 2, count: 2))
    #expect(SendNumber(fence: 1 << 20, count: 0).raw < 1 << 53)
  }

  @Test func base64IsCanonical() {
    for length in 0...70 {
      let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 200) }
      #expect(Base64.decode(Base64.encode(bytes)) == bytes)
    }
    #expect(Base64.encode(Array("foobar".utf8)) == "Zm9vYmFy")
    for bad in ["Zg=", "Zg", "Zh==", "Z===", "Zg==Zg==", "Z g=", "Zg\n="] { #expect(Base64.decode(bad) == nil, "\(bad)") }
  }
}
