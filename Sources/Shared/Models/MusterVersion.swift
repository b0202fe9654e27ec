// The version of both programs. When releasing, also: CHANGELOG.md.

public enum MusterVersion {
  /// Shown by `version`, and said by agents in their hello.
  public static let text = "1.0.0"
  /// Major and minor, the form of the seed's `GET /v1/agent/version`.
  public static var short: String { text.split(separator: ".").prefix(2).joined(separator: ".") }
}
