// A small journal with a bit of everything, each of its bytes changed and each of its lengths cut: it opens, nothing that it still holds is
// given up, and whatever it may lack is not started again, because it says that it lacks something.

import Glibc
import Runner
import Shared
import Testing

@testable import Agent

@Suite struct JournalDamageTests {
  private let scratch = ScratchFolder(inMemory: true)

  private struct Sound {
    var bytes: [UInt8]
    var contents: JournalContents
    var position: JournalPosition
    var identity: JournalID
  }

  private func sound(_ path: String) throws -> Sound {
    let ids = ULIDGenerator()
    let journal = try Journal.open(path).journal
    func fresh() -> AttemptID { AttemptID(task: ids.next()) }
    func taken(_ id: AttemptID) -> JournalRecord {
      .taken(id, entry: [1, 2, 3], number: SendNumber(raw: 7), wallMilliseconds: 5)
    }
    let (done, running, waiting, tomb, parked) = (fresh(), fresh(), fresh(), fresh(), fresh())
    func handOff(_ id: AttemptID) -> JournalRecord {
      .handedOff(id, records: Array("/r".utf8), runner: ProcessIdentity(pid: 1, startTime: 2, bootID: "b"), start: 3)
    }
    func ended(_ id: AttemptID) -> JournalRecord {
      .ended(id, .init(verdict: Verdict(state: .succeeded, exitCode: 0), plain: nil))
    }
    try journal.append([
      .opened(Nonce(5), bootID: "b"), taken(done), handOff(done), ended(done), .acknowledged(done), .hour(1), taken(running),
      handOff(running), taken(parked), handOff(parked), ended(parked), .parked(parked, records: [47], start: 1),
      .tombstone(tomb, .expired, number: SendNumber(raw: 9), wallMilliseconds: 3), taken(waiting),
    ])
    let position = try journal.syncNow()
    return Sound(
      bytes: try Files.read(path), contents: try Journal.open(path).contents, position: position, identity: journal.identity)
  }

  /// Whether the agent may trust this journal with every start: it knows all that the sound one knew.
  private func knowsAll(_ contents: JournalContents, _ sound: Sound) -> Bool {
    contents.unsettled.keys == sound.contents.unsettled.keys && contents.settled == sound.contents.settled
      && contents.parked == sound.contents.parked
      && contents.unsettled.allSatisfy { $1.handOff == sound.contents.unsettled[$0]?.handOff }
  }

  private func check(_ path: String, _ sound: Sound, _ what: String) throws -> Journal.Opened {
    let opened = try Journal.open(path)
    let isWarned = try opened.journal.identity != sound.identity || opened.journal.lacks(sound.position)
    #expect(isWarned || knowsAll(opened.contents, sound), "\(what)")
    // It goes on, and what it says from here on is read again.
    try opened.journal.append([.hour(2)])
    try opened.journal.syncNow()
    let again = try Journal.open(path)
    #expect(again.damaged == nil && again.torn.bytes == 0, "\(what)")
    #expect(again.journal.identity == opened.journal.identity, "\(what)")
    return opened
  }

  @Test func eachFlippedByteIsNoticedAndTheRestIsUsed() async throws {
    let path = scratch.path + "/journal"
    let sound = try sound(path)
    for position in sound.bytes.indices {
      // Other tests have deadlines.
      await Task.yield()
      do {
        let mask: UInt8 = position % 2 == 0 ? 0x01 : 0xff
        let folder = "\(scratch.path)/\(position)"
        try Files.makeFolder(folder)
        let copy = folder + "/journal"
        var bytes = sound.bytes
        bytes[position] ^= mask
        try Files.writeAtomically(bytes, to: copy)
        let opened = try check(copy, sound, "byte \(position)")
        if let aside = opened.damaged {
          #expect(try Files.read(aside) == bytes)
        } else {
          #expect(opened.torn.bytes > 0, "byte \(position): neither set aside nor cut off")
        }
        // One record is lost, with it what another record says of the same attempt; no other.
        let known = opened.contents.unsettled.count + opened.contents.settled.count + opened.contents.parked.count
        #expect(known >= 4, "byte \(position): \(known) of 5 known")
        removeTree(folder)
      }
    }
  }

  @Test func eachLengthItIsCutToIsNoticed() async throws {
    let path = scratch.path + "/journal"
    let sound = try sound(path)
    for length in 0..<sound.bytes.count {
      await Task.yield()
      let folder = "\(scratch.path)/\(length)"
      try Files.makeFolder(folder)
      let copy = folder + "/journal"
      let bytes = Array(sound.bytes[..<length])
      try Files.writeAtomically(bytes, to: copy)
      let opened = try check(copy, sound, "\(length) bytes")
      #expect(opened.damaged == nil)
      // Whatever was no whole record stands aside, byte for byte.
      let aside = try opened.torn.aside.map { try Files.read($0) } ?? []
      #expect(aside == Array(bytes.suffix(aside.count)) && UInt64(aside.count) == opened.torn.bytes, "\(length) bytes")
      #expect(length >= JournalRecord.magic.count || aside == bytes, "\(length) bytes")
      removeTree(folder)
    }
  }

  @Test func ofTornTailsTheNewestTwoAreKept() throws {
    let path = scratch.path + "/journal"
    let sound = try sound(path)
    var kept: [String] = []
    for number in 0..<4 as Range<UInt8> {
      try Files.writeAtomically(sound.bytes + [number, 1, 2], to: path)
      let opened = try Journal.open(path)
      #expect(opened.torn.bytes == 3 && opened.torn.fault == nil && !opened.isNew)
      kept.append(try #require(opened.torn.aside))
      #expect(kept.last?.hasPrefix("\(path).torn-") == true)
    }
    #expect(Set(kept).count == 4)
    #expect(kept.map { Files.exists($0) } == [false, false, true, true])
    #expect(try Files.read(kept[3]) == [3, 1, 2])
    #expect(try Journal.open(path).torn.bytes == 0)
  }

  /// An agent has to start on a full disk, too.
  @Test(.enabled(if: SmallDisk.isPossible, SmallDisk.why))
  func aTornTailThatCannotBeSetAsideIsCutOffAllTheSameAndThatIsTold() throws {
    let disk = try SmallDisk(kibibytes: 4096)
    let path = disk.path + "/journal"
    let sound = try sound(path)
    try Files.writeAtomically(sound.bytes + [UInt8](repeating: 7, count: 8192), to: path)
    try disk.fill()
    let opened = try Journal.open(path)
    #expect(opened.torn.bytes == 8192 && opened.torn.aside == nil && opened.torn.fault?.code == ENOSPC)
    #expect(knowsAll(opened.contents, sound))
  }

  /// A tail of rubbish, as a power cut may leave it, costs no time.
  @Test func aMegabyteOfRubbishBehindTheLastRecordIsCutOff() throws {
    let path = scratch.path + "/journal"
    let sound = try sound(path)
    var seed: UInt64 = 42
    let rubbish = (0..<1 << 20).map { _ -> UInt8 in
      seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: seed >> 56)
    }
    try Files.writeAtomically(sound.bytes + rubbish, to: path)
    let opened = try Journal.open(path)
    #expect(opened.torn.bytes == 1 << 20 && opened.damaged == nil)
    #expect(knowsAll(opened.contents, sound))
  }
}
