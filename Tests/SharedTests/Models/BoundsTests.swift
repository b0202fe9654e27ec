// Numbers and names that no program of ours writes, in every message that comes over Redis: a message is refused by its typed error, an event is
// passed over, and nothing else is held up. Before there were bounds each of these was a crash, or silence for a part of the fleet.
import Testing

@testable import Shared

@Suite struct BoundsTests {
  /// As they stand in JSON. The last three are no whole numbers of 64 bits.
  private static let extremes = [
    "-9223372036854775808", "-1", "9007199254740992", "9223372036854775807", "9223372036854775808", "1e308", "0.5",
  ]
  private static let noNames = ["", " ", "a b", "all", "}x{", "a/b", "é", #"a\u0000"#, String(repeating: "a", count: 65)]
  private let id = AttemptID(task: Samples.task)

  /// The message with a text of its header changed.
  private func changed(_ bytes: [UInt8], _ was: String, _ new: String) throws -> [UInt8] {
    let frame = try Frame(bytes: bytes)
    let text = String(decoding: frame.header, as: UTF8.self)
    try #require(text.contains(was), "\(was) is not in \(text)")
    return Frame(kind: frame.kind, header: Array(text.replacing(was, with: new).utf8), body: frame.body).bytes
  }

  private func expectRefused(_ what: String, _ read: () throws -> Void, _ place: SourceLocation = #_sourceLocation) {
    #expect(throws: FrameFault.self, "\(what)", sourceLocation: place) { try read() }
  }

  @Test func aProtocolThatIsFarAwayIsRefusedHoweverFar() throws {
    for number in [Int.min, Int.min + 1, -1, Protocol.version + 2, Int.max] { #expect(!Protocol.speaks(number), "\(number)") }
    let far = try changed(Samples.report.encoded(), #""protocol":1,"agent""#, #""protocol":-9223372036854775808,"agent""#)
    let fault = #expect(throws: FrameFault.self) { try ReportBatch(bytes: far) }
    #expect(fault?.isForeign == true)
  }

  @Test func aSequenceBeyondItsBoundsIsRefused() throws {
    for extreme in Self.extremes {
      for (was, new) in [
        (#""first":4"#, #""first":\#(extreme)"#), (#""oldest":2"#, #""oldest":\#(extreme)"#),
        (#""count":9"#, #""count":\#(extreme)"#),
      ] {
        let bytes = try changed(Samples.report.encoded(), was, new)
        expectRefused(new) { _ = try ReportBatch(bytes: bytes) }
      }
      for (was, new) in [(#""sequence":12"#, #""sequence":\#(extreme)"#), (#""oldest":11"#, #""oldest":\#(extreme)"#)] {
        let bytes = try changed(Samples.output.encoded(), was, new)
        expectRefused(new) { _ = try OutputFrame(bytes: bytes) }
      }
    }
  }

  /// In a Cluster one agent without a name spoilt every call about those beside it.
  @Test func whoHasNoNameIsNotHeard() throws {
    for name in Self.noNames {
      let (was, new) = (#""agent":"web-1""#, #""agent":"\#(name)""#)
      let report = try changed(Samples.report.encoded(), was, new)
      let output = try changed(Samples.output.encoded(), was, new)
      let envelope = try changed(Samples.envelope.encoded(), was, new)
      expectRefused("report of '\(name)'") { _ = try ReportBatch(bytes: report) }
      expectRefused("output of '\(name)'") { _ = try OutputFrame(bytes: output) }
      expectRefused("envelope for '\(name)'") { _ = try InboxEntry(bytes: envelope) }
    }
  }

  @Test func anEventThatNobodyCanHaveMeantIsPassedOverAndNoOtherOne() throws {
    let hello = 0
    let ended = 3
    var cases: [(event: Int, was: String, new: String)] = Self.noNames.map { (hello, #"["web","#, #"["\#($0)","#) }
    for extreme in Self.extremes {
      cases += [
        (hello, #""concurrency":4"#, #""concurrency":\#(extreme)"#), (hello, #""sends":12884901895"#, #""sends":\#(extreme)"#),
        (ended, #""outputBytes":100"#, #""outputBytes":\#(extreme)"#),
        (ended, #""droppedBytes":40"#, #""droppedBytes":\#(extreme)"#),
        (ended, #""droppedFrom":30"#, #""droppedFrom":\#(extreme)"#),
      ]
    }
    for (event, was, new) in cases {
      let read = try ReportBatch(bytes: changed(Samples.report.encoded(), was, new))
      var expected = Samples.report
      expected.events[event] = ReportEvent(.unrecognised, tail: Samples.report.events[event].tail)
      #expect(read.events == expected.events && read.tails == expected.tails, "\(new)")
      #expect(read.passedOver.count == 1, "\(read.passedOver)")
    }
  }

  /// Offsets and segments of three bytes that are none.
  private static let noSlices: [(offset: String, segments: String)] =
    extremes.map { ($0, "[[1,1],[2,2]]") } + extremes.map { ("0", "[[1,\($0)],[2,2]]") } + extremes.map { ("0", "[[\($0),3]]") }
    + [
      "[[1,9223372036854775807],[1,1]]", "[[1,2147483648]]", "[[1,-1],[1,4]]", "[[0,3]]", "[[3,3]]", "[[1]]", "[[1,1,1]]", "[3]",
    ].map {
      ("0", $0)
    }

  @Test func outputThatIsNoneIsRefused() throws {
    for (offset, segments) in Self.noSlices {
      let bytes = try changed(
        Samples.output.encoded(), #""offset":5,"segments":[[1,2],[2,1]]"#, #""offset":\#(offset),"segments":\#(segments)"#)
      expectRefused("\(offset), \(segments)") { _ = try OutputFrame(bytes: bytes) }
    }
    for (from, count) in [(.min, 1), (-1, 1), (1 << 53, 1), (.max, .max), (1, .min), (1, -1), (1, .max)] as [(Int64, Int64)] {
      var frame = Samples.output
      frame.slices[0].dropped = DroppedMiddle(from: from, count: count)
      let bytes = try frame.encoded()
      expectRefused("\(from)+\(count)") { _ = try OutputFrame(bytes: bytes) }
    }
  }

  /// Where its bytes end is not known, so those behind it are nobody's: that costs output, and no verdict but at most its own.
  @Test func outputOfAnEventThatIsNoneIsPassedOverWithAllThatFollows() throws {
    var batch = Samples.report
    let tail = OutputSlice(attempt: id, offset: 0, segments: [[1, 3]])
    batch.events.append(ReportEvent(.ended, attempt: id, verdict: Verdict(state: .succeeded), tail: tail))
    for (offset, segments) in Self.noSlices {
      let read = try ReportBatch(
        bytes: changed(
          batch.encoded(), #""offset":97,"segments":[[1,1],[2,2]]"#, #""offset":\#(offset),"segments":\#(segments)"#))
      #expect(read.events[3].verdict == Samples.verdict || read.events[3].kind == .unrecognised, "\(offset), \(segments)")
      #expect(read.events.last?.verdict?.state == .succeeded)
      #expect(
        read.events.allSatisfy { $0.tail == nil } && read.passedOver.count == 1, "\(offset), \(segments): \(read.passedOver)")
    }
  }

  @Test func anEnvelopeOrAMessageWithANumberThatNobodyGaveOutIsRefused() throws {
    for extreme in Self.extremes {
      let envelope = try changed(Samples.envelope.encoded(), #""number":12884901895"#, #""number":\#(extreme)"#)
      let message = try changed(Samples.control.encoded(), #""number":12884901896"#, #""number":\#(extreme)"#)
      expectRefused("envelope \(extreme)") { _ = try InboxEntry(bytes: envelope) }
      expectRefused("message \(extreme)") { _ = try ControlMessage(bytes: message) }
    }
    // An agent that believed it would hear no dashboard any more.
    for fence in Self.extremes + ["2097152"] {
      let message = try changed(Samples.control.encoded(), #""fence":3"#, #""fence":\#(fence)"#)
      expectRefused("fence \(fence)") { _ = try ControlMessage(bytes: message) }
    }
  }

  @Test func aNumberFromRedisIsOneOfOursOrNone() {
    for text in Self.extremes + ["", "x", " 1", "9007199254740993"] {
      #expect(SendNumber(text) == nil && Fences.read(text) == nil, "'\(text)'")
    }
    #expect(SendNumber("9007199254740991") == SendNumber(fence: 1 << 21 - 1, count: 0xffff_ffff) && SendNumber("0") == .zero)
    #expect(Fences.read("2097151") == 1 << 21 - 1 && Fences.read("2097152") == nil)
    for text in ["-9223372036854775808", "9223372036854775807", "9007199254740992", "-9007199254740992", "", "x", "1.5"] {
      #expect(DeadlineClock.ahead(text) == nil, "'\(text)'")
    }
    #expect(["0", "-18000000", "9007199254740991"].map { DeadlineClock.ahead($0) } == [0, -18_000_000, 9_007_199_254_740_991])
  }

  /// Whatever it learned, a store has numbers left that Lua compares exactly.
  @Test func aSendNumberInTheUpperHalfIsNotLearned() {
    for raw in [1 << 52, 1 << 53 - 1, 1 << 53, Int64.max, -1, .min] {
      var agent = AgentKnowledge(number: SendNumber(fence: 2))
      let (learned, restored) = (agent.learns(SendNumber(raw: raw)), agent.compares(SendNumber(raw: raw), under: 3))
      #expect(!learned && !restored && agent.number == SendNumber(fence: 3), "\(raw)")
    }
    var agent = AgentKnowledge(number: SendNumber(fence: 2))
    let learned = agent.learns(SendNumber(raw: 1 << 52 - 1))
    #expect(learned, "its fence is above the present one: Redis forgot that, and the store is a copy")
    let mark = agent.nextMark()
    #expect(mark.number == SendNumber(raw: 1 << 52))
  }

  /// Each attempt up to the highest known of a run is looked for on the host's disk.
  @Test func anAttemptsNumberHasOneTextAndEnds() {
    let task = Samples.task.description
    for number in ["", "0", "1", "+2", "02", " 2", "-1", "102", "4294967298", "9223372036854775807", "9223372036854775808"] {
      #expect(AttemptID("\(task).\(number)") == nil, "\(number)")
    }
    #expect(AttemptID("\(task).101") == AttemptID(task: Samples.task, attempt: AttemptID.most))
  }

  /// A tombstone with any other verdict waited for one in Redis that nobody wrote, for ever, and everybody behind it waited as well.
  @Test(arguments: RunState.allCases)
  func aTombstoneIsHeardOfWhatWasCancelledOrHasExpiredAndOfNothingElse(state: RunState) {
    let word = AgentWord(ReportEvent(.ended, attempt: id, verdict: Verdict(state: state), tombstone: true))
    switch state {
    case .cancelled: #expect(word == .tombstone(.cancelled))
    case .expired: #expect(word == .tombstone(.expired))
    default: #expect(word == nil)
    }
    let plain = AgentWord(ReportEvent(.ended, attempt: id, verdict: Verdict(state: state)))
    #expect(plain == (state.isVerdict ? .ended(state) : nil))
  }
}
