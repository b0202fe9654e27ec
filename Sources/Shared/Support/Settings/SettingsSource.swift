// Where settings come from: a file, the environment, the command line; and what the process around them is.

import Glibc

/// What a program's settings depend on besides the words themselves. Tests bring their own.
public struct SettingsSurroundings: Sendable {
  public var environment: [String: String]
  /// Relative paths are taken from here.
  public var workingFolder: String
  public var isRoot: Bool
  /// The folder of the file that everybody on this machine shares.
  public var systemFolder: String

  public init(environment: [String: String], workingFolder: String, isRoot: Bool, systemFolder: String = "/etc/muster") {
    self.environment = environment
    self.workingFolder = workingFolder
    self.isRoot = isRoot
    self.systemFolder = systemFolder
  }

  /// This process's. Its environment is the one it was started with.
  public static func present() -> SettingsSurroundings {
    var folder = "/"
    if let current = getcwd(nil, 0) {
      folder = String(cString: current)
      free(current)
    }
    return SettingsSurroundings(environment: ownEnvironment(), workingFolder: folder, isRoot: geteuid() == 0)
  }

  /// Not from `environ`, a global variable that anybody may be changing. Empty where there is no /proc.
  private static func ownEnvironment() -> [String: String] {
    guard case .success(let bytes) = Result(catching: readOwnEnvironment) else { return [:] }
    var environment: [String: String] = [:]
    for entry in bytes.split(separator: 0) {
      guard let equals = entry.firstIndex(of: UInt8(ascii: "=")) else { continue }
      let name = String(decoding: entry[..<equals], as: UTF8.self)
      // The first of two counts, as in getenv.
      if environment[name] != nil { continue }
      environment[name] = String(decoding: entry[entry.index(after: equals)...], as: UTF8.self)
    }
    return environment
  }

  private static func readOwnEnvironment() throws(FileError) -> [UInt8] {
    try Files.read("/proc/self/environ", limit: 8 << 20)
  }

  /// The folder for a program's own files: in `/var/lib` for root, else in the user's folder by the XDG rules.
  func ownFolder(named name: String, variable: String, underHome: String) -> String? {
    if isRoot { return "/var/lib/\(name)" }
    if let base = environment[variable], base.hasPrefix("/") { return "\(base)/\(name)" }
    if let home = environment["HOME"], home.hasPrefix("/") { return "\(home)/\(underHome)/\(name)" }
    return nil
  }

  func absolute(_ path: String) -> String {
    path.hasPrefix("/") ? path : "\(workingFolder)/\(path.hasPrefix("./") ? String(path.dropFirst(2)) : path)"
  }
}

/// Where a program's settings came from, for `describe()` and for the log at start.
public struct SettingsSource: Sendable {
  /// The file that was read; `nil` when there was none.
  public internal(set) var file: String?
  /// Key → place, for each setting that somebody set.
  public internal(set) var places: [String: String] = [:]
  /// What is not wrong but probably not meant. One sentence each.
  public internal(set) var warnings: [String] = []
  /// Key → how late its place is read: file 1, environment 2, flag 3. The later one counts.
  var layers: [String: Int] = [:]
}
