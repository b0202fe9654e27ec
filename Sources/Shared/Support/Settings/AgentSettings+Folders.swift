// The agent's folders and files, and the name that a state folder keeps.

extension AgentSettings {
  /// Runs' output: `<auuid>.log` each.
  public var runsFolder: String { "\(log.path)/runs" }
  /// The runners' records.
  public var runnersFolder: String { "\(state.path)/runners" }
  /// The agent's own log.
  public var logFile: String { log.file.hasPrefix("/") ? log.file : "\(log.path)/\(log.file)" }
  public var pidFile: String { "\(state.path)/agent.pid" }
  public var lockFile: String { "\(state.path)/agent.lock" }
  public var uuidFile: String { "\(state.path)/uuid" }

  /// Makes the folders that are missing.
  ///
  /// - Throws: a problem for each that can neither be found nor made.
  public func prepareFolders() throws(SettingsProblems) {
    try makeFolders([
      ("state.path", state.path, 0o700), ("state.path", runnersFolder, 0o700), ("log.path", log.path, 0o750),
      ("log.path", runsFolder, 0o750), ("log.file", Files.parent(of: logFile), 0o750), ("task.path", task.path, 0o755),
      ("script.path", script.path, 0o755),
    ])
  }

  /// The agent's name: the configured one, else the one that the state folder keeps, else a new one. The folder keeps
  /// it from then on. Call it after `prepareFolders`, under the lock.
  ///
  /// - Throws: a problem when the folder belongs to an agent of another name, or cannot be read or written.
  public func resolveUUID() throws(SettingsProblems) -> String {
    guard let kept = try keptUUID() else {
      let name = uuid ?? Self.newUUID()
      do throws(FileError) {
        try Files.writeAtomically(Array("\(name)\n".utf8), to: uuidFile, mode: 0o644)
      } catch {
        throw SettingsProblems([SettingsProblem(key: "state.path", "cannot keep the uuid: \(error)")])
      }
      return name
    }
    if let uuid, uuid != kept {
      throw SettingsProblems([
        SettingsProblem(
          key: "uuid", place: source.places["uuid"],
          "is \"\(uuid)\", but \(state.path) belongs to the agent \"\(kept)\"; give each agent a state.path of its own")
      ])
    }
    if let problem = Self.selfMembership(uuid: kept, tags: tags) { throw SettingsProblems([problem]) }
    return kept
  }

  private func keptUUID() throws(SettingsProblems) -> String? {
    guard Files.exists(uuidFile) else { return nil }
    let line: ArraySlice<UInt8>
    do throws(FileError) {
      line = try Files.read(uuidFile, limit: 4096).prefix { $0 != UInt8(ascii: "\n") }
    } catch {
      throw SettingsProblems([SettingsProblem(key: "state.path", "holds a uuid that cannot be read: \(error)")])
    }
    let kept = String(decoding: line, as: UTF8.self)
    if let reason = nameFault(kept) {
      throw SettingsProblems([SettingsProblem(key: "state.path", "holds \(uuidFile), but the name in it \(reason)")])
    }
    return kept
  }

  /// A random UUID (version 4).
  private static func newUUID() -> String {
    var bytes = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
    bytes[6] = bytes[6] & 0x0F | 0x40
    bytes[8] = bytes[8] & 0x3F | 0x80
    var text = ""
    for (index, byte) in bytes.enumerated() {
      if [4, 6, 8, 10].contains(index) { text += "-" }
      text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }
    return text
  }
}

extension ProgramSettings {
  func makeFolders(_ folders: [(key: String, path: String, mode: UInt32)]) throws(SettingsProblems) {
    var problems: [SettingsProblem] = []
    for folder in folders {
      do throws(FileError) {
        try Files.makeFolder(folder.path, mode: folder.mode)
      } catch {
        problems.append(
          SettingsProblem(key: folder.key, place: source.places[folder.key], "cannot be used: \(error)"))
      }
    }
    if !problems.isEmpty { throw SettingsProblems(problems) }
  }
}
