// What the agent says of the machine it runs on (API.md, `GET /v1/agents`). Read once at start, except what changes: the load
// and the own address (`OwnAddress`).

import Glibc
import Shared

struct HostFacts: Sendable, Equatable {
  var hostname: String
  /// `PRETTY_NAME` of os-release, "Linux" where there is none.
  var os: String
  /// As the kernel names it: `x86_64`, `aarch64`.
  var arch: String
  let version = MusterVersion.text

  static func read() -> HostFacts {
    var names = utsname()
    uname(&names)
    let release = ["/etc/os-release", "/usr/lib/os-release"].lazy.compactMap { try? Files.read($0, limit: 64 << 10) }.first
    let os = release.flatMap { prettyName(inRelease: String(decoding: $0, as: UTF8.self)) }
    return HostFacts(hostname: text(of: names.nodename), os: os ?? "Linux", arch: text(of: names.machine))
  }

  /// The load average over the last minute; 0 where the system does not tell.
  static func load1() -> Double {
    var load = 0.0
    return getloadavg(&load, 1) == 1 ? load : 0
  }

  /// The value of `PRETTY_NAME` in os-release(5), whose lines are assignments in a shell's syntax.
  static func prettyName(inRelease text: String) -> String? {
    for line in text.split(separator: "\n") where line.hasPrefix("PRETTY_NAME=") {
      var value = line.dropFirst("PRETTY_NAME=".count)
      let quote = value.first.flatMap { $0 == "\"" || $0 == "'" ? $0 : nil }
      if let quote {
        value = value.dropFirst()
        if value.last == quote { value = value.dropLast() }
      }
      var name = ""
      var isEscaped = false
      for character in value {
        if character == "\\", !isEscaped, quote != "'" {
          isEscaped = true
        } else {
          name.append(character)
          isEscaped = false
        }
      }
      return name.isEmpty ? nil : name
    }
    return nil
  }

  private static func text<Tuple>(of characters: Tuple) -> String {
    withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
