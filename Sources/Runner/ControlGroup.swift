// A control group of the runner's own: whatever its attempt starts is born in it, so the kernel knows who belongs to the attempt even when
// the runner, and with it the subreaper, was killed. Joined once per runner, before its first attempt, so it costs a run nothing
// (docs/decisions/0011). Only an empty runner serves again: what stands in the group beside the runner belongs to its last attempt.
//
// v2 where the host has it, else a hierarchy of v1, each below the group that the agent lives in. A host that lets us make none (no root, no
// delegation, a read-only mount) is served without: nothing here ever fails a run.

import Glibc

public enum ControlGroup {
  static let prefix = "muster-"
  /// Hierarchies of v1 that may be used, best first: none of these counts or limits anything by a group's mere being.
  private static let hierarchies = ["freezer", "pids", "name=systemd"]

  /// A folder below which groups may be made, and the file by which a process of one thread joins one.
  struct Place: Equatable {
    var folder: String
    var joinBy: String
  }

  /// Makes a group and joins it.
  /// - Returns: its folder; empty where none can be had.
  static func join(_ process: ProcessIdentity) -> String {
    guard let mounts = System.contents(of: "/proc/self/mountinfo", limit: 1 << 20),
      let own = System.contents(of: "/proc/self/cgroup", limit: 65536)
    else { return "" }
    for place in places(mounts: mounts, own: own) {
      let folder = "\(place.folder)/\(prefix)\(process.pid)-\(process.startTime)"
      guard mkdir(folder, 0o755) == 0 else { continue }
      if let file = Descriptor(open("\(folder)/\(place.joinBy)", O_WRONLY | O_CLOEXEC)), write(file.raw, "0", 1) == 1 {
        return folder
      }
      rmdir(folder)
    }
    return ""
  }

  /// Goes back to where this process came from and removes its group, unless something that was left behind on purpose lives in it.
  static func leave(_ folder: String) {
    guard let slash = folder.lastIndex(of: "/") else { return }
    for name in ["cgroup.procs", "tasks"] {
      guard let file = Descriptor(open("\(folder[..<slash])/\(name)", O_WRONLY | O_CLOEXEC)), write(file.raw, "0", 1) == 1 else {
        continue
      }
      remove(folder)
      return
    }
  }

  /// Everybody in the group and in those that the attempt made below it; not what runners of an agent started there have in theirs.
  static func members(of folder: String) -> Set<Int32> {
    guard !folder.isEmpty else { return [] }
    var found: Set<Int32> = []
    if let text = System.contents(of: "\(folder)/cgroup.procs", limit: 1 << 20) {
      // 0 is a process of another namespace.
      for line in text.split(separator: 0x0A) {
        if let pid = Int32(String(decoding: line, as: UTF8.self)), pid > 0 { found.insert(pid) }
      }
    }
    for name in folders(in: folder) where !name.hasPrefix(prefix) { found.formUnion(members(of: "\(folder)/\(name)")) }
    return found
  }

  /// Removes the group, and empty ones that the attempt made below it.
  /// - Returns: false where somebody still lives in it: the kernel then refuses.
  @discardableResult
  public static func remove(_ folder: String) -> Bool {
    guard !folder.isEmpty else { return true }
    for name in folders(in: folder) where !name.hasPrefix(prefix) { remove("\(folder)/\(name)") }
    return rmdir(folder) == 0 || errno == ENOENT
  }

  /// Removes what runners that are gone have left empty beside this process's own group: of an agent that was killed, or where something
  /// lived on longer than its runner.
  public static func removeEmpty() {
    guard let mounts = System.contents(of: "/proc/self/mountinfo", limit: 1 << 20),
      let own = System.contents(of: "/proc/self/cgroup", limit: 65536)
    else { return }
    for place in places(mounts: mounts, own: own) {
      for name in folders(in: place.folder) where name.hasPrefix(prefix) {
        // A runner that is just about to join its new group must find it.
        let pid = Int32(name.dropFirst(prefix.count).prefix { $0 != "-" })
        if let pid, ProcessEntry(pid: pid) == nil { remove("\(place.folder)/\(name)") }
      }
    }
  }

  private static func folders(in folder: String) -> [String] {
    guard let listing = opendir(folder) else { return [] }
    defer { closedir(listing) }
    var names: [String] = []
    while let item = readdir(listing) {
      guard item.pointee.d_type == UInt8(DT_DIR) else { continue }
      let name = withUnsafeBytes(of: &item.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  // MARK: Where

  /// From the texts of /proc/self/mountinfo and /proc/self/cgroup (proc(5), cgroups(7)). Pure.
  static func places(mounts: [UInt8], own: [UInt8]) -> [Place] {
    // "4:freezer:/path"; v2 is "0::/path".
    var paths: [String: String] = [:]
    for line in String(decoding: own, as: UTF8.self).split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      for name in fields[1].split(separator: ",", omittingEmptySubsequences: false) { paths[String(name)] = String(fields[2]) }
    }
    var found: [String: Place] = [:]
    for line in String(decoding: mounts, as: UTF8.self).split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      guard words.count > 6, let dash = words.firstIndex(of: "-"), dash + 3 < words.count else { continue }
      let isSecond = words[dash + 1] == "cgroup2"
      guard isSecond || words[dash + 1] == "cgroup" else { continue }
      let options = words[dash + 3].split(separator: ",").map(String.init)
      let key = isSecond ? "" : hierarchies.first { options.contains($0) }
      // A path outside of what is mounted here cannot be reached.
      guard let key, found[key] == nil, let path = paths[key], !path.hasPrefix("/.."),
        let inside = rest(of: path, below: words[3])
      else { continue }
      // A process that is the only thread of itself may join by `tasks` without the lock that `cgroup.procs` takes.
      found[key] = Place(folder: unescaped(words[4]) + inside, joinBy: isSecond ? "cgroup.procs" : "tasks")
    }
    return ([""] + hierarchies).compactMap { found[$0] }
  }

  /// `/a/b` below `/a` is `/b`; `/` is nothing.
  private static func rest(of path: String, below root: String) -> String? {
    if root == "/" { return path == "/" ? "" : path }
    guard path == root || path.hasPrefix(root + "/") else { return nil }
    return String(path.dropFirst(root.count))
  }

  /// mountinfo writes blanks as `\040`.
  private static func unescaped(_ text: String) -> String {
    guard text.contains("\\") else { return text }
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3, let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8) {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
