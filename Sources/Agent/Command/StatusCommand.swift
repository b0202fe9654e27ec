// `agent status` and `agent version`.

import ArgumentParser
import Shared

struct StatusCommand: AgentAction {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show how the agent on this state folder stands.",
    discussion: "Asks the running agent itself. Exit code 0 when it runs (healthy or not: read health), 3 when none does.")

  @OptionGroup var settings: SettingsOptions

  func perform() throws(AgentFailure) {
    for line in try AgentQuery.status(try settings.load()).lines { Terminal.out(line) }
  }
}

struct VersionCommand: AgentAction {
  static let configuration = CommandConfiguration(commandName: "version", abstract: "Show the version.")

  // Taken so that `-f` may stand behind every command; there is nothing in the settings that a version depends on.
  @OptionGroup var settings: SettingsOptions

  func perform() {
    Terminal.out("muster agent \(MusterVersion.text) (protocol \(Protocol.version))")
  }
}
