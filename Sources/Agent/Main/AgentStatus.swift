// What a running agent says of itself to `agent status`: the answer on its control socket, as JSON.
// When adding a field: optional, so that a command of another version still reads the answer; a line in `lines`; docs/agent.md.

import Shared

struct AgentStatus: Sendable, Equatable, Codable {
  var uuid: String
  var pid: Int32
  var version: String
  var startedAt: WallTime
  var projects: [String]
  /// Where Redis is.
  var redis: String
  /// Why Redis is not connected; nil while it is.
  var redisFault: String?
  /// Why the agent has no lease; nil while it has.
  var leaseFault: String?
  var running: Int
  var concurrency: Int
  /// Taken, not yet started.
  var waiting: Int
  /// Ended, and the dashboard has not said yet that it stored that.
  var unacknowledged: Int
  /// Why the agent could not take work now; nil while healthy.
  var fault: String?
  /// `HOST:PORT` of its own HTTP.
  var http: String?
  /// Which end was asked for, while it is coming.
  var stopping: String?
  var statePath: String
  var logFile: String

  /// For people, and for `awk`: a word, a colon, the rest.
  var lines: [String] {
    [
      "uuid: \(uuid)",
      "pid: \(pid)",
      "version: \(version)",
      "started: \(startedAt)",
      "projects: \(projects.isEmpty ? "-" : projects.joined(separator: ", "))",
      "redis: \(redis), \(redisFault ?? "connected")",
      "lease: \(leaseFault ?? "held")",
      "running: \(running) of \(concurrency)",
      "waiting: \(waiting)",
      "unacknowledged: \(unacknowledged)",
      "health: \(fault.map { "death (\($0))" } ?? "healthy")",
      "http: \(http.map { "http://\($0)" } ?? "-")",
      "state: \(statePath)",
      "log: \(logFile)",
    ] + (stopping.map { ["stopping: \($0)"] } ?? [])
  }
}
