// All that is known at the end: what was posted and seen (Ledger), what was done (Deeds), what stands on the disk, what the dashboard says, and
// what was left behind. `PromiseCheck` looks at nothing else, so that it can be tried on evidence that was made up.

import Glibc
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

  /// What a restored database calls the task of a run that only its agent knows.
  static let unknownTaskname = "(unknown)"
  var isUnknown: Bool { taskname == Self.unknownTaskname }

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

  init(
    run: String, agent: String, taskname: String, state: RunState, attempt: Int = 1, exitCode: Int? = nil, signal: String? = nil
  ) {
    (self.run, self.agent, self.taskname, self.state) = (run, agent, taskname, state.rawValue)
    (self.attempt, self.exitCode, self.signal, reason, note, stdoutSha256) = (attempt, exitCode, signal, nil, nil, nil)
  }

  var summary: String {
    let parts = [
      state, exitCode.map { "exit \($0)" }, signal.map { "signal \($0)" }, reason, note.map { "“\($0)”" },
      attempt > 1 ? "attempt \(attempt)" : nil,
    ]
    return parts.compactMap { $0 }.joined(separator: ", ")
  }
}

/// One attempt of a run that may have several, as the dashboard tells it at the end.
struct AttemptRow: Sendable {
  let attempt: Int
  let state: String
  let exitCode: Int?

  init(attempt: Int, state: RunState, exitCode: Int? = nil) {
    (self.attempt, self.state, self.exitCode) = (attempt, state.rawValue, exitCode)
  }

  init?(_ json: JSONValue) {
    guard let attempt = json["attempt"]?.asInteger, let state = json["state"]?.asString else { return nil }
    (self.attempt, self.state, exitCode) = (Int(attempt), state, json["exitCode"]?.asInteger.map { Int($0) })
  }
}

/// One line of the file of starts.
struct StartLine: Sendable, Hashable {
  let run: String
  let runner: Int32
  /// The posted task's number; nil for a plain one.
  let number: Int?
  let plain: Int?
  /// When it was written, to ten milliseconds; nil where the machine did not tell its uptime.
  let at: Int?

  /// - Parameter uptimeAhead: `Monotonic.uptimeAhead`.
  init?(_ line: some StringProtocol, uptimeAhead: Int = 0) {
    var words = line.split(separator: " ")[...]
    guard words.count >= 3, let run = words.popFirst(), let runner = words.popFirst().flatMap({ Int32($0) }) else { return nil }
    let isPlain = words.first == "plain"
    if isPlain { words.removeFirst() }
    guard (1...2).contains(words.count), let number = words.popFirst().flatMap({ Int($0) }) else { return nil }
    let uptime = words.first.map { Monotonic.milliseconds(ofUptime: $0) }
    if case .some(.none) = uptime { return nil }
    (self.run, self.runner, self.number, plain) = (String(run), runner, isPlain ? nil : number, isPlain ? number : nil)
    at = uptime.flatMap { $0 }.map { $0 - uptimeAhead }
  }
}

/// What came of posting a load.
struct Posting: Sendable {
  let when: String
  let wanted: Int
  let accepted: Int
  /// So many have to be accepted.
  let fewest: Int

  /// Of a load that is posted while things are killed. Up and undisturbed, a dashboard accepts hundreds in a second; it is up for half of
  /// the time. So half of the load, and not more than five runs a second, is missed only by one that does not come back.
  static func fewest(of wanted: Int, within seconds: Int) -> Int { min(wanted / 2, seconds * 5) }
}

/// What a program held before and after a load without faults, both times at rest.
struct Growth: Sendable {
  /// Of the dashboard: each of the store's four readers opens the database and its log when it is first needed. An agent's runners are not counted
  /// (`Holding.descriptors`); it may open a second connection, and have a file open.
  static let mostDescriptors = 8
  /// What the page caches of four readers (8 MiB each) may still take.
  static let mostKiBOfDashboard = 32 * 1024
  /// An agent keeps about 64 bytes for each run; the rest is the allocator's.
  static let mostKiBOfAgent = 12 * 1024

  let program: Program
  let before: Holding
  let after: Holding

  var isTooMuch: Bool {
    let mostKiB = program == .dashboard ? Self.mostKiBOfDashboard : Self.mostKiBOfAgent
    return after.descriptors > before.descriptors + Self.mostDescriptors || after.residentKiB > before.residentKiB + mostKiB
  }
}

struct Evidence: Sendable {
  let seed: UInt64
  let agents: Int
  let redisForgets: Bool
  let databaseGoesBack: Bool
  var ledger = LedgerContents()
  var deeds = Deeds()
  /// Who may inherit a command whose runner was killed: init, or another subreaper above the harness. No runners.
  var inheritors: Set<pid_t> = [0, 1]
  var postings: [Posting] = []
  var rows: [String: RunRow] = [:]
  /// Of the runs that may have more than one.
  var attempts: [String: [AttemptRow]] = [:]
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

  /// Which task a run is of: by its name, by what was known of it before a database went back, by the line that it left.
  func number(of run: String) -> Int? {
    rows[run].flatMap { PostedTask.number(ofTaskname: $0.taskname) } ?? ledger.numbers[run] ?? starts[run]?.first?.number
  }

  func task(of run: String) -> PostedTask? { number(of: run).map { PostedTask(seed: seed, number: $0, agents: agents) } }

  mutating func readDisk(_ grounds: Grounds) {
    let uptimeAhead = Monotonic.uptimeAhead
    for line in Self.lines(of: grounds.starts) {
      if let start = StartLine(line, uptimeAhead: uptimeAhead) {
        starts[start.run, default: []].append(start)
      } else {
        oddLines.append(String(line))
      }
    }
    for line in Self.lines(of: grounds.ends) { ends[String(line), default: 0] += 1 }
  }

  private static func lines(of path: String) -> [Substring] {
    String(decoding: ProcessFile.read(path), as: UTF8.self).split(separator: "\n")
  }
}
