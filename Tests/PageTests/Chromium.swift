// Headless Chromium, spoken to over two pipes (--remote-debugging-pipe: JSON messages that end in a NUL, in on descriptor 3, out on 4).
// Everything here blocks, so it runs on a thread of its own (`onThread`) and says what is wrong by throwing.
import Foundation

/// What the page did not do, as a sentence.
struct PageFault: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Runs blocking work on a thread of its own.
func onThread(_ work: @escaping @Sendable () throws -> Void) async throws {
  try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
    Thread { done.resume(with: Result(catching: work)) }.start()
  }
}

final class Chromium {
  /// Nil where it is not installed.
  static let path = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  private let process = Process()
  private let input: Int32
  private let output: Int32
  private var pending: [UInt8] = []
  private var lastID = 0
  private var session: String?
  /// Errors and warnings of console and security policy, uncaught exceptions.
  private(set) var complaints: [String] = []

  init(folder: String) throws {
    guard let path = Self.path else { throw PageFault("chromium is not installed") }
    let (into, from) = (folder + "/devtools.in", folder + "/devtools.out")
    guard mkfifo(into, 0o600) == 0, mkfifo(from, 0o600) == 0 else { throw PageFault("no pipes in \(folder): errno \(errno)") }
    // Opened for both directions, so that neither side waits for the other one.
    input = open(into, O_RDWR | O_CLOEXEC)
    output = open(from, O_RDWR | O_CLOEXEC)
    guard input >= 0, output >= 0 else { throw PageFault("pipes cannot be opened: errno \(errno)") }
    // Chromium's own sandbox does not work for root.
    let sandbox = geteuid() == 0 ? "--no-sandbox" : ""
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = [
      "-c",
      "exec \(path) --headless=new \(sandbox) --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir='\(folder)/profile' --remote-debugging-pipe 3<'\(into)' 4>'\(from)'",
    ]
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    let target = try call("Target.createTarget", ["url": "about:blank"], within: 60)
    let attached = try call("Target.attachToTarget", ["targetId": target["targetId"] ?? "", "flatten": true])
    session = attached["sessionId"] as? String
    for domain in ["Page", "Runtime", "Log"] { try call("\(domain).enable") }
  }

  func stop() {
    _ = try? call("Browser.close", within: 5)
    let deadline = Date() + 5
    while process.isRunning, Date() < deadline { usleep(20_000) }
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    process.waitUntilExit()
    close(input)
    close(output)
  }

  // MARK: The page

  func show(_ address: String) throws {
    try call("Page.navigate", ["url": address])
    try wait("the page is there", "document.readyState === 'complete' && document.querySelector('main .view') !== null")
  }

  /// The value of a JavaScript expression.
  @discardableResult
  func value(_ expression: String) throws -> Any? {
    let answer = try call("Runtime.evaluate", ["expression": expression, "awaitPromise": true, "returnByValue": true])
    if let fault = answer["exceptionDetails"] as? [String: Any] {
      let exception = fault["exception"] as? [String: Any]
      throw PageFault("\(expression): \(exception?["description"] ?? fault["text"] ?? "failed")")
    }
    return (answer["result"] as? [String: Any])?["value"]
  }
  func text(_ expression: String) throws -> String { try value(expression) as? String ?? "" }

  /// Polls until an expression is true.
  func wait(_ what: String, _ expression: String, within seconds: Double = 20) throws {
    let deadline = Date() + seconds
    var last = ""
    while true {
      // Looked at once more when the time is up: the machine may have given none to the last sleep.
      let isOver = Date() >= deadline
      do { if try value("Boolean(\(expression))") as? Bool == true { return } } catch { last = " (\(error))" }
      if isOver { break }
      usleep(30_000)
    }
    let shown = (try? text("document.querySelector('main').innerText.slice(0, 600)")) ?? ""
    throw PageFault("not so after \(seconds) s: \(what)\(last)\ncomplaints: \(complaints)\nthe page says:\n\(shown)")
  }
  func require(_ what: String, _ expression: String) throws {
    guard try value("Boolean(\(expression))") as? Bool == true else { throw PageFault("not so: \(what)") }
  }

