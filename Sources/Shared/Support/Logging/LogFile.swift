// A program's own log on disk: whole lines appended, rotated by size. Logging must never stop the work, so a full disk
// costs lines, not time: a line that cannot be stored whole is dropped, counted, and the count is told in the log once
// there is room again. A file that was moved or deleted is made anew.
//
// Invariant: the file holds whole lines only. One process writes one file.

import Glibc
import Synchronization

public final class LogFile: Sendable {
  public let path: String
  private let maximumBytes: Int
  private let files: Int
  private let lookEvery: Duration
  private let state = Mutex(State())

  private struct State {
    var descriptor: Int32 = -1
    var size = 0
    var device: dev_t = 0
    var inode: ino_t = 0
    var dropped = 0
    var nextLook: ContinuousClock.Instant?
  }

  /// Opens nothing yet: the first line does.
  ///
  /// - Parameters:
  ///   - maximumBytes: a line that would make the file longer begins a new one.
  ///   - files: how many there are in all, the present one (`agent.log`) and older ones (`agent.log.1` …); at least 1.
  ///   - lookEvery: how often at most the path is compared with the open file.
  public init(_ path: String, maximumBytes: Int = 10 << 20, files: Int = 5, lookEvery: Duration = .seconds(1)) {
    self.path = path
    self.maximumBytes = max(1, maximumBytes)
    self.files = max(1, files)
    self.lookEvery = lookEvery
  }

  deinit {
    state.withLock { if $0.descriptor >= 0 { close($0.descriptor) } }
  }

  /// Lines that could not be stored since the last one that could.
  public var droppedLines: Int { state.withLock { $0.dropped } }

  /// Appends a line, which ends in a line feed.
  public func append(_ line: [UInt8]) {
    state.withLock { state in
      look(&state)
      if state.size > 0, state.size + line.count > maximumBytes { rotate(&state) }
      if state.dropped > 0, !tellDropped(&state) {
        state.dropped += 1
        return
      }
      if !store(line, &state) { state.dropped += 1 }
    }
  }

  // MARK: The file

  /// Opens the file where it is not open, or no longer what the path names.
  private func look(_ state: inout State) {
    let now = ContinuousClock.now
    if let next = state.nextLook, now < next { return }
    state.nextLook = now + lookEvery
    if state.descriptor >= 0 {
      var status = stat()
      if stat(path, &status) == 0, status.st_dev == state.device, status.st_ino == state.inode { return }
    }
    reopen(&state)
  }

  private func reopen(_ state: inout State) {
    if state.descriptor >= 0 { close(state.descriptor) }
    // Not blocking: the path could be a pipe that nobody reads.
    let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY
    state.descriptor = open(path, flags, 0o640)
    if state.descriptor < 0, errno == ENOENT, case .success = Result(catching: makeFolder) {
      state.descriptor = open(path, flags, 0o640)
    }
    var status = stat()
    guard state.descriptor >= 0, fstat(state.descriptor, &status) == 0 else { return }
    state.size = Int(status.st_size)
    state.device = status.st_dev
    state.inode = status.st_ino
  }

  private func makeFolder() throws(FileError) {
    try Files.makeFolder(Files.parent(of: path), mode: 0o750)
  }

  private func rotate(_ state: inout State) {
    if files == 1 {
      unlink(path)
    } else {
      for number in stride(from: files - 2, to: 0, by: -1) { rename("\(path).\(number)", "\(path).\(number + 1)") }
      // When this fails the file just grows on: better than losing what is in it.
      rename(path, "\(path).1")
    }
    reopen(&state)
  }

  /// Whether the whole line was stored.
  private func store(_ line: [UInt8], _ state: inout State) -> Bool {
    guard state.descriptor >= 0 else { return false }
    let count = line.withUnsafeBytes { write(state.descriptor, $0.baseAddress, $0.count) }
    if count == line.count {
      state.size += count
      return true
    }
    // Half a line is worse than none.
    if count > 0, ftruncate(state.descriptor, off_t(state.size)) != 0 { state.size += count }
    return false
  }

  private func tellDropped(_ state: inout State) -> Bool {
    let line = "\(WallTime.now()) warning log \"\(state.dropped) lines could not be written and are lost\"\n"
    guard store(Array(line.utf8), &state) else { return false }
    state.dropped = 0
    return true
  }
}
