// The agent's own log: to its file, and in the foreground to standard error as well.

import Logging
import Shared

enum AgentLog {
  /// Once per process, before any logger is made.
  static func open(_ settings: AgentSettings, toStandardError: Bool) -> Logger {
    LogOutput(file: LogFile(settings.logFile), standardError: toStandardError).install(level: settings.log.level)
    return Logger(label: "agent")
  }
}
