import Synchronization
import Testing

@testable import Shared

@Suite struct ULIDTests {
  @Test func theTextIsCrockfordsAndSortsLikeTheId() throws {
    #expect(ULID.min.description == "00000000000000000000000000")
    #expect(ULID.max.description == "7ZZZZZZZZZZZZZZZZZZZZZZZZZ")
    // The example of the ULID specification.
    let known = try #require(ULID("01ARZ3NDEKTSV4RRFFQ69G5FAV"))
    #expect(known.timestampMilliseconds == 1_469_922_850_259)
    #expect(known.description == "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    #expect(
      known.bytes == [0x01, 0x56, 0x3E, 0x3A, 0xB5, 0xD3, 0xD6, 0x76, 0x4C, 0x61, 0xEF, 0xB9, 0x93, 0x02, 0xBD, 0x5B])

    var random = (0..<500).map { _ in ULID(high: .random(in: 0 ... .max), low: .random(in: 0 ... .max)) }
    for id in random {
      #expect(ULID(id.description) == id)
      #expect(ULID(bytes: id.bytes) == id)
    }
    random.sort()
    #expect(random.map(\.description) == random.map(\.description).sorted())
  }

  static let refused = [
    "", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAVV", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01arz3ndektsv4rrffq69g5fav",
    "01ARZ3NDEKTSV4RRFFQ69G5FAI", "01ARZ3NDEKTSV4RRFFQ69G5FAL", "01ARZ3NDEKTSV4RRFFQ69G5FAO", "01ARZ3NDEKTSV4RRFFQ69G5FAU",
    "01ARZ3NDEKTSV4RRFFQ69G5FA-", "01ARZ3NDEKTSV4RRFFQ69G5Fé",
  ]

  @Test(arguments: refused)
  func anyOtherTextIsNoId(_ text: String) {
    #expect(ULID(text) == nil)
  }

  @Test func bytesAreSixteen() {
    #expect(ULID(bytes: [UInt8](repeating: 0, count: 15)) == nil)
    #expect(ULID(bytes: [UInt8](repeating: 0, count: 17)) == nil)
  }

  @Test func idsGrowWithinAMillisecondAndWhenTheClockIsSetBack() {
    let now = Mutex<Int64>(1_000_000)
    let generator = ULIDGenerator { WallTime(milliseconds: now.withLock { $0 }) }
    var last = ULID.min
    func next() -> ULID {
      let id = generator.next()
      #expect(id > last)
      last = id
      return id
    }
    #expect(next().timestampMilliseconds == 1_000_000)
    for _ in 0..<1000 { #expect(next().timestampMilliseconds == 1_000_000) }
    now.withLock { $0 = 5 }
    for _ in 0..<1000 { #expect(next().timestampMilliseconds == 1_000_000) }
    now.withLock { $0 = -5 }
    #expect(next().timestampMilliseconds == 1_000_000)
    now.withLock { $0 = 1_000_001 }
    #expect(next().timestampMilliseconds == 1_000_001)
  }

  @Test func idsAreAboveTheFloorEvenWhenItIsInTheFuture() throws {
    let floor = try #require(ULID("7ZZZZZZZZZZZZZZZZZZZZZZZZX"))
    let generator = ULIDGenerator(floor: floor)
    #expect(generator.next() > floor)
    let other = ULIDGenerator { WallTime(milliseconds: 10) }
    _ = other.next()
    other.raise(to: ULID(high: 20 << 16 | 0xFFFF, low: .max))
    let carried = other.next()
    #expect(carried == ULID(high: 21 << 16, low: 0))
    other.raise(to: .min)
    #expect(other.next() > carried)
  }

  @Test func manyThreadsNeverGetTheSameId() async {
    let generator = ULIDGenerator()
    let ids = await withTaskGroup(of: [ULID].self) { group in
      for _ in 0..<8 { group.addTask { (0..<2000).map { _ in generator.next() } } }
      return await group.reduce(into: []) { $0 += $1 }
    }
    #expect(Set(ids).count == 16_000)
  }
}
