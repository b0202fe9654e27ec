// Who runs on a state folder, for the commands that look from outside: `agent.process`, JSON, and `agent.pid`, the bare number that
// scripts and service managers read (seed 2). A pid alone comes back for another process and after a reboot, so the record also
// has the process's start time and the boot; a record whose process is gone is stale, and nothing is ever signalled by it.
//
// Only the holder of the folder's lock writes and removes them. The lock itself is not used to look: who tries it could make an
// agent that starts at that very moment believe that another one runs.

import Glibc
import Runner
import Shared

struct ProcessRecord: Sendable, Equatable, Codable {
  var pid: Int32
  var startTime: UInt64
  var bootID: String
  var uuid: String
  var startedAt: WallTime

  init(_ process: ProcessIdentity, uuid: AgentID, startedAt: WallTime) {
    pid = process.pid
    startTime = process.startTime
    bootID = process.bootID
    self.uuid = uuid.text
    self.startedAt = startedAt
  }

  var process: ProcessIdentity { ProcessIdentity(pid: pid, startTime: startTime, bootID: bootID) }
  var isAlive: Bool { process.isAlive }

  /// What stands in the state folder; nil where there is no record, or nothing that can be one.
  /// - Throws: when there may be one that this user may not read.
  static func read(_ settings: AgentSettings) throws(FileError) -> ProcessRecord? {
    let bytes: [UInt8]
    do throws(FileError) {
      bytes = try Files.read(settings.processFile, limit: 4096)
    } catch {
      if error.code == ENOENT || error.code == ENOTDIR { return nil }
      throw error
    }
    return try? JSONCoder.decode(ProcessRecord.self, from: bytes)
  }

  func write(_ settings: AgentSettings) throws(FileError) {
    guard let json = try? JSONCoder.encode(self) else { throw FileError("write", settings.processFile, code: EINVAL) }
    try Files.writeAtomically(json + [0x0A], to: settings.processFile, mode: 0o644)
    try Files.writeAtomically(Array("\(pid)\n".utf8), to: settings.pidFile, mode: 0o644)
  }

  static func remove(_ settings: AgentSettings) {
    unlink(settings.pidFile)
    unlink(settings.processFile)
  }
}

extension AgentSettings {
  var processFile: String { "\(state.path)/agent.process" }
  /// Where a running agent answers `agent status`.
  var socketFile: String { "\(state.path)/agent.sock" }
}
