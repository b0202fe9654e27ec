// A run that prints on and on past its host's cap: the store gives up what the host has overwritten, while the run goes on, and says so.
import Foundation
import GRDB
import Shared
import Testing

@testable import Dashboard

@Suite struct PastTheCapTests {
  private let agent = AgentID("web-1")
  private let address = AgentAddress(journal: Nonce(1), incarnation: Nonce(2))

  /// A host that keeps `half` bytes from the beginning and as many of the newest, and ships what it has in slices.
  private struct Host {
    let id: AttemptID
    let half: Int64
    let slice: Int
    var sequence: UInt64 = 0
    var written: Int64 = 0

    static func bytes(_ range: Range<Int64>) -> [UInt8] { range.map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) } }

    /// The next slice; what was overwritten meanwhile is as the ring of an agent has it.
    mutating func print() -> (slice: OutputSlice, bytes: [UInt8]) {
      let start = written
      written += Int64(slice)
      let overwritten = written - 2 * half
      let dropped = overwritten > 0 ? DroppedMiddle(from: half, count: overwritten) : nil
      return (
        OutputSlice(attempt: id, offset: start, segments: [[1, slice - 1], [2, 1]], dropped: dropped), Self.bytes(start..<written)
      )
    }

    /// It has printed so fast that nothing could be shipped, and has ended: what is left of the ring comes, slice by slice.
    func rest(upTo end: Int64) -> [(slice: OutputSlice, bytes: [UInt8])] {
      stride(from: end - half, to: end, by: slice).map { start in
        let dropped = DroppedMiddle(from: half, count: end - 2 * half)
        return (
          OutputSlice(attempt: id, offset: start, segments: [[1, slice]], dropped: dropped),
          Self.bytes(start..<start + Int64(slice))
        )
      }
    }
  }

  private func withRun(_ retries: Retries = .none, _ body: (Store, AttemptID) async throws -> Void) async throws {
    try await withStore { store in
      try await body(
        store, AttemptID(task: try await store.accept(ULIDGenerator().next(), on: agent, retries: retries, sent: true)))
    }
  }

  private func ship(_ store: Store, _ host: inout Host) async throws {
    let (slice, bytes) = host.print()
    try await ship(store, &host.sequence, slice, bytes)
  }

  private func ship(_ store: Store, _ sequence: inout UInt64, _ slice: OutputSlice, _ bytes: [UInt8]) async throws {
    sequence += 1
    let frame = OutputFrame(agent: agent, from: address, sequence: sequence, oldest: 1, slices: [slice], bytes: bytes)
    _ = try await store.write { try FlowReports.apply($0, frame, now: 1) }
  }

  private func end(_ store: Store, _ id: AttemptID, _ verdict: Verdict) async throws {
    try await report(store, ReportEvent(.ended, attempt: id, verdict: verdict))
  }

  private func report(_ store: Store, first: UInt64 = 1, _ event: ReportEvent) async throws {
    let batch = ReportBatch(
      agent: agent, from: address, position: JournalPosition(journal: address.journal, count: 1, nonce: Nonce(1)), first: first,
      oldest: 1, events: [event])
    _ = try await store.write { db in try FlowReports.apply(db, batch, now: 5, deadline: 5) { _ in (nil, false) } }
  }

  private func stored(_ store: Store) async throws -> Int64 {
    try await store.read { try Int64.fetchOne($0, sql: "SELECT coalesce(sum(length(bytes)), 0) FROM output") ?? 0 }
  }

  private func record(_ store: Store, _ id: AttemptID) async throws -> RunRecord {
    let run = RunID(agent: agent, task: id.task)
    return try await store.read { try #require(try RunQueries.find($0, run)) }
  }

  private func log(_ store: Store, _ id: AttemptID, attempt: Int? = nil) async throws -> (run: RunRecord, bytes: [UInt8]) {
    var record = try await record(store, id)
    if let attempt {
      let run = record
      record = try await store.read { try #require(try AttemptQueries.find($0, run, attempt)) }
    }
    let source = try await LogSource(record, in: store, stream: nil)
    return (source.run, try await source.read(from: 0, count: .max >> 1))
  }

  @Test func theStoreStaysWithinAboutTheCapWhileTheCommandGoesOn() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      var host = Host(id: id, half: 1000, slice: 100)
      for number in 1...300 {
        try await ship(store, &host)
        #expect(try await stored(store) <= 3 * host.half + 2 * Int64(host.slice), "after \(number) slices")
        let (run, bytes) = try await log(store, id)
        // Whatever is not in the log is said to be missing, and all that is there stands in its place.
        #expect(Int64(bytes.count) + run.droppedBytes == host.written && run.droppedBytes <= max(0, host.written - 2 * host.half))
        let gap = (run.droppedFrom ?? host.written)..<(run.droppedFrom ?? host.written) + run.droppedBytes
        #expect(bytes == Host.bytes(0..<gap.lowerBound) + Host.bytes(gap.upperBound..<host.written))
      }
      let written = host.written
      try await end(
        store, id,
        Verdict(
          state: .succeeded, exitCode: 0, reason: "output_cap", outputBytes: written, droppedBytes: written - 2000,
          droppedFrom: 1000))
      let (run, bytes) = try await log(store, id)
      #expect(run.isComplete && run.droppedFrom == 1000 && run.droppedBytes == written - 2000)
      #expect(bytes == Host.bytes(0..<1000) + Host.bytes(written - 1000..<written))
      #expect(try await stored(store) == 2000)
    }
  }

  /// Where a lost stream goes on is told by where rows end (`LogFollow.end`).
  @Test func rowsAreNeverCutWhileTheCommandGoesOn() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      // Neither half is a multiple of a slice, but the head ends with one, as a host ships it.
      var host = Host(id: id, half: 10_000, slice: 400)
      for _ in 0..<25 { try await ship(store, &host) }
      var odd = Host(id: id, half: 10_000, slice: 700, sequence: host.sequence, written: host.written)
      for _ in 0..<200 { try await ship(store, &odd) }
      let lengths = try await store.read { db in
        try Row.fetchAll(db, sql: "SELECT offset, length(bytes) FROM output").map { ($0[0] as Int, $0[1] as Int) }
      }
      #expect(lengths.allSatisfy { $0.0 < 10_000 ? $0.1 == 400 : $0.1 == 700 && ($0.0 - 10_000) % 700 == 0 }, "\(lengths)")
    }
  }

  @Test func whatWasNeverShippedIsSaidToBeMissing() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      var host = Host(id: id, half: 1000, slice: 100)
      for _ in 0..<35 { try await ship(store, &host) }
      for (slice, bytes) in host.rest(upTo: 1_000_000) {
        try await ship(store, &host.sequence, slice, bytes)
        let (run, kept) = try await log(store, id)
        #expect(run.droppedFrom == 1000 && run.droppedBytes == 998_000)
        #expect(kept == Host.bytes(0..<1000) + Host.bytes(999_000..<slice.offset + 100))
      }
      #expect(try await stored(store) <= 3 * 1000)
    }
  }

  @Test func whoHasBegunToReadComesToTheEnd() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      // Longer than what is read at once.
      let half = LogObject.smallBytes
      var host = Host(id: id, half: half, slice: 64 * 1024)
      while host.written < 5 * half { try await ship(store, &host) }
      let source = try await LogSource(try await record(store, id), in: store, stream: nil)
      let written = host.written
      #expect(source.total > LogObject.smallBytes)
      while host.written < written + half - 64 * 1024 { try await ship(store, &host) }
      let bytes = try await source.read(from: 0, count: Int(source.total))
      let tail = source.total - half
      #expect(bytes == Host.bytes(0..<half) + Host.bytes(written - tail..<written))
    }
  }

  /// Frames that an agent sends again after a restart, and those of a former process that come late.
  @Test func whatComesAgainOfTheMiddleIsNotWantedAnyMore() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      var host = Host(id: id, half: 10_000, slice: 1000)
      for _ in 0..<100 { try await ship(store, &host) }
      let (before, size) = (try await log(store, id).bytes, try await stored(store))
      var again = Host(id: id, half: 10_000, slice: 1000, sequence: host.sequence)
      for _ in 0..<100 { try await ship(store, &again) }
      #expect(try await log(store, id).bytes == before)
      #expect(try await stored(store) == size)
    }
  }

  /// Its runner was killed: no word tells what its ring had lost.
  @Test func aLostRunKeepsWhatWasSaidToBeMissing() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      var host = Host(id: id, half: 10_000, slice: 1000)
      for _ in 0..<100 { try await ship(store, &host) }
      try await end(store, id, Verdict(state: .lost, reason: "lost", outputBytes: host.written))
      let (run, bytes) = try await log(store, id)
      #expect(run.state == .lost && run.droppedFrom == 10_000 && run.droppedBytes == 80_000)
      #expect(bytes == Host.bytes(0..<10_000) + Host.bytes(90_000..<100_000))
      #expect(try await stored(store) == 20_000)
    }
  }

  @Test func eachAttemptHasAMiddleOfItsOwn() async throws {
    try await withRun(Retries(count: 2)) { (store: Store, id: AttemptID) async throws -> Void in
      var host = Host(id: id, half: 1000, slice: 100)
      for _ in 0..<100 { try await ship(store, &host) }
      try await end(
        store, id, Verdict(state: .failed, exitCode: 1, outputBytes: 10_000, droppedBytes: 8000, droppedFrom: 1000))
      var second = Host(id: AttemptID(task: id.task, attempt: 2), half: 1000, slice: 100, sequence: host.sequence)
      for _ in 0..<50 { try await ship(store, &second) }
      #expect(try await log(store, id).run.droppedBytes == 3000)
      #expect(try await log(store, id).bytes == Host.bytes(0..<1000) + Host.bytes(4000..<5000))
      #expect(try await log(store, id, attempt: 1).bytes == Host.bytes(0..<1000) + Host.bytes(9000..<10_000))
      // In a restored store the third one's output comes before any word about it.
      var third = Host(id: AttemptID(task: id.task, attempt: 3), half: 1000, slice: 100, sequence: second.sequence)
      for _ in 0..<60 { try await ship(store, &third) }
      try await report(store, first: 2, ReportEvent(.running, attempt: third.id, startedAt: 77))
      for _ in 0..<10 { try await ship(store, &third) }
      #expect(try await log(store, id).run.droppedBytes == 5000)
      #expect(try await log(store, id).bytes == Host.bytes(0..<1000) + Host.bytes(6000..<7000))
      #expect(try await log(store, id, attempt: 2).run.droppedBytes == 3000)
    }
  }

  /// Numbers that no output can have, from whoever may write to Redis.
  @Test func aMiddleThatCannotBeIsNone() async throws {
    try await withRun { (store: Store, id: AttemptID) async throws -> Void in
      let text = Array("0123456789".utf8)
      var sequence: UInt64 = 0
      for (from, count) in [(-1, 5), (0, 0), (3, -1), (.max, 1), (1, .max), (.min, .min)] as [(Int64, Int64)] {
        sequence += 1
        let slice = OutputSlice(
          attempt: id, offset: 0, segments: [[1, 10]], dropped: DroppedMiddle(from: from, count: count))
        let frame = OutputFrame(agent: agent, from: address, sequence: sequence, oldest: 1, slices: [slice], bytes: text)
        _ = try await store.write { try FlowReports.apply($0, frame, now: 1) }
      }
      let (run, bytes) = try await log(store, id)
      #expect(bytes == text && run.droppedBytes == 0)
      try await end(store, id, Verdict(state: .succeeded, outputBytes: 10, droppedBytes: .max, droppedFrom: .max))
      #expect(try await log(store, id).bytes == text)
    }
  }
}
