// `agent stop`: asks the running agent to end, and waits until it has.

import ArgumentParser
import CSpawn
import Glibc
import Shared

struct StopCommand: AgentAction {
  static let configuration = CommandConfiguration(
    commandName: "stop",
    abstract: "Stop the agent that runs on this state folder.",
    discussion: """
      Without an option the commands it started go on: whatever they do until the next `agent start` is reported then.

      Returns when the agent is gone; 3 when none was running. With --kill it says what could not be ended, and returns 1.
      """)

  @OptionGroup var settings: SettingsOptions

  @Flag(help: "Start nothing more, wait until every command has ended, then stop. Ctrl-C ends the waiting, not the draining.")
  var drain = false

  @Flag(help: "End every command first (TERM, then KILL after task.grace).")
  var kill = false

  func validate() throws {
    if drain && kill { throw ValidationError("--drain waits for commands and --kill ends them: give one of them") }
  }

  private var mode: StopMode { kill ? .kill : drain ? .drain : .leave }

  /// A little more than the agent itself allows for each end.
  private func limit(_ settings: AgentSettings) -> Duration? {
    switch mode {
    case .leave: MainLoop.leaveLimit + .seconds(7)
    case .kill: settings.task.grace + MainLoop.killMargin + .seconds(10)
    case .drain: nil
    }
  }

  func perform() throws(AgentFailure) {
    let settings = try settings.load()
    guard let running = try RunningProcess(settings) else {
      throw .notRunning(statePath: settings.state.path, stalePid: AgentQuery.stalePid(settings))
    }
    try running.signal(mode.signal)
    let deadline = limit(settings).map { ContinuousClock.now + $0 }
    var told = -1
    while !running.hasEnded(within: .seconds(1)) {
      if let limit = limit(settings), let deadline, deadline <= .now { throw .stillRunning(pid: running.pid, after: limit) }
      if mode == .drain, let left = try? AgentQuery.status(settings).running, left != told {
        told = left
        Terminal.error("waiting for \(left) running command\(left == 1 ? "" : "s")")
      }
    }
    if mode == .kill {
      let unended = UnendedFile.lookFor(settings)
      UnendedFile.remove(settings)
      if !unended.isEmpty { throw .unended(unended) }
    }
    Terminal.out("agent \(running.uuid) has stopped")
  }
}
