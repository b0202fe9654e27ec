// The protocol reader without any socket: bytes in any pieces, and bytes that are no protocol.
import Testing

@testable import Redis

@Suite struct ReplyReaderTests {
  private func values(_ pieces: [[UInt8]]) throws -> [RedisValue] {
    let reader = try #require(ReplyReader())
    var values: [RedisValue] = []
    for piece in pieces {
      let outcome: Result<Void, RedisFault> = piece.withUnsafeBytes { bytes in
        do throws(RedisFault) { return .success(try reader.feed(bytes) { values.append($0) }) } catch { return .failure(error) }
      }
      try outcome.get()
    }
    return values
  }

  @Test func repliesAreTheSameHoweverTheirBytesAreSplit() throws {
    let text =
      "+OK\r\n$4\r\n\r\n\0x\r\n*3\r\n:-5\r\n*2\r\n$-1\r\n*-1\r\n-WRONGTYPE no\r\n$0\r\n\r\n*0\r\n:9223372036854775807\r\n"
    let expected: [RedisValue] = [
      .status("OK"), .bytes([13, 10, 0, 120]),
      .array([.integer(-5), .array([.null, .null]), .error(RedisReplyError(message: "WRONGTYPE no"))]),
      .bytes([]), .array([]), .integer(.max),
    ]
    let bytes = Array(text.utf8)
    #expect(try values(bytes.map { [$0] }) == expected)
    for split in 0...bytes.count {
      #expect(try values([Array(bytes[..<split]), Array(bytes[split...])]) == expected)
    }
  }

  @Test func manyRepliesInOneReadKeepTheirOrder() throws {
    let bytes = (0..<50_000).flatMap { Array(":\($0)\r\n".utf8) }
    #expect(try values([bytes]) == (0..<50_000).map { .integer($0) })
  }

  @Test(arguments: [
    "HTTP/1.1 400 Bad Request\r\n", "$5x\r\n", ":12a\r\n", "*-2\r\n", "$-3\r\n", "\0", "*99999999999999999999\r\n",
  ])
  func whatIsNoReplyIsAFault(text: String) {
    #expect {
      try values([Array(text.utf8)])
    } throws: {
      if case RedisFault.protocolViolation = $0 { true } else { false }
    }
  }

  @Test func anArraysAnnouncedLengthReservesNothing() throws {
    #expect(try values([Array("*2147483647\r\n:1\r\n".utf8)]) == [])
  }

  @Test func nestingDeeperThanTheReaderKnowsIsAFault() throws {
    #expect(throws: RedisFault.self) { try values([Array(String(repeating: "*1\r\n", count: 40).utf8)]) }
    #expect(try values([Array((String(repeating: "*1\r\n", count: 7) + ":1\r\n").utf8)]).count == 1)
  }

  @Test func damagedBytesNeverDoMoreThanFail() throws {
    var random = SplitMix(state: 7)
    let good = Array("*3\r\n$3\r\nabc\r\n:12\r\n*1\r\n-ERR x\r\n$-1\r\n+OK\r\n$10\r\n0123456789\r\n".utf8)
    var outcomes = (whole: 0, failed: 0)
    for _ in 0..<20_000 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      if (try? values([bytes])) != nil { outcomes.whole += 1 } else { outcomes.failed += 1 }
    }
    #expect(outcomes.whole > 100 && outcomes.failed > 100)
  }
}

/// Numbers that are the same in every run.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
