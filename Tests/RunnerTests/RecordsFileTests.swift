// Reading a records file as a crash, a bit error or a writer at work may leave it.

import Glibc
import Testing

@testable import Runner

struct RecordsFileTests {
  static let records = CodecTests.records.map(\.1)
  static let bytes = RunnerRecord.magic + records.flatMap(\.framed)

  static func write(_ bytes: [UInt8], to path: String) throws {
    guard let file = Descriptor(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)) else { throw TestFault("open \(errno)") }
    bytes.withUnsafeBytes { _ = Glibc.write(file.raw, $0.baseAddress, $0.count) }
  }

  @Test func aFileCutAnywhereGivesEveryWholeRecordAndNoFault() throws {
    let folder = try TestFolder()
    let path = "\(folder.path)/r"
    var ends = [RunnerRecord.magic.count]
    for record in RecordsFileTests.records { ends.append((ends.last ?? 0) + record.framed.count) }
    for length in 0...RecordsFileTests.bytes.count {
      try RecordsFileTests.write(Array(RecordsFileTests.bytes[..<length]), to: path)
      var reader = RecordsReader(path: Array(path.utf8))
      let read = reader.rest()
      #expect(read.records == Array(RecordsFileTests.records.prefix(max(0, ends.count { $0 <= length } - 1))))
      #expect(read.damaged == 0 && read.errno == 0)
      #expect(read.torn == !(length == 0 || ends.contains(length)))
      guard length % 7 == 0 else { continue }
      // The rest arrives: reading goes on from where it stopped, also in another reader.
      let offset = reader.offset
      try RecordsFileTests.write(RecordsFileTests.bytes, to: path)
      var later = RecordsReader(path: Array(path.utf8), offset: offset)
      #expect(read.records + reader.rest().records == RecordsFileTests.records)
      #expect(read.records + later.rest().records == RecordsFileTests.records)
    }
  }

  @Test func aFlippedByteCostsOnlyTheRecordItIsIn() throws {
    let folder = try TestFolder()
    let path = "\(folder.path)/r"
    // Also in the first bytes of the file, which belong to no record.
    let first = RunnerRecord.magic.count
    for position in stride(from: 0, to: RecordsFileTests.bytes.count, by: 3) {
      var bytes = RecordsFileTests.bytes
      bytes[position] ^= 0x41
      try RecordsFileTests.write(bytes, to: path)
      var reader = RecordsReader(path: Array(path.utf8))
      let read = reader.rest()
      #expect(read.records.count == RecordsFileTests.records.count - (position < first ? 0 : 1), "byte \(position)")
      #expect(read.records.allSatisfy { RecordsFileTests.records.contains($0) })
      #expect(read.damaged > 0 || read.torn)
    }
  }

  @Test func aFileThatIsNoneIsSaidToBeNone() throws {
    let folder = try TestFolder()
    let path = "\(folder.path)/r"
    try RecordsFileTests.write(Array("something else".utf8), to: path)
    var reader = RecordsReader(path: Array(path.utf8))
    #expect(reader.next() == .failed(errno: EBADMSG))
    var missing = RecordsReader(path: Array("\(folder.path)/none".utf8))
    #expect(missing.next() == .failed(errno: ENOENT))
  }

  @Test func recordsLargerThanTheReadersBufferAreRead() throws {
    let folder = try TestFolder()
    let path = "\(folder.path)/r"
    var list = SegmentList(offset: 0)
    for index in 0..<200_000 { list.append(Segment(index % 2 == 0 ? .stdout : .stderr, 1)) }
    let records: [RunnerRecord] = [.segments(list), RecordsFileTests.records[0], .segments(list)]
    try RecordsFileTests.write(RunnerRecord.magic + records.flatMap(\.framed), to: path)
    var reader = RecordsReader(path: Array(path.utf8))
    #expect(reader.rest().records == records)
  }

  @Test func recordsOfALaterVersionArePassedOverHoweverManyThereAre() async throws {
    // As small as the stack of the agent's threads.
    try await onThread(stack: 512 * 1024) {
      let folder = try TestFolder()
      let path = "\(folder.path)/r"
      let later = Array(repeatElement(RunnerRecord.framed(payload: [250]), count: 20_000).joined())
      let (first, last) = (RecordsFileTests.records[0], RunnerRecord.exit(CodecTests.exit))
      try RecordsFileTests.write(RunnerRecord.magic + first.framed + later + last.framed, to: path)
      var reader = RecordsReader(path: Array(path.utf8))
      #expect(reader.rest().records == [first, last])
    }
  }

  @Test func aReaderFollowsAWriterThroughRotation() throws {
    let folder = try TestFolder()
    let path = Array("\(folder.path)/r".utf8)
    let process = CodecTests.process
    let writer = try RecordsWriter(path: path, process: process)
    var reader = RecordsReader(path: path)
    for record in RecordsFileTests.records.dropFirst() {
      #expect(writer.append(record) == 0)
      let read = reader.rest().records.filter { if case .opened = $0 { false } else { true } }
      #expect(read == [record])
    }
    #expect(!writer.rotateIfLarge())
    #expect(writer.rotateIfLarge(threshold: 10))
    #expect(writer.path == path + Array(".2".utf8))
    #expect(writer.append(.exit(CodecTests.exit)) == 0)
    var second = RecordsReader(path: writer.path)
    let records = second.rest().records
    guard case .opened(let opened) = records.first else { throw TestFault("no first record") }
    #expect(opened.process == process)
    #expect(records.dropFirst() == [.exit(CodecTests.exit)])
    #expect(throws: RunnerFault.self) { try RecordsWriter(path: path, process: process) }
  }
}
