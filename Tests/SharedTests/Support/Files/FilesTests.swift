import Glibc
import Testing

@testable import Shared

@Suite struct FilesTests {
  let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  @Test func aFileIsReplacedWholeWithItsModeAndNothingIsLeftBeside() throws {
    try Files.writeAtomically(Array("one".utf8), to: folder.file("x"))
    try Files.writeAtomically([UInt8](repeating: 7, count: 3_000_000), to: folder.file("x"), mode: 0o644)
    #expect(try Files.read(folder.file("x"), limit: 3_000_000) == [UInt8](repeating: 7, count: 3_000_000))
    var status = stat()
    #expect(stat(folder.file("x"), &status) == 0 && status.st_mode & 0o777 == 0o644)
    #expect(folder.names == ["x"])
  }

  @Test func whatCannotBeWrittenLeavesTheOldFileAndNothingBeside() throws {
    try Files.makeFolder(folder.file("taken"))
    #expect(throws: FileError.self) { try Files.writeAtomically([1], to: folder.file("taken")) }
    #expect(folder.names == ["taken"])
    let error = #expect(throws: FileError.self) { try Files.writeAtomically([1], to: folder.file("none/x")) }
    #expect(error?.code == ENOENT)
    #expect(error?.description.hasSuffix("No such file or directory") == true)
  }

  @Test func readingSaysWhyItCannot() throws {
    try folder.write("12345", to: "x")
    #expect(try Files.read(folder.file("x"), limit: 5).count == 5)
    #expect(throws: FileError("read", folder.file("x"), code: EFBIG)) { try Files.read(folder.file("x"), limit: 4) }
    #expect(throws: FileError("open", folder.file("y"), code: ENOENT)) { try Files.read(folder.file("y")) }
    #expect(throws: FileError("read", folder.path, code: EISDIR)) { try Files.read(folder.path) }
  }

  @Test func thatNobodyCanTellWhetherAFileIsThereIsNotTakenForNo() throws {
    try folder.write("1", to: "x")
    symlink("loop", folder.file("loop"))
    #expect(try Files.isThere(folder.file("x")))
    #expect(try !Files.isThere(folder.file("y")))
    #expect(try !Files.isThere(folder.file("x/y")))
    #expect(throws: FileError("look for", folder.file("loop/y"), code: ELOOP)) { try Files.isThere(folder.file("loop/y")) }
    #expect(!Files.exists(folder.file("loop/y")))
  }

  @Test func foldersAreMadeWithThoseAboveThem() throws {
    try Files.makeFolder(folder.file("a/b/c"), mode: 0o700)
    try Files.makeFolder(folder.file("a/b/c"))
    try Files.makeFolder("/")
    try folder.write("", to: "file")
    #expect(throws: FileError("make the folder", folder.file("file"), code: ENOTDIR)) {
      try Files.makeFolder(folder.file("file"))
    }
    #expect(throws: FileError.self) { try Files.makeFolder(folder.file("file/x")) }
  }

  static let parents: [(path: String, parent: String)] = [
    ("/a/b", "/a"), ("/a", "/"), ("/", "/"), ("a", "."), ("a/b/", "a"), ("a//b", "a"), ("//a", "/"), ("", "."),
  ]

  @Test(arguments: parents)
  func everyPathHasAFolderAbove(_ path: String, _ parent: String) {
    #expect(Files.parent(of: path) == parent)
  }

  @Test func aLockIsHeldByOneAndFreedWithIt() throws {
    var first: FileLock? = try FileLock(folder.file("lock"))
    #expect(first?.path == folder.file("lock"))
    let error = #expect(throws: FileLock.Failure.self) { try FileLock(folder.file("lock")) }
    #expect(error == .held(path: folder.file("lock"), by: getpid()))
    #expect(error?.description == "\(folder.file("lock")) is locked by process \(getpid())")
    first = nil
    #expect(canBeLocked())
    #expect(throws: FileLock.Failure.self) { try FileLock(folder.file("none/lock")) }
  }

  @Test func aLockIsNotInheritedByWhatIsStarted() throws {
    var lock: FileLock? = try FileLock(folder.file("lock"))
    var child: pid_t = 0
    let arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("60"), nil]
    defer { for argument in arguments { free(argument) } }
    #expect(posix_spawn(&child, "/bin/sleep", nil, nil, arguments, nil) == 0)
    defer {
      kill(child, SIGKILL)
      waitpid(child, nil, 0)
    }
    #expect(lock != nil)
    lock = nil
    #expect(canBeLocked())
  }

  /// Whether the lock can be taken within ten seconds. Not always at once: a process that another test is starting just
  /// now holds copies of all descriptors until its exec.
  private func canBeLocked() -> Bool {
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline {
      if case .success = Result(catching: { () throws(FileLock.Failure) in try FileLock(folder.file("lock")) }) { return true }
      sched_yield()
    }
    return false
  }
}

@Suite struct ChecksumTests {
  static let known: [(text: String, crc: UInt32)] = [
    ("", 0), ("a", 0xE8B7_BE43), ("123456789", 0xCBF4_3926), ("The quick brown fox jumps over the lazy dog", 0x414F_A339),
  ]

  @Test(arguments: known)
  func itIsTheUsualCRC32(_ text: String, _ crc: UInt32) {
    #expect(Checksum.crc32(text.utf8) == crc)
  }

  @Test func itIsTheSameHoweverTheBytesArrive() {
    let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    // Bit by bit, straight from the definition.
    var slow: UInt32 = .max
    for byte in bytes {
      slow ^= UInt32(byte)
      for _ in 0..<8 { slow = slow & 1 == 1 ? 0xEDB8_8320 ^ slow >> 1 : slow >> 1 }
    }
    #expect(Checksum.crc32(bytes) == ~slow)
    for cut in [0, 1, 7, 8, 9, 500, 999, 1000] {
      var checksum = Checksum()
      checksum.add(bytes[..<cut])
      checksum.add(Array(bytes[cut...]))
      #expect(checksum.value == ~slow)
    }
  }
}
