// Which projects the agent has joined, so that a later start with other tags leaves the ones it does not belong to any more.

import Logging
import Shared

enum ProjectsFile {
  private static func path(_ settings: AgentSettings) -> String { "\(settings.state.path)/projects" }

  static func read(_ settings: AgentSettings) -> Set<String> {
    guard let bytes = try? Files.read(path(settings)) else { return [] }
    return Set(bytes.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) })
  }

  /// Written before a project is joined and after one was left: what stands in Redis always stands here too.
  static func write(_ settings: AgentSettings, _ projects: Set<String>, _ logger: Logger) {
    guard projects != read(settings) else { return }
    do throws(FileError) {
      try Files.writeAtomically(Array(projects.sorted().map { $0 + "\n" }.joined().utf8), to: path(settings))
    } catch {
      logger.warning("the list of projects cannot be kept", metadata: ["why": "\(error)"])
    }
  }
}
