// Why the work of an agent cannot begin or go on. Each is a sentence for the terminal and the log.

import Shared

enum AgentWorkError: Error, Sendable, CustomStringConvertible {
  /// A system call that the work needs has failed.
  case system(String, Int32)
  /// The journal cannot be opened or written.
  case journal(String)
  /// Another agent of this name holds the lease.
  case leaseHeld(uuid: AgentID, journal: JournalID?, holder: Heartbeat?)
  /// An operator removed this agent; its journal is fenced.
  case removed(uuid: AgentID, running: Int, waiting: Int)
  /// All commands were to be ended, and these could not be.
  case unended([String])
  /// The agent's name is a project's.
  case uuidIsProject(AgentID)
  /// A project's name is an agent's.
  case projectIsAgent(String)

  var description: String {
    switch self {
    case .system(let action, let code): "cannot \(action): \(systemErrorText(code))"
    case .journal(let reason): "the journal cannot be used: \(reason)"
    case .leaseHeld(let uuid, let journal, let holder):
      "another agent named \"\(uuid)\" holds the lease: "
        + (holder.map { "it runs on \($0.hostname) as process \($0.pid)" } ?? "who that is cannot be read")
        + (journal.map { ", journal \($0)" } ?? "") + "; stop it, or give this one another uuid"
    case .removed(let uuid, let running, let waiting):
      "the agent \"\(uuid)\" was removed by an operator, and this is its journal: it starts nothing more"
        + (running > 0 ? "; \(running) running command\(running == 1 ? " goes" : "s go") on to the end, unreported" : "")
        + (waiting > 0 ? "; \(waiting) waiting will not be started" : "")
        + ". To use this host again give it a new state.path"
    case .unended(let what): what.joined(separator: "; ")
    case .uuidIsProject(let uuid): "the uuid \"\(uuid)\" is a project's name in Redis; an agent and a project cannot share a name"
    case .projectIsAgent(let name):
      "the project \"\(name)\" is an agent's uuid in Redis; an agent and a project cannot share a name"
    }
  }
}
