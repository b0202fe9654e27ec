// From what the user asked for to what is executed: which program, which arguments, environment and folder (API.md, "Body of a task").

import Glibc
import Runner
import Shared

/// What a task runs; or the errno and the sentence why nothing can be run.
struct Resolution {
  var executable: [UInt8]
  var arguments: [[UInt8]]
  /// It is a file under `script.path`.
  var isScript = false

  struct Fault: Error, Equatable {
    var code: Int32
    var note: String
    /// No command at all: rejected, not failed.
    var isUnusable = false
  }

  /// Bytes of a command, as API.md bounds a `taskname`.
  static let longest = 64 * 1024

  /// - Parameter search: the value of PATH that the command will see.
  static func resolve(_ spec: TaskSpec, scripts: String, search: String) throws(Fault) -> Resolution {
    let command = spec.command?.bytes ?? Array(spec.taskname.utf8)
    var fault: String?
    if command.isEmpty { fault = "the command is empty" }
    if spec.taskname.isEmpty { fault = "the name is empty" }
    if command.contains(0) || spec.taskname.utf8.contains(0) { fault = "the command holds a NUL byte" }
    if command.count > longest || spec.taskname.utf8.count > longest { fault = "the command is longer than 64 KiB" }
    if let fault { throw Fault(code: EINVAL, note: fault, isUnusable: true) }
    guard let arguments = spec.args else {
      if let script = script(named: command, in: scripts) {
        return Resolution(executable: script, arguments: [script], isScript: true)
      }
      let shell = Array("/bin/sh".utf8)
      return Resolution(executable: shell, arguments: [shell, Array("-c".utf8), command])
    }
    let words = [command] + arguments.map { Array($0.utf8) }
    if command.contains(UInt8(ascii: "/")) { return Resolution(executable: command, arguments: words) }
    if let script = script(named: command, in: scripts) {
      return Resolution(executable: script, arguments: words, isScript: true)
    }
    var denied = false
    for folder in search.split(separator: ":") where !folder.isEmpty {
      let candidate = Array(folder.utf8) + [UInt8(ascii: "/")] + command
      switch kind(of: candidate) {
      case .executable: return Resolution(executable: candidate, arguments: words)
      case .file: denied = true
      case .nothing: break
      }
    }
    let name = String(decoding: command, as: UTF8.self)
    throw denied
      ? Fault(code: EACCES, note: "\(name) is not executable")
      : Fault(code: ENOENT, note: "no program \(name) in script.path or PATH")
  }

  /// An executable regular file of that name directly in the folder.
  private static func script(named name: [UInt8], in folder: String) -> [UInt8]? {
    guard !name.contains(UInt8(ascii: "/")), name.count <= 255, name != [46], name != [46, 46] else { return nil }
    let path = Array(folder.utf8) + [UInt8(ascii: "/")] + name
    return kind(of: path) == .executable ? path : nil
  }

  private enum Kind { case nothing, file, executable }

  private static func kind(of path: [UInt8]) -> Kind {
    (path + [0]).withUnsafeBytes { bytes in
      guard let name = bytes.assumingMemoryBound(to: CChar.self).baseAddress else { return .nothing }
      var status = stat()
      guard stat(name, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return .nothing }
      return access(name, X_OK) == 0 ? .executable : .file
    }
  }
}

/// The environment in which commands begin: small and the same everywhere, not the agent's own.
struct CleanEnvironment: Sendable {
  private let base: [(name: String, value: String)]

  /// HOME and USER of whom the agent runs as.
  init() {
    var home = "/"
    var user = "\(getuid())"
    var entry = passwd()
    var found: UnsafeMutablePointer<passwd>?
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16384) { buffer in
      if let base = buffer.baseAddress, getpwuid_r(getuid(), &entry, base, buffer.count, &found) == 0, found != nil {
        if let folder = entry.pw_dir { home = String(cString: folder) }
        if let name = entry.pw_name { user = String(cString: name) }
      }
    }
    base = [
      ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", home), ("USER", user),
      ("LANG", "C.UTF-8"),
    ]
  }

  /// `NAME=value` each; what the task brings stands over ours.
  func variables(_ run: RunID, _ spec: TaskSpec) -> [[UInt8]] {
    let own = base + [("MUSTER_RUN", "\(run)"), ("MUSTER_TASK", "\(run.task)"), ("MUSTER_UUID", run.agent.text)]
    let extra = spec.env ?? [:]
    return own.filter { extra[$0.name] == nil }.map { Array("\($0.name)=\($0.value)".utf8) }
      + extra.sorted { $0.key < $1.key }.map { Array("\($0.key)=\($0.value)".utf8) }
  }

  func search(_ spec: TaskSpec) -> String { spec.env?["PATH"] ?? base[0].value }
}
