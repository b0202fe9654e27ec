// What went wrong, in words for the terminal: what, then what to do about it. Nowhere else does a failure become text.

import Shared

extension AgentFailure: CustomStringConvertible {
  var description: String {
    switch self {
    case .settings(let problems):
      return problems.problems.count == 1
        ? "the settings are wrong: \(problems)"
        : "the settings are wrong in \(problems.problems.count) places:\n"
          + problems.problems.map { "  \($0)" }.joined(separator: "\n")
    case .alreadyRunning(let lockFile, let pid):
      let holder = pid.map { "process \($0)" } ?? "another process"
      return "another agent is running on this state folder: \(holder) holds \(lockFile)\n"
        + "`agent status` tells more, `agent stop` ends it; a second agent on one host needs a state.path and a uuid of its own"
    case .file(let error): return "\(error)"
    case .system(let action, let code): return "cannot \(action): \(systemErrorText(code))"
    case .cannotListen(let address, let reason):
      return "cannot listen on \(address): \(reason)\nset http.listen to an address that is free, or to port 0 for any free port"
    case .work(let sentence): return sentence
    case .unended(let what):
      return "the agent has stopped, but not everything it had started could be ended:\n"
        + what.map { "  \($0)" }.joined(separator: "\n")
    case .redisAway(let place, let reason, let after):
      return "not started: Redis at \(place) could not be reached within \(after.words): \(reason)\n"
        + "no agent was left behind; `agent run` (or a service manager around it) waits for Redis for as long as it takes"
    case .notReady(let after):
      return "not started: the agent was not ready within \(after.words) and was ended again; its log tells more"
    case .backgroundFailed(let words, _): return words
    case .backgroundDied(let end, let lastWords, let file):
      return "not started: the agent ended at once (\(end))" + (lastWords.isEmpty ? "" : ":\n\(lastWords)") + "\nsee \(file)"
    case .cannotSpawn(let program, let code): return "cannot start \(program): \(systemErrorText(code))"
    case .notRunning(let statePath, let stalePid):
      return "no agent is running on \(statePath)"
        + (stalePid.map { "; its pid file is stale: process \($0) was killed or the host went down" } ?? "")
    case .mayNotSignal(let pid): return "process \(pid) belongs to another user: stop it as that user or as root"
    case .stillRunning(let pid, let after):
      return "the agent was told to stop, but process \(pid) still runs after \(after.words); its log tells what it waits for"
    case .noAnswer(let pid, let reason): return "the agent runs (process \(pid)), but does not answer: \(reason)"
    }
  }
}

extension Duration {
  /// `10 s`: whole seconds.
  var words: String { "\(components.seconds) s" }
}
