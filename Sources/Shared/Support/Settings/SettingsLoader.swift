// Loads a program's settings: file, then environment, then flags, each over the one before (API.md, "Settings"). Every
// problem is collected; only what follows from others (`settle`) waits until there is none.

/// A program's settings. Two programs, two types.
public protocol ProgramSettings: Sendable {
  /// `agent`: the file is `agent.json`.
  static var program: String { get }
  /// Every setting that can be written.
  static var table: [Setting<Self>] { get }
  /// The settings that one may see in the environment because another program reads them.
  static var siblingEnvironmentNames: [String] { get }

  var source: SettingsSource { get set }

  /// The defaults, before anything is known of the surroundings.
  init()

  /// Fills in what depends on other settings or on the surroundings, and finds what does not go together.
  mutating func settle(in surroundings: SettingsSurroundings) -> [SettingsProblem]
}

extension ProgramSettings {
  /// Loads the settings.
  ///
  /// - Parameters:
  ///   - file: the file named by `-f`; without it `./<program>.json`, else `/etc/muster/<program>.json`, else none.
  ///   - flags: flag name without dashes → its text, for the flags that were given.
  /// - Throws: every problem.
  public static func load(
    file: String? = nil, flags: [String: String] = [:], in surroundings: SettingsSurroundings = .present()
  ) throws(SettingsProblems) -> Self {
    var loader = SettingsLoader<Self>(surroundings: surroundings)
    loader.readFile(named: file)
    loader.readEnvironment()
    loader.readFlags(flags)
    return try loader.finish()
  }

  /// One line for each setting, with where it was set. Secrets are hidden.
  public func describe() -> [String] {
    Self.table.map { "\($0.key) = \($0.show(self)) (\(source.places[$0.key] ?? "default"))" }
  }
}

private struct SettingsLoader<Root: ProgramSettings> {
  let surroundings: SettingsSurroundings
  var settings = Root()
  var problems: [SettingsProblem] = []
  let rows: [String: Setting<Root>]
  /// `redis`, `http`, `http.limits`, …: the paths that hold settings rather than being one.
  let sections: Set<String>

  init(surroundings: SettingsSurroundings) {
    self.surroundings = surroundings
    rows = Dictionary(Root.table.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
    var sections: Set<String> = []
    for row in Root.table {
      var parts = row.key.split(separator: ".").dropLast()
      while !parts.isEmpty {
        sections.insert(parts.joined(separator: "."))
        parts = parts.dropLast()
      }
    }
    self.sections = sections
  }

  mutating func finish() throws(SettingsProblems) -> Root {
    if problems.isEmpty { problems = settings.settle(in: surroundings) }
    if !problems.isEmpty { throw SettingsProblems(problems) }
    return settings
  }

  private mutating func set(_ row: Setting<Root>, _ input: SettingInput, place: String, layer: Int) {
    do throws(BadSetting) {
      try row.apply(&settings, input)
      settings.source.places[row.key] = place
      settings.source.layers[row.key] = layer
    } catch {
      problems.append(SettingsProblem(key: row.key, place: place, error.reason))
    }
  }

  // MARK: File

  mutating func readFile(named name: String?) {
    let candidates =
      name.map { [$0] } ?? ["./\(Root.program).json", "\(surroundings.systemFolder)/\(Root.program).json"]
    guard let file = candidates.first(where: { name != nil || Files.exists(surroundings.absolute($0)) }) else { return }
    settings.source.file = file
    do throws(FileError) {
      let bytes = try Files.read(surroundings.absolute(file))
      do throws(JSONFault) {
        let value = try JSONReader.parse(bytes)
        guard case .object(let object) = value else {
          return problems.append(SettingsProblem(place: file, "must hold a JSON object, it holds \(value.kindName)"))
        }
        read(object, at: "", file: file)
      } catch {
        var key: String?
        if case .repeatedKey(let repeated) = error.kind { key = (error.path + [repeated]).joined(separator: ".") }
        problems.append(
          SettingsProblem(key: key, place: "\(file), line \(error.line), column \(error.column)", error.message))
      }
    } catch {
      problems.append(SettingsProblem(place: file, "cannot be read: \(error.reason)"))
    }
  }

  private mutating func read(_ object: JSONObject, at prefix: String, file: String) {
    for member in object.members {
      let key = prefix + member.key
      if member.value.isNull, rows[key] != nil || sections.contains(key) { continue }
      if sections.contains(key), case .object(let section) = member.value {
        read(section, at: key + ".", file: file)
      } else if let row = rows[key], !member.key.contains(".") {
        set(row, .json(member.value), place: file, layer: 1)
      } else if sections.contains(key), !member.key.contains(".") {
        problems.append(SettingsProblem(key: key, place: file, "must be an object, it is \(member.value.kindName)"))
      } else {
        problems.append(SettingsProblem(key: key, place: file, "is not a setting" + suggestion(for: key)))
      }
    }
  }

  private func suggestion(for key: String) -> String {
    if rows[key] != nil {
      return "; write it as nested objects, not with a dot in the key"
    }
    if let nearest = nearestName(to: key, among: Root.table.map(\.key) + sections.sorted()) {
      return "; did you mean \"\(nearest)\"?"
    }
    // In the wrong section: the same last word elsewhere.
    let last = key.split(separator: ".").last ?? ""
    let same = Root.table.map(\.key).filter { $0.hasSuffix(".\(last)") }
    return same.count == 1 ? "; did you mean \"\(same[0])\"?" : ""
  }

  // MARK: Environment and flags

  /// An empty variable counts as none: that is what `docker run -e NAME` and unset variables in unit files leave.
  mutating func readEnvironment() {
    let environment = surroundings.environment
    // What a run is told about itself (API.md, "Body of a task") is not meant for an agent that the run starts.
    let ofRuns: Set<String> = ["MUSTER_RUN", "MUSTER_TASK", "MUSTER_UUID"]
    let startedByRun = environment["MUSTER_RUN"] != nil
    for row in Root.table {
      let name = row.environmentName
      guard let text = environment[name], !text.isEmpty, !(startedByRun && ofRuns.contains(name)) else { continue }
      set(row, .text(text), place: name, layer: 2)
    }
    let known = Root.table.map(\.environmentName)
    let ignored = ofRuns.union(Root.siblingEnvironmentNames).union(known)
    for name in environment.keys.sorted() where name.hasPrefix("MUSTER_") && !ignored.contains(name) {
      guard let nearest = nearestName(to: name, among: known) else { continue }
      settings.source.warnings.append("the environment's \(name) is not a setting; did you mean \(nearest)?")
    }
  }

  mutating func readFlags(_ flags: [String: String]) {
    for (flag, text) in flags.sorted(by: { $0.key < $1.key }) {
      if let row = Root.table.first(where: { $0.flag == flag }) {
        set(row, .text(text), place: "--\(flag)", layer: 3)
      } else {
        problems.append(SettingsProblem(place: "--\(flag)", "is not a flag of \(Root.program)"))
      }
    }
  }
}
