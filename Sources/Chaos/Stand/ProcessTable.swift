// What runs on this machine and is of our stand, by /proc: runners by their command line, commands by the marker in their environment.

import Glibc

struct ProcessEntry: Sendable, Hashable {
  let pid: pid_t
  let commandLine: String
}

enum ProcessTable {
  /// Every living process whose command line or environment holds `text`.
  static func all(holding text: String) -> [ProcessEntry] {
    guard let folder = opendir("/proc") else { return [] }
    defer { closedir(folder) }
    var found: [ProcessEntry] = []
    let own = getpid()
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      guard let pid = pid_t(name), pid != own else { continue }
      let words = ProcessFile.read("/proc/\(pid)/cmdline").split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      let commandLine = words.joined(separator: " ")
      // A zombie has neither.
      guard commandLine.contains(text) || String(decoding: ProcessFile.read("/proc/\(pid)/environ"), as: UTF8.self).contains(text)
      else { continue }
      found.append(ProcessEntry(pid: pid, commandLine: commandLine))
    }
    return found.sorted { $0.pid < $1.pid }
  }

  /// The runners of the agent whose state folder that is: `agent runner <state>/runners/…`.
  static func runners(under state: String) -> [pid_t] {
    all(holding: "\(state)/").filter { $0.commandLine.contains(" runner \(state)/") }.map(\.pid)
  }
}

/// What a process holds: for the check that nothing grows.
struct Holding: Sendable, CustomStringConvertible {
  let descriptors: Int
  let residentKiB: Int
  var description: String { "\(descriptors) descriptors, \(residentKiB / 1024) MiB" }

  init?(pid: pid_t) {
    guard let folder = opendir("/proc/\(pid)/fd") else { return nil }
    var count = -2
    while readdir(folder) != nil { count += 1 }
    closedir(folder)
    let status = String(decoding: ProcessFile.read("/proc/\(pid)/status"), as: UTF8.self)
    guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("RssAnon:") }),
      let size = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap({ Int($0) })
    else { return nil }
    (descriptors, residentKiB) = (count, size)
  }
}

enum ProcessFile {
  /// Empty where it cannot be read: the process may be gone.
  static func read(_ path: String) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    var all: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = Glibc.read(descriptor, &piece, piece.count)
      guard count > 0 else { return all }
      all += piece[..<count]
    }
  }
}
