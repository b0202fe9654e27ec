// `agent start`: the agent in the background.

import ArgumentParser
import Shared

struct StartCommand: AgentAction {
  static let configuration = CommandConfiguration(
    commandName: "start",
    abstract: "Start the agent in the background.",
    discussion: """
      Returns once the agent has registered in Redis, or says why it has not. When Redis cannot be reached within 10 s, or this \
      command is interrupted, no agent is left behind.

      The agent's number stands in agent.pid under state.path, its log under log.path.
      """)

  @OptionGroup var settings: SettingsOptions

  func perform() throws(AgentFailure) {
    let settings = try settings.load()
    let pid = try BackgroundAgent.start(settings)
    let status = try? AgentQuery.status(settings)
    Terminal.out(
      "agent \(status?.uuid ?? "") runs in the background: process \(pid)" + (status?.http.map { ", http://\($0)" } ?? "")
        + ", log \(settings.logFile)")
  }
}
