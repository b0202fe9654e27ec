// The real programs around a browser: a dashboard with its own Redis, an agent, both on free ports and in a temporary folder.
import Foundation

/// The dashboard, one agent named `web-1` of the project `web`, and a browser. Used on one thread; `stop` ends what was started.
final class Stage {
  let folder: String
  private(set) var address = ""
  private var dashboard: Process?
  private var agent: Process?
  let browser: Chromium

  /// Where the test program lies, its neighbours lie too.
  private static let programs =
    (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
    .map { URL(fileURLWithPath: $0).deletingLastPathComponent().path } ?? "."

  /// Starts everything, hands it to `body`, and ends everything; complaints of the browser's console are faults.
  static func with(agent: Bool = true, _ body: @escaping @Sendable (Stage) throws -> Void) async throws {
    try await onThread {
      let stage = try Stage()
      defer { stage.stop() }
      try stage.start(agent: agent)
      try body(stage)
      guard stage.browser.complaints.isEmpty else { throw PageFault("the browser complains: \(stage.browser.complaints)") }
    }
  }

  private init() throws {
    folder = NSTemporaryDirectory() + "muster-page-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    browser = try Chromium(folder: folder)
  }

  private func start(agent wanted: Bool) throws {
    address = try startDashboard(listen: "127.0.0.1:0")
    if wanted { try startAgent() }
    try browser.size(1280, 800)
  }

  /// - Returns: its address, as in `http://127.0.0.1:41234`.
  @discardableResult
  func startDashboard(listen: String) throws -> String {
    var arguments = ["--data", folder + "/data", "--listen", listen]
    // For whoever works on the page: the folder instead of what is compiled in.
    if let pages = ProcessInfo.processInfo.environment["MUSTER_TEST_PUBLIC"] { arguments += ["--public", pages] }
    let log = folder + "/dashboard.log"
    dashboard = try run("dashboard", arguments, log: log)
    let line = try poll("the dashboard says its address", within: 60) { () -> String? in
      let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
      return text.split(separator: "\n").first { $0.hasPrefix("Muster dashboard") }.map(String.init)
    }
    guard let start = line.range(of: "http://"), let end = line.range(of: "  (") else {
      throw PageFault("no address in: \(line)")
    }
    return String(line[start.lowerBound..<end.lowerBound])
  }
  func stopDashboard() {
    end(dashboard)
    dashboard = nil
  }

  private func startAgent() throws {
    let port = try poll("Redis has its port", within: 30) { () -> String? in
      (try? String(contentsOfFile: folder + "/data/redis/port", encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
    }
    let settings = """
      {"uuid": "web-1", "tags": "web", "redis": {"port": \(port)}, "state": {"path": "\(folder)/agent"}, "http": {"listen": "127.0.0.1:0"}}
      """
    try settings.write(toFile: folder + "/agent.json", atomically: true, encoding: .utf8)
    agent = try run("agent", ["run", "-f", folder + "/agent.json"], log: folder + "/agent.log")
  }

  private func run(_ name: String, _ arguments: [String], log: String) throws -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "\(Self.programs)/\(name)")
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    _ = FileManager.default.createFile(atPath: log, contents: nil)
    let handle = FileHandle(forWritingAtPath: log)
    process.standardOutput = handle
    process.standardError = handle
    do { try process.run() } catch { throw PageFault("\(Self.programs)/\(name) cannot be started: \(error)") }
    return process
  }

  private func stop() {
    browser.stop()
    end(agent)
    end(dashboard)
    try? FileManager.default.removeItem(atPath: folder)
  }
  private func end(_ process: Process?) {
    guard let process, process.isRunning else { return }
    process.terminate()
    let deadline = Date() + 12
    while process.isRunning, Date() < deadline { usleep(20_000) }
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    process.waitUntilExit()
  }

  /// Asks until there is an answer.
  private func poll<T>(_ what: String, within seconds: Double, _ ask: () -> T?) throws -> T {
    let deadline = Date() + seconds
    while Date() < deadline {
      if let answer = ask() { return answer }
      usleep(30_000)
    }
    let log = (try? String(contentsOfFile: folder + "/dashboard.log", encoding: .utf8)) ?? ""
    throw PageFault("not so after \(seconds) s: \(what)\n\(log)")
  }
}
