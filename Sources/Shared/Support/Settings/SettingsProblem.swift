// What is wrong with a program's settings, all of it at once. Worded for the terminal; secrets never get in here.

public struct SettingsProblem: Error, Sendable, Equatable {
  /// The setting's path, `redis.port`; `nil` when none in particular is at fault.
  public let key: String?
  /// Where it was set: a file's path, `MUSTER_REDIS_PORT`, `--listen`; `nil` when it follows from several settings.
  public let place: String?
  /// "must be …", or a sentence when there is no key.
  public let message: String

  public init(key: String? = nil, place: String? = nil, _ message: String) {
    self.key = key
    self.place = place
    self.message = message
  }
}

/// Every problem that was found; never empty.
public struct SettingsProblems: Error, Sendable, Equatable {
  public let problems: [SettingsProblem]

  public init(_ problems: [SettingsProblem]) {
    self.problems = problems
  }
}

extension SettingsProblem: CustomStringConvertible {
  public var description: String {
    switch (key, place) {
    case (let key?, let place?): "\(key) (\(place)) \(message)"
    case (let key?, nil): "\(key) \(message)"
    case (nil, let place?): "\(place): \(message)"
    case (nil, nil): message
    }
  }
}

extension SettingsProblems: CustomStringConvertible {
  /// One line for each.
  public var description: String { problems.map(\.description).joined(separator: "\n") }
}
