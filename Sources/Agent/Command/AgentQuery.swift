// Asking the running agent how it stands, and telling "not running" from "does not answer".

import Glibc
import Shared

enum AgentQuery {
  /// - Throws: `notRunning`, or `noAnswer` of one that runs.
  static func status(_ settings: AgentSettings) throws(AgentFailure) -> AgentStatus {
    let reason: String
    do throws(AgentFailure) {
      let answer = try ControlSocket.ask("status", settings)
      if let status = try? JSONCoder.decode(AgentStatus.self, from: answer) { return status }
      reason = "it hears only its own user and root"
    } catch {
      reason = "\(error)"
    }
    guard let running = try RunningProcess(settings) else {
      throw .notRunning(statePath: settings.state.path, stalePid: stalePid(settings))
    }
    throw .noAnswer(pid: running.pid, reason: reason)
  }

  /// The pid that a dead agent's record names.
  static func stalePid(_ settings: AgentSettings) -> Int32? {
    guard let record = try? ProcessRecord.read(settings), !record.isAlive else { return nil }
    return record.pid
  }
}
