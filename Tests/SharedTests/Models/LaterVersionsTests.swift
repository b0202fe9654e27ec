// What a later version may say to this one: fields, events and messages that it does not know, and protocols that are too far apart.

import Testing

@testable import Shared

@Suite struct LaterVersionsTests {
  /// The sample with its header changed as text.
  private func changed(_ bytes: [UInt8], _ kind: Frame.Kind, _ change: (String) -> String) throws -> [UInt8] {
    let frame = try Frame(bytes: bytes)
    let text = change(String(decoding: frame.header, as: UTF8.self))
    return Frame(kind: kind, header: Array(text.utf8), body: frame.body).bytes
  }

  @Test func fieldsThatAreNotKnownArePassedOver() throws {
    let more = #"{"later":{"a":[1,null]},"#
    let open = { (text: String) in more + text.dropFirst() }
    #expect(
      try InboxEntry(bytes: changed(Samples.envelope.encoded(), .envelope, open)) == .envelope(Samples.envelope))
    #expect(try ControlMessage(bytes: changed(Samples.control.encoded(), .control, open)) == Samples.control)
    #expect(try ReportBatch(bytes: changed(Samples.report.encoded(), .report, open)) == Samples.report)
    #expect(try OutputFrame(bytes: changed(Samples.output.encoded(), .output, open)) == Samples.output)
  }

  @Test func anEventOfALaterVersionHoldsUpNoOtherAndItsOutputIsNotTakenForTheNextOnes() throws {
    let task = AttemptID(task: Samples.task)
    let slice = { (offset: Int64, length: Int) in OutputSlice(attempt: task, offset: offset, segments: [[1, length]]) }
    var batch = Samples.report
    batch.events = [
      ReportEvent(.taken, attempt: task), ReportEvent(.running, attempt: task, tail: slice(0, 2)),
      ReportEvent(.ended, attempt: task, verdict: Verdict(state: .failed), tail: slice(2, 3)),
    ]
    batch.tails = Array("aabbb".utf8)
    let bytes = try changed(try batch.encoded(), .report) { text in
      text.replacing(#""kind":"taken""#, with: #""kind":"paused""#).replacing(#""kind":"running""#, with: #""kind":["x"]"#)
    }
    let read = try ReportBatch(bytes: bytes)
    #expect(read.events.map(\.kind) == [.unrecognised, .unrecognised, .ended])
    #expect(read.events[1].tail?.length == 2)
    #expect(read.events[2] == batch.events[2])
    #expect(read.tails == batch.tails)
    // A verdict of a kind that is not known is not taken for another one either.
    let state = try changed(try batch.encoded(), .report) { $0.replacing(#""state":"failed""#, with: #""state":"frozen""#) }
    #expect(try ReportBatch(bytes: state).events.map(\.kind) == [.taken, .running, .unrecognised])
  }

  @Test func aControlMessageOfALaterVersionIsPassedOverAndAnEndForALaterReasonIsAnEnd() throws {
    let pause = try changed(Samples.control.encoded(), .control) { $0.replacing(#""kind":"cancel""#, with: #""kind":"pause""#) }
    #expect(try ControlMessage(bytes: pause).kind == .unrecognised)
    let cause = try changed(Samples.control.encoded(), .control) {
      $0.replacing(#""cause":"expired""#, with: #""cause":"tired""#)
    }
    #expect(try ControlMessage(bytes: cause).cause == .cancelled)
  }

  /// Rule `versions`.
  @Test func whatIsOneVersionApartIsUnderstoodAndWhatIsTwoApartIsRefusedInWords() throws {
    let own = Protocol.version
    for apart in [-1, 0, 1] { #expect(Protocol.speaks(own + apart)) }
    for apart in [-2, 2] { #expect(!Protocol.speaks(own + apart)) }
    for (number, isForeign) in [(own + 1, false), (own + 2, true)] {
      let marked = { (text: String) in
        #"{"protocol":\#(number),"# + text.replacing(#""protocol":null,"#, with: "").dropFirst()
      }
      let entry = Result { try InboxEntry(bytes: changed(Samples.envelope.encoded(), .envelope, marked)) }
      let message = Result { try ControlMessage(bytes: changed(Samples.control.encoded(), .control, marked)) }
      let report = Result {
        try ReportBatch(
          bytes: changed(Samples.report.encoded(), .report) {
            $0.replacing(#""protocol":\#(own),"agent""#, with: #""protocol":\#(number),"agent""#)
          })
      }
      let faults = [fault(entry), fault(message), fault(report)]
      #expect(faults.map { $0 != nil } == [isForeign, isForeign, isForeign], "\(faults)")
      for fault in faults.compactMap({ $0 }) {
        #expect(fault.isForeign)
        #expect(fault.reason.contains("speaks protocol \(number), this program \(own)"), "\(fault)")
      }
    }
  }

  private func fault<Value>(_ result: Result<Value, any Error>) -> FrameFault? {
    if case .failure(let error) = result { error as? FrameFault } else { nil }
  }
}
