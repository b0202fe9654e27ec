import Glibc
import Logging
import Testing

@testable import Shared

@Suite struct LineLogHandlerTests {
  private struct Broken: Error, CustomStringConvertible { let description = "it\nbroke" }

  private func logged(_ body: (inout Logger) -> Void) throws -> [String] {
    let folder = try TemporaryFolder()
    let output = LogOutput(file: LogFile(folder.file("x.log")), standardError: false)
    var logger = Logger(label: "agent.test") { LineLogHandler(label: $0, level: .info, output: output) }
    body(&logger)
    return try folder.text("x.log").split(separator: "\n").map(String.init)
  }

  @Test func anEventIsOneLineOfTimeLevelLabelMessageAndSortedFields() throws {
    let lines = try logged { logger in
      logger[metadataKey: "agent"] = "web1"
      logger.info("took 3 runs", metadata: ["run": "a-1", "count": "\(3)"])
    }
    #expect(lines.count == 1)
    let parts = lines[0].split(separator: " ", maxSplits: 1)
    #expect(WallTime(String(parts[0])) != nil)
    #expect(parts[1] == #"info agent.test "took 3 runs" agent=web1 count=3 run=a-1"#)
  }

  @Test func nothingInAMessageOrFieldCanEndTheLineOrForgeAField() throws {
    let lines = try logged { logger in
      logger.error("a\nb\u{1B}[31m\"q\"", metadata: ["x": "1 y=2", "e": "", "list": ["a", "b c"], "b=c": "\r\n", "é": "é"])
      logger.warning("w", error: Broken())
    }
    #expect(lines.count == 2)
    #expect(lines[0].contains(#"error agent.test "a\nb\u001b[31m\"q\"" "b=c"="\r\n" e="" list="#))
    #expect(lines[0].hasSuffix(#" x="1 y=2" "é"="é""#))
    #expect(lines[1].hasSuffix(#"warning agent.test "w" error="it\nbroke""#))
  }

  @Test func whatIsBelowTheLevelIsNotWritten() throws {
    let lines = try logged { logger in
      logger.debug("no")
      logger.info("yes")
      logger.logLevel = .debug
      logger.debug("now")
    }
    #expect(lines.map { $0.split(separator: " ").last } == ["\"yes\"", "\"now\""])
  }

  @Test func aTerminalThatNobodyReadsDoesNotHoldTheCaller() throws {
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { for end in ends { close(end) } }
    let line = Array(String(repeating: "x", count: 9999).utf8) + [10]
    // A pipe holds 64 KiB; the rest is dropped.
    for _ in 0..<100 { LogOutput.write(line, withoutWaitingTo: ends[1]) }
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    let count = read(ends[0], &buffer, buffer.count)
    #expect(count > 9999 && Array(buffer[..<10_000]) == line)
    LogOutput.write(line, withoutWaitingTo: ends[1])
    #expect(read(ends[0], &buffer, buffer.count) == 10_000)
  }
}
