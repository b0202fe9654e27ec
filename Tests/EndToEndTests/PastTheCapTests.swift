// A run that prints on and on past its cap, with the real programs: what the dashboard keeps of it stays within bounds while it goes on, whoever
// follows it sees what is new, and the log is right at every moment and afterwards.
import Foundation
import Testing

@Suite struct PastTheCapTests {
  private static let block = 1 << 20
  private static let cap = 4 << 20
  private static let letters = Array("abcdefghijklmnopqrstuvwx")

  private static func bytes(_ letters: some Sequence<Character>) -> Data {
    letters.reduce(into: Data()) { $0 += Data(repeating: $1.asciiValue ?? 0, count: block) }
  }

  @Test func theStoreKeepsHeadAndTailOfARunThatGoesOn() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("chatty", settings: ["output": ["cap": Self.cap]])
      let gate = stand.folder.appendingPathComponent("gate-").path
      // Each block waits for the one before to be in the store, so that the ring of a slow machine is not overtaken.
      let line = """
        for c in \(Self.letters.map(String.init).joined(separator: " ")); do
          head -c \(Self.block) /dev/zero | tr '\\0' $c
          while [ ! -e \(gate)$c ]; do sleep 0.02; done
        done
        echo the end
        """
      let auuid = try await stand.task("chatty", line, ["timeout": 900])
      async let followed = stand.get("/v1/runs/\(auuid)/log?follow=1", ["--max-time", "300"])
      for (index, letter) in Self.letters.enumerated() {
        let written = (index + 1) * Self.block
        let run = try await eventually("block \(letter) is in the store", within: 120) {
          let run = try await stand.get("/v1/runs/\(auuid)")
          return run["outputBytes"] as? Int == written ? run : nil
        }
        let dropped = run["droppedBytes"] as? Int ?? -1
        #expect(
          max(0, written - Self.cap - 64 * 1024) <= dropped && dropped <= max(0, written - Self.cap), "\(letter): \(dropped)")
        let log = try await stand.log(auuid)
        #expect(log.count + dropped == written)
        let all = Self.bytes(Self.letters[...index])
        #expect(log == all.prefix(min(log.count, Self.cap / 2)) + all.suffix(max(0, log.count - Self.cap / 2)), "\(letter)")
        let file = stand.folder.appendingPathComponent("data/muster.sqlite").path
        let size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int ?? .max
        #expect(size < Self.cap * 5 / 2, "the store has \(size) bytes after \(written)")
        try Data().write(to: URL(fileURLWithPath: gate + String(letter)))
      }
      let run = try await stand.verdict(auuid)
      let written = Self.letters.count * Self.block + 8
      #expect(run["state"] as? String == "succeeded" && run["outputBytes"] as? Int == written)
      #expect(run["droppedBytes"] as? Int == written - Self.cap)
      let all = Self.bytes(Self.letters) + Data("the end\n".utf8)
      let kept = all.prefix(Self.cap / 2) + all.suffix(Self.cap / 2)
      _ = try await eventually("head and tail are there") { try await stand.log(auuid) == kept ? true : nil }
      let live = try await followed.bytes
      #expect(live.starts(with: all.prefix(Self.cap / 2)) && live.suffix(8) == Data("the end\n".utf8))
      #expect(live.count > Self.cap, "it saw no more than what is kept: \(live.count) bytes")
    }
  }
}
