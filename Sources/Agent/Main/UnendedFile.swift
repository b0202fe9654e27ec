// What `agent stop --kill` could not end. The agent that was told to end its commands leaves a line for each in its state folder, for the
// command that waits for it; and since an agent may be killed before it can, the command also looks for runners that are still at work.

import Glibc
import Logging
import Runner
import Shared

enum UnendedFile {
  private static func path(_ settings: AgentSettings) -> String { "\(settings.state.path)/agent.unended" }

  static func write(_ lines: [String], _ settings: AgentSettings, _ logger: Logger) {
    do throws(FileError) {
      try Files.writeAtomically(Array(lines.map { $0 + "\n" }.joined().utf8), to: path(settings))
    } catch {
      logger.error("what could not be ended cannot be told", metadata: ["why": "\(error)", "what": "\(lines)"])
    }
  }

  static func remove(_ settings: AgentSettings) { unlink(path(settings)) }

  /// What the agent that has just gone could not end: as it said, and as the records of its runners show.
  static func lookFor(_ settings: AgentSettings) -> [String] {
    var found: [String] = []
    // Nothing was left, or nothing could be said.
    if let bytes = try? Files.read(path(settings)) {
      found = bytes.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
    }
    return found + unfinished(settings)
  }

  private static func unfinished(_ settings: AgentSettings) -> [String] {
    guard let folder = opendir(settings.runnersFolder) else { return [] }
    defer { closedir(folder) }
    var found: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      let path = Array("\(settings.runnersFolder)/".utf8) + name
      guard String(decoding: name, as: UTF8.self).contains(".rec"), let heading = RecordsHeading.read(path),
        heading.process.isAlive
      else { continue }
      var reader = RecordsReader(path: path)
      var attempt = RecordedAttempt()
      for record in reader.rest().records { attempt.apply(record) }
      guard let begin = attempt.begin, attempt.exit == nil, attempt.refused == nil else { continue }
      found.append("run \(begin.run): its runner, process \(heading.process.pid), is still at work")
    }
    return found.sorted()
  }
}
