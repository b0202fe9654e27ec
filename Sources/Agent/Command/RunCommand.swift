// `agent run`: the agent in the foreground, and, with a hidden option, what `agent start` starts.

import ArgumentParser

struct RunCommand: AgentAction {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run the agent in the foreground.",
    discussion: """
      For service managers, containers, and to watch it: the log goes to standard error as well as to its file. While Redis is away \
      the agent waits for it.

      Ctrl-C and SIGTERM end it within 10 s and leave running commands alone. SIGUSR1 drains it (as `agent stop --drain`), SIGUSR2 \
      ends its commands first (`agent stop --kill`).
      """)

  @OptionGroup var settings: SettingsOptions

  @Option(help: .hidden)
  var readyDescriptor: Int32?

  func perform() throws(AgentFailure) {
    try RunningAgent.run({ () throws(AgentFailure) in try settings.load() }, readyDescriptor: readyDescriptor)
  }
}
