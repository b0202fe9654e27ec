// The executable's entry: settings, log, composition, run. Exit codes: 0 stopped in good order, 1 failed, 2 wrong usage or settings.
import ArgumentParser
import Glibc
import Logging
import Shared

@main
enum DashboardMain {
  static func main() async {
    // A client that is gone must not end the program; children get the default back when they are started.
    signal(SIGPIPE, SIG_IGN)
    exit(await run(Array(CommandLine.arguments.dropFirst())))
  }

  private static func run(_ arguments: [String]) async -> Int32 {
    let command: DashboardCommand
    do {
      // `serve` is the one thing it does; the word may be left out.
      let parsed = try DashboardCommand.parseAsRoot(arguments.first == "serve" ? Array(arguments.dropFirst()) : arguments)
      guard let ours = parsed as? DashboardCommand else {
        var other = parsed
        try other.run()
        return 0
      }
      command = ours
    } catch {
      let text = DashboardCommand.fullMessage(for: error, columns: 100)
      let isHelp = DashboardCommand.exitCode(for: error).isSuccess
      say(text, isHelp ? 1 : 2)
      return isHelp ? 0 : 2
    }
    let settings: DashboardSettings
    do { settings = try DashboardSettings.load(file: command.file, flags: command.flags) } catch {
      say("dashboard: the settings cannot be used:\n\(error)", 2)
      return 2
    }
    LogOutput(file: nil, standardError: true).install(level: settings.log.level)
    let logger = Logger(label: "dashboard")
    for warning in settings.source.warnings { logger.warning("\(warning)") }
    DescriptorLimit.raise()
    do {
      let composition = try await Composition.build(settings, logger: logger)
      let address = HostPort(host: settings.http.listen.host, port: composition.server.port)
      say("Muster dashboard \(MusterVersion.text): http://\(address)  (data in \(settings.data.path))", 1)
      try await composition.run()
      return 0
    } catch let problems as SettingsProblems {
      say("dashboard: the settings cannot be used:\n\(problems)", 2)
      return 2
    } catch {
      say("dashboard: \(error)", 2)
      return 1
    }
  }

  /// One line to the terminal; a descriptor that takes nothing is nobody who could be told.
  private static func say(_ text: String, _ descriptor: Int32) {
    let bytes = Array((text + "\n").utf8)
    _ = write(descriptor, bytes, bytes.count)
  }
}

struct DashboardCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dashboard",
    abstract: "Takes tasks over HTTP, keeps their history, and gives them to the agents through Redis.",
    usage: "dashboard [serve] [-f FILE] [--listen HOST:PORT] [--data DIR] [--redis HOST:PORT|embedded] [--public DIR]",
    discussion: """
      Without any setting it listens on 127.0.0.1:8080 and brings its own Redis, a private redis-server child that keeps its data \
      below the data folder. It needs no file beside itself: pages and migrations are compiled in.

      Settings come from a JSON file (-f, else ./dashboard.json, else /etc/muster/dashboard.json), over it the environment \
      (redis.addr is MUSTER_REDIS_ADDR), over both these flags. It ends on SIGTERM and SIGINT within 10 s and loses nothing.

      Exit codes: 0 stopped, 1 failed, 2 wrong usage or settings.
      """,
    version: "muster dashboard \(MusterVersion.text)")

  @Option(name: .customShort("f"), help: ArgumentHelp("Settings file (JSON).", valueName: "FILE"))
  var file: String?
  @Option(help: ArgumentHelp("Where to listen; loopback only. Port 0: a free one.", valueName: "HOST:PORT"))
  var listen: String?
  @Option(help: ArgumentHelp("Folder for SQLite, the embedded Redis and keys.", valueName: "DIR"))
  var data: String?
  @Option(help: ArgumentHelp("HOST:PORT, a unix socket's path, or embedded.", valueName: "HOST:PORT|embedded"))
  var redis: String?
  @Option(name: .customLong("public"), help: ArgumentHelp("Serve this folder instead of the built-in pages.", valueName: "DIR"))
  var publicFolder: String?

  var flags: [String: String] {
    var flags: [String: String] = [:]
    for (name, value) in [("listen", listen), ("data", data), ("redis", redis), ("public", publicFolder)] { flags[name] = value }
    return flags
  }
}
