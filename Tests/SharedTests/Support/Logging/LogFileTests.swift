import Glibc
import Testing

@testable import Shared

@Suite struct LogFileTests {
  let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  private func line(_ number: Int) -> [UInt8] { Array("line \(number)\n".utf8) }

  @Test func linesAreAppendedAlsoAfterARestart() throws {
    LogFile(folder.file("a/b/x.log")).append(line(1))
    LogFile(folder.file("a/b/x.log")).append(line(2))
    #expect(try folder.text("a/b/x.log") == "line 1\nline 2\n")
  }

  @Test func aFullFileIsRotatedAndTheOldestIsDropped() throws {
    let log = LogFile(folder.file("x.log"), maximumBytes: 14, files: 3)
    for number in 1...9 { log.append(line(number)) }
    #expect(folder.names == ["x.log", "x.log.1", "x.log.2"])
    #expect(try folder.text("x.log") == "line 9\n")
    #expect(try folder.text("x.log.1") == "line 7\nline 8\n")
    #expect(try folder.text("x.log.2") == "line 5\nline 6\n")
    #expect(log.droppedLines == 0)
  }

  @Test func aSizeFromBeforeARestartCounts() throws {
    LogFile(folder.file("x.log"), maximumBytes: 14).append(line(1))
    let log = LogFile(folder.file("x.log"), maximumBytes: 13)
    log.append(line(2))
    #expect(try folder.text("x.log.1") == "line 1\n")
  }

  @Test func aLineLongerThanAFileIsKeptWhole() throws {
    let log = LogFile(folder.file("x.log"), maximumBytes: 10, files: 1)
    log.append(Array(String(repeating: "x", count: 100).utf8) + [10])
    #expect(try folder.text("x.log").utf8.count == 101)
    log.append(line(1))
    #expect(try folder.text("x.log") == "line 1\n")
    #expect(folder.names == ["x.log"])
  }

  @Test func aFileThatIsGoneOrMovedIsMadeAnew() throws {
    let log = LogFile(folder.file("x.log"), lookEvery: .zero)
    log.append(line(1))
    unlink(folder.file("x.log"))
    log.append(line(2))
    #expect(try folder.text("x.log") == "line 2\n")
    rename(folder.file("x.log"), folder.file("moved"))
    log.append(line(3))
    #expect(try folder.text("moved") == "line 2\n")
    #expect(try folder.text("x.log") == "line 3\n")
  }

  @Test func aFullDiskCostsLinesAndTheirNumberIsToldLater() throws {
    symlink("/dev/full", folder.file("x.log"))
    let log = LogFile(folder.file("x.log"), lookEvery: .zero)
    for number in 1...1000 { log.append(line(number)) }
    #expect(log.droppedLines == 1000)
    unlink(folder.file("x.log"))
    log.append(line(1001))
    let lines = try folder.text("x.log").split(separator: "\n")
    #expect(lines.count == 2)
    #expect(lines.first?.hasSuffix("\"1000 lines could not be written and are lost\"") == true)
    #expect(lines.last == "line 1001")
    #expect(log.droppedLines == 0)
  }

  @Test func aPipeThatNobodyReadsDoesNotHoldTheCaller() throws {
    #expect(mkfifo(folder.file("x.log"), 0o600) == 0)
    let log = LogFile(folder.file("x.log"), lookEvery: .zero)
    log.append(line(1))
    #expect(log.droppedLines == 1)
    let reader = open(folder.file("x.log"), O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    defer { close(reader) }
    let long = [UInt8](repeating: 0x78, count: 4095) + [10]
    for _ in 0..<1000 { log.append(long) }
    #expect(log.droppedLines > 900)
  }

  @Test func linesOfManyThreadsStayWhole() async throws {
    let log = LogFile(folder.file("x.log"), maximumBytes: 20_000, files: 100)
    await withTaskGroup(of: Void.self) { group in
      for writer in 0..<8 {
        group.addTask { for number in 0..<500 { log.append(Array("writer \(writer) line \(number) end\n".utf8)) } }
      }
    }
    var whole = 0
    for name in folder.names {
      for line in try folder.text(name).split(separator: "\n") {
        if line.hasPrefix("writer "), line.hasSuffix(" end") { whole += 1 } else { Issue.record("\(line)") }
      }
    }
    #expect(whole == 4000)
    #expect(folder.names.count > 3)
  }
}
