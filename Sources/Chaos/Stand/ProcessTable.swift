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

  /// The runners of the agent whose state folder that is: `agent runner <state>/runners/…`. Not what one is about to start, which until it has
  /// become the command looks like its runner.
  static func runners(under state: String) -> [pid_t] {
    let found = all(holding: "\(state)/").filter { $0.commandLine.contains(" runner \(state)/") }.map(\.pid)
    return found.filter { pid in parent(of: pid).map { !found.contains($0) } ?? false }
  }

  /// This process's parent, its parent, and so on.
  static var ancestors: Set<pid_t> {
    var found: Set<pid_t> = []
    var next: pid_t? = getppid()
    while let pid = next, pid > 0, found.insert(pid).inserted { next = parent(of: pid) }
    return found
  }

  /// Nil where it is gone.
  private static func parent(of pid: pid_t) -> pid_t? { ProcessFile.field("PPid", of: pid).flatMap { pid_t($0) } }
}

/// What a process holds: for the check that nothing grows.
struct Holding: Sendable, CustomStringConvertible {
  /// Without those that an agent has for its runners: how many it keeps is its own business.
  let descriptors: Int
  let residentKiB: Int
  var description: String { "\(descriptors) descriptors, \(residentKiB / 1024) MiB" }

  /// A socket, and what tells of its end.
  private static let descriptorsOfRunner = 2

  init(descriptors: Int, residentKiB: Int) { (self.descriptors, self.residentKiB) = (descriptors, residentKiB) }

  init?(pid: pid_t, runners: Int) {
    guard let folder = opendir("/proc/\(pid)/fd") else { return nil }
    var count = -2
    while readdir(folder) != nil { count += 1 }
    closedir(folder)
    guard let size = ProcessFile.field("RssAnon", of: pid).flatMap({ Int($0) }) else { return nil }
    self.init(descriptors: count - runners * Self.descriptorsOfRunner, residentKiB: size)
  }
}

enum ProcessFile {
  /// The first word of a line of /proc/<pid>/status; nil where there is no such process any more.
  static func field(_ name: String, of pid: pid_t) -> Substring? {
    let status = String(decoding: read("/proc/\(pid)/status"), as: UTF8.self)
    return status.split(separator: "\n").first { $0.hasPrefix("\(name):") }?
      .split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
  }

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
