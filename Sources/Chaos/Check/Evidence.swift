// All that is known at the end: what was posted and seen (Ledger), what was done (Deeds), what stands on the disk, what the dashboard says, and
// what was left behind. `PromiseCheck` looks at nothing else, so that it can be tried on evidence that was made up.

import Shared

/// A run as the dashboard tells it at the end.
struct RunRow: Sendable {
  let run: String
  let agent: String
  let taskname: String
  let state: String
  let attempt: Int
  let exitCode: Int?
  let signal: String?
  let reason: String?
  let note: String?
  let stdoutSha256: String?

  init?(_ json: JSONValue) {
    guard let run = json["auuid"]?.asString, let agent = json["uuid"]?.asString, let state = json["state"]?.asString else {
      return nil
    }
    (self.run, self.agent, self.state) = (run, agent, state)
    taskname = json["taskname"]?.asString ?? ""
    attempt = Int(json["attempt"]?.asInteger ?? 1)
    exitCode = json["exitCode"]?.asInteger.map { Int($0) }
    signal = json["signal"]?.asString
    reason = json["reason"]?.asString
    note = json["note"]?.asString
    stdoutSha256 = json["stdoutSha256"]?.asString
  }

  init(run: String, agent: String, taskname: String, state: RunState, exitCode: Int? = nil, signal: String? = nil) {
    (self.run, self.agent, self.taskname, self.state) = (run, agent, taskname, state.rawValue)
    (attempt, self.exitCode, self.signal, reason, note, stdoutSha256) = (1, exitCode, signal, nil, nil, nil)
  }

  var summary: String {
    let parts = [
      state, exitCode.map { "exit \($0)" }, signal.map { "signal \($0)" }, reason, note.map { "“\($0)”" },
      attempt > 1 ? "attempt \(attempt)" : nil,
    ]
    return parts.compactMap { $0 }.joined(separator: ", ")
  }
}

/// One line of the file of starts.
struct StartLine: Sendable, Hashable {
  let run: String
  let runner: Int32
  /// The posted task's number; nil for a plain one.
  let number: Int?
  let plain: Int?

  init?(_ line: some StringProtocol) {
    let words = line.split(separator: " ")
    guard words.count >= 3, let runner = Int32(words[1]) else { return nil }
    (run, self.runner) = (String(words[0]), runner)
    if words.count == 4, words[2] == "plain", let number = Int(words[3]) {
      (self.number, plain) = (nil, number)
    } else if words.count == 3, let number = Int(words[2]) {
      (self.number, plain) = (number, nil)
    } else {
      return nil
    }
  }
}

struct Growth: Sendable {
  let program: String
  let before: Holding
  let after: Holding
}

struct Evidence: Sendable {
  let seed: UInt64
  let agents: Int
  let redisForgets: Bool
  let databaseGoesBack: Bool
  var ledger = LedgerContents()
  var deeds = Deeds()
  var rows: [String: RunRow] = [:]
  var starts: [String: [StartLine]] = [:]
  var ends: [String: Int] = [:]
  /// Lines on disk that nobody of ours can have written whole.
  var oddLines: [String] = []
  /// What is wrong with the output of a run, for those where something is.
  var outputFaults: [String: String] = [:]
  var outputsChecked = 0
  var surprises: [String] = []
  var leftBehind: [ProcessEntry] = []
  var growth: [Growth] = []

  mutating func readDisk(_ grounds: Grounds) {
    for line in Self.lines(of: grounds.starts) {
      if let start = StartLine(line) { starts[start.run, default: []].append(start) } else { oddLines.append(String(line)) }
    }
    for line in Self.lines(of: grounds.ends) { ends[String(line), default: 0] += 1 }
  }

  private static func lines(of path: String) -> [Substring] {
    String(decoding: ProcessFile.read(path), as: UTF8.self).split(separator: "\n")
  }
}