  /// Presses one key: a letter, or a name as `Enter`.
  func press(_ key: String, control: Bool = false) throws {
    let codes = ["Enter": 13, "Escape": 27, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38]
    var event: [String: Any] = ["key": key, "modifiers": control ? 2 : 0]
    if let code = codes[key] { event["windowsVirtualKeyCode"] = code }
    if key.count == 1, !control { event["text"] = key }
    if key == "Enter" { event["text"] = "\r" }
    try call("Input.dispatchKeyEvent", event.merging(["type": "keyDown"]) { $1 })
    try call("Input.dispatchKeyEvent", event.merging(["type": "keyUp"]) { $1 })
  }
  func type(_ text: String) throws { try call("Input.insertText", ["text": text]) }

  func size(_ width: Int, _ height: Int, dark: Bool = false) throws {
    try call(
      "Emulation.setDeviceMetricsOverride", ["width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600])
    try call("Emulation.setEmulatedMedia", ["features": [["name": "prefers-color-scheme", "value": dark ? "dark" : "light"]]])
  }

  // MARK: Messages

  @discardableResult
  func call(_ method: String, _ parameters: [String: Any] = [:], within seconds: Double = 30) throws -> [String: Any] {
    lastID += 1
    let id = lastID
    var message: [String: Any] = ["id": id, "method": method, "params": parameters]
    if let session { message["sessionId"] = session }
    var bytes = [UInt8](try JSONSerialization.data(withJSONObject: message))
    bytes.append(0)
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes { write(input, $0.baseAddress, $0.count) }
      guard count > 0 else { throw PageFault("chromium takes no message: errno \(errno)") }
      sent += count
    }
    let deadline = Date() + seconds
    while let answer = try next(until: deadline) {
      note(answer)
      guard answer["id"] as? Int == id else { continue }
      if let error = answer["error"] { throw PageFault("\(method): \(error)") }
      return answer["result"] as? [String: Any] ?? [:]
    }
    throw PageFault("chromium did not answer \(method) within \(seconds) s")
  }

  private func next(until deadline: Date) throws -> [String: Any]? {
    while true {
      if let end = pending.firstIndex(of: 0) {
        let message = Data(pending[..<end])
        pending.removeSubrange(...end)
        return try JSONSerialization.jsonObject(with: message) as? [String: Any] ?? [:]
      }
      let left = deadline.timeIntervalSinceNow
      guard left > 0 else { return nil }
      var ready = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      guard poll(&ready, 1, Int32(min(left * 1000, 60_000)) + 1) > 0 else { continue }
      var buffer = [UInt8](repeating: 0, count: 256 * 1024)
      let count = read(output, &buffer, buffer.count)
      guard count > 0 else { throw PageFault("chromium is gone") }
      pending += buffer[..<count]
    }
  }

  private func note(_ message: [String: Any]) {
    guard let method = message["method"] as? String, let parameters = message["params"] as? [String: Any] else { return }
    switch method {
    case "Runtime.exceptionThrown":
      let details = parameters["exceptionDetails"] as? [String: Any]
      complaints.append("exception: \((details?["exception"] as? [String: Any])?["description"] ?? details?["text"] ?? "")")
    case "Runtime.consoleAPICalled":
      if ["error", "warning", "assert"].contains(parameters["type"] as? String) {
        complaints.append("console: \(parameters["args"] ?? "")")
      }
    case "Log.entryAdded":
      let entry = parameters["entry"] as? [String: Any] ?? [:]
      // Chromium logs each answer that is an error; those that a test provokes on purpose are the page's business.
      if entry["source"] as? String != "network" { complaints.append("log: \(entry["text"] ?? "")") }
    default: break
    }
  }
}
