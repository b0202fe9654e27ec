// The command line: `agent run | start | stop | status | version`. Parsing is swift-argument-parser's; exit codes are API.md's, so its
// own 64 for wrong usage becomes 2. When adding a command, also: API.md's line, docs/agent.md, CommandLineTests.

import ArgumentParser
import Shared

/// A command that does something, as opposed to one that only has subcommands.
protocol AgentAction: ParsableCommand {
  func perform() throws(AgentFailure)
}

struct AgentCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "agent",
    abstract: "Runs what the dashboard, or redis-cli, gives this host to do, and reports what became of it.",
    discussion: """
      The usual way: `agent start` puts it in the background and returns once it has registered in Redis; `agent status` shows how \
      it stands; `agent stop` ends it and leaves the commands it started alone: the next agent takes them over. Under systemd or in \
      a container use `agent run`.

      Settings come from a JSON file (-f, else ./agent.json, else /etc/muster/agent.json), over it the environment: redis.addr is \
      MUSTER_REDIS_ADDR. Without any, the agent looks for Redis on 127.0.0.1:6379.

      Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 not running (stop, status).
      """,
    version: "muster agent \(MusterVersion.text)",
    subcommands: [RunCommand.self, StartCommand.self, StopCommand.self, StatusCommand.self, VersionCommand.self])

  /// Does what the command line says, and tells the terminal what went wrong.
  static func main(arguments: [String]) -> ExitStatus {
    do {
      let command = try parseAsRoot(arguments)
      guard let action = command as? any AgentAction else {
        // No subcommand, or the built-in `help`.
        guard command is AgentCommand else {
          var command = command
          try command.run()
          return .done
        }
        Terminal.error(helpMessage(columns: 100))
        return .misused
      }
      try action.perform()
      return .done
    } catch let failure as AgentFailure {
      Terminal.complain("\(failure)")
      return failure.exitStatus
    } catch {
      let text = fullMessage(for: error, columns: 100)
      guard exitCode(for: error).isSuccess else {
        Terminal.error(text)
        return .misused
      }
      Terminal.out(text)
      return .done
    }
  }
}

/// `-f FILE`, which every command has: they all have to know which agent is meant.
struct SettingsOptions: ParsableArguments {
  @Option(name: [.customShort("f"), .customLong("file")], help: ArgumentHelp("The settings file.", valueName: "file"))
  var file: String?

  func load() throws(AgentFailure) -> AgentSettings {
    do throws(SettingsProblems) {
      return try AgentSettings.load(file: file)
    } catch {
      throw .settings(error)
    }
  }
}
