// What somebody posts: a task's body, checked as a whole so that all faults are told at once (API.md, "Body of a task").

import Shared

struct TaskBody: Sendable, Equatable {
  var uuid: String?
  var project: String?
  var spec: TaskSpec
  /// Seconds from acceptance to start.
  var expires: Double
  var retries: Retries

  static let longestTaskname = 64 * 1024
  /// About 31 years; beyond it sums of times could overflow.
  private static let longestTime: Double = 1_000_000_000

  /// - Throws: `JSONFault`, or `FieldFaults` with every fault there is.
  init(_ bytes: [UInt8]) throws {
    var reader = FieldReader(try JSONReader.parse(bytes))
    uuid = reader.name("uuid")
    project = reader.name("project")
    spec = TaskSpec(taskname: reader.requiredString("taskname", bytes: 1...Self.longestTaskname))
    spec.args = reader.strings("args")
    spec.env = Self.environment(&reader)
    spec.cwd = reader.string("cwd", bytes: 1...4096)
    spec.stdin = Self.input(&reader)
    spec.timeout = Self.timeout(&reader)
    expires = Self.expires(&reader)
    retries = Self.retries(&reader)
    try reader.finish()
  }

  private static func environment(_ reader: inout FieldReader) -> [String: String]? {
    guard let pairs = reader.stringMap("env") else { return nil }
    for (key, _) in pairs where key.isEmpty || key.utf8.contains(UInt8(ascii: "=")) || key.utf8.contains(0) {
      reader.fault(.badField, "env", "a variable's name in \"env\" must not be empty and must contain neither \"=\" nor NUL")
    }
    return Dictionary(pairs.map { ($0.key, $0.value) }) { $1 }
  }

  private static func input(_ reader: inout FieldReader) -> Base64Bytes? {
    let text = reader.string("stdin")
    let base64 = reader.string("stdinBase64")
    if text != nil && base64 != nil {
      reader.fault(.badField, "stdinBase64", "\"stdin\" and \"stdinBase64\" cannot both be given")
    }
    guard let base64 else { return text.map { Base64Bytes(Array($0.utf8)) } }
    guard let bytes = Base64.decode(base64) else {
      reader.fault(.badField, "stdinBase64", "\"stdinBase64\" is not base64 (RFC 4648, with padding)")
      return nil
    }
    return Base64Bytes(bytes)
  }

  private static func timeout(_ reader: inout FieldReader) -> Double? {
    guard let seconds = reader.number("timeout") else { return nil }
    if seconds == 0 {
      reader.fault(
        .badField, "timeout", "\"timeout\" must not be 0", hint: "leave it out for the agent's default; a negative one means none"
      )
    } else if seconds > longestTime {
      reader.fault(
        .badField, "timeout", "\"timeout\" must not be more than \(Int(longestTime)) seconds", hint: "a negative one means none")
    }
    return seconds < 0 ? -1 : seconds
  }

  private static func retries(_ reader: inout FieldReader) -> Retries {
    var retries = Retries.none
    if let count = reader.integer("retries", in: 0...Int64(Retries.most)) { retries.count = Int(count) }
    if let seconds = reader.number("retryDelay") {
      let longest = Double(Retries.longestDelay.components.seconds)
      if seconds < 0 || seconds > longest {
        reader.fault(.badField, "retryDelay", "\"retryDelay\" must be from 0 to \(Int(longest)) seconds")
      } else {
        retries.delay = .milliseconds(Int64((seconds * 1000).rounded()))
      }
    }
    if let names = reader.strings("retryOn") {
      let states = names.map { RunState(rawValue: $0) }
      retries.on = Set(states.compactMap { $0 })
      if names.isEmpty || states.contains(nil) || !retries.on.isSubset(of: Retries.allowed) {
        let allowed = Retries.allowed.map(\.rawValue).joined(separator: ", ")
        reader.fault(
          .badField, "retryOn", "\"retryOn\" must name one or more of \(allowed)",
          hint: "leave it out for \(Retries.none.text); \"retries\": 0 means never")
      }
    }
    return retries
  }

  private static func expires(_ reader: inout FieldReader) -> Double {
    guard let seconds = reader.number("expires") else { return TaskSpec.defaultExpires }
    if seconds <= 0 || seconds > longestTime {
      reader.fault(.badField, "expires", "\"expires\" must be more than 0 and at most \(Int(longestTime)) seconds")
    }
    return seconds
  }
}
