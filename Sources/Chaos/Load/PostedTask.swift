// What is posted: the n-th task of a seed, always the same one. Every command first appends one line to the file of starts, in one write to a
// descriptor opened for appending, so that two starts of a run are two lines whatever happens around them; then it prints output that is known
// beforehand; what comes to its end appends to the file of ends.
// When adding a kind: its command, its output, what it may end as (`allows`), its weight. One that does not end by itself is found by `Load`.

import Shared

/// The files to which commands append, and what else the commands need.
struct Grounds: Sendable {
  let folder: String
  /// In the environment of every posted command, so that what it leaves behind is found.
  let marker: String
  var starts: String { "\(folder)/starts" }
  var ends: String { "\(folder)/ends" }

  /// Appends the line of a start: the run, its runner, which task it is, and the machine's uptime. By the shell alone: nothing that it would have
  /// to start first may come before it.
  func startLine(_ task: String) -> String {
    "read up _ < /proc/uptime; echo \"$MUSTER_RUN $PPID \(task) $up\" >> '\(starts)'"
  }
}

struct PostedTask: Sendable {
  enum Kind: String, CaseIterable, Sendable {
    case short, napping, talking, long, big, failing, suicidal, limited, leaving, holding, expiring, missing, stubborn, retrying
    case scattered, endless
  }

  let number: Int
  let kind: Kind
  /// nil: every agent of the project.
  let agent: Int?
  /// Seconds of `?wait`; nil: none.
  let wait: Int?
  /// Milliseconds after the answer at which it is asked to be killed; nil: never.
  let killAfter: Int?
  private let amount: Int
  private let milliseconds: Int

  static let project = "chaos"
  static func agentName(_ index: Int) -> String { "host-\(index)" }

  init(seed: UInt64, number: Int, agents: Int) {
    var dice = Dice(seed: seed, use: "task \(number)")
    self.number = number
    kind = dice.weighted([
      (42, .short), (16, .napping), (6, .talking), (3, .long), (3, .big), (6, .failing), (2, .suicidal), (4, .limited),
      (4, .leaving),
      (3, .holding), (6, .expiring), (2, .missing), (2, .stubborn), (6, .retrying), (3, .scattered),
      (2, .endless),
    ])
    agent = dice.below(12) == 0 ? nil : dice.below(agents)
    wait = dice.below(10) == 0 ? 1 + dice.below(5) : nil
    killAfter = dice.below(9) == 0 || kind == .endless ? dice.one(of: [0, 50, 500, 3000]) : nil
    amount = kind == .big ? 300_000 + dice.below(3_000_000) : 1 + dice.below(40)
    milliseconds = kind == .long ? 4000 + dice.below(16_000) : 20 + dice.below(1200)
  }

  /// How often it may be started again.
  var retries: Int { kind == .retrying ? 3 : 0 }
  /// Seconds that it may run; nil: the agent's own limit, for which no chaos waits.
  var timeout: Double? { kind == .limited || kind == .scattered ? 0.3 + Double(milliseconds) / 1000 : nil }
  /// Seconds within which it has to be started; nil: any time.
  var expires: Int? { kind == .expiring ? 1 + amount % 4 : nil }

  // MARK: The request

  var path: String {
    let target = agent.map(Self.agentName) ?? Self.project
    return "/v1/producer/\(target)/task" + (wait.map { "?wait=\($0)" } ?? "")
  }

  /// By this a run in the store is known to be of this task.
  var mark: String { ": chaos \(number);" }

  static func number(ofTaskname taskname: String) -> Int? {
    guard let range = taskname.firstRange(of: ": chaos "), let end = taskname[range.upperBound...].firstIndex(of: ";") else {
      return nil
    }
    return Int(taskname[range.upperBound..<end])
  }

  func body(_ grounds: Grounds) -> [UInt8] {
    var members: [JSONObject.Member] = []
    if kind == .missing {
      members.append(.init(key: "taskname", value: .string("no-such-program\(mark)")))
      members.append(.init(key: "args", value: .array([])))
    } else {
      members.append(.init(key: "taskname", value: .string(command(grounds))))
    }
    members.append(.init(key: "env", value: ["CHAOS": .string(grounds.marker)]))
    if let timeout { members.append(.init(key: "timeout", value: .double(timeout))) }
    if let expires { members.append(.init(key: "expires", value: .integer(Int64(expires)))) }
    if retries > 0 {
      members.append(.init(key: "retries", value: .integer(Int64(retries))))
      members.append(.init(key: "retryDelay", value: .double(Double(amount) / 20)))
      members.append(.init(key: "retryOn", value: ["failed", "lost"]))
    }
    return JSONValue.object(JSONObject(members)).bytes()
  }

  private func command(_ grounds: Grounds) -> String {
    let start = "\(grounds.startLine("\(number)")); \(mark) "
    let end = "; echo \"$MUSTER_RUN\" >> '\(grounds.ends)'"
    let nap = "sleep \(Double(milliseconds) / 1000)"
    switch kind {
    case .short, .expiring: return start + "echo \"out $MUSTER_RUN\"" + end
    case .napping, .long: return start + "echo \"first $MUSTER_RUN\"; \(nap); echo \"last $MUSTER_RUN\"" + end
    case .talking:
      return start + "i=0; while [ $i -lt \(amount) ]; do echo \"$i $MUSTER_RUN\"; i=$((i+1)); sleep 0.05; done" + end
    case .big: return start + "yes \"$MUSTER_RUN\" | head -c \(amount); \(nap); yes \"$MUSTER_RUN\" | head -c \(amount)" + end
    case .failing: return start + "echo \"failing $MUSTER_RUN\"\(end); exit \(exitCode)"
    case .suicidal: return start + "echo \"out $MUSTER_RUN\"\(end); kill -KILL $$"
    case .limited: return start + "echo \"limited $MUSTER_RUN\"; sleep 600" + end
    // In its group, in a session of its own, and without a parent: none of them may outlive its end, by its time limit or by a kill.
    case .scattered, .endless:
      return start + "echo \"\(kind) $MUSTER_RUN\"; sleep 900 & setsid sleep 900 & setsid -f setsid -f sleep 900; sleep 900" + end
    // Both on purpose: one that nobody holds, and one that goes on holding the pipe.
    case .leaving: return start + "(setsid sleep 3 >/dev/null 2>&1 &); echo \"left $MUSTER_RUN\"" + end
    case .holding: return start + "sleep 4 & echo \"held $MUSTER_RUN\"" + end
    case .stubborn: return start + "trap '' TERM; echo \"stubborn $MUSTER_RUN\"; \(nap)" + end
    // Well with its second start.
    case .retrying:
      return start + "echo \"try $MUSTER_RUN\"; n=$(grep -c \"^$MUSTER_RUN \" '\(grounds.starts)')\(end); [ $n -ge 2 ]"
    case .missing: return ""
    }
  }

  private var exitCode: Int { 1 + amount }

  // MARK: What must come of it

  /// Every byte of standard output of a run that came to its own end.
  func output(of run: String) -> [UInt8] {
    func lines(_ bytes: Int) -> [UInt8] {
      let line = Array("\(run)\n".utf8)
      var all: [UInt8] = []
      all.reserveCapacity(bytes + line.count)
      while all.count < bytes { all += line }
      all.removeLast(all.count - bytes)
      return all
    }
    switch kind {
    case .short, .expiring, .suicidal: return Array("out \(run)\n".utf8)
    case .napping, .long: return Array("first \(run)\nlast \(run)\n".utf8)
    case .talking: return (0..<amount).flatMap { Array("\($0) \(run)\n".utf8) }
    case .big: return lines(amount) + lines(amount)
    case .failing: return Array("failing \(run)\n".utf8)
    case .limited: return Array("limited \(run)\n".utf8)
    case .scattered, .endless: return Array("\(kind) \(run)\n".utf8)
    case .leaving: return Array("left \(run)\n".utf8)
    case .holding: return Array("held \(run)\n".utf8)
    case .stubborn: return Array("stubborn \(run)\n".utf8)
    case .retrying: return Array("try \(run)\n".utf8)
    case .missing: return []
    }
  }

  /// Whether its command may end like this by itself. `lost`, and what a kill makes of it, is judged elsewhere.
  func allows(_ state: RunState, exitCode: Int?, signal: String?) -> Bool {
    switch kind {
    case .failing: state == .failed && exitCode == self.exitCode
    case .suicidal: state == .failed && signal == "KILL"
    case .limited, .scattered: state == .timedOut
    // Somebody has to kill it.
    case .endless: false
    case .missing: state == .failed && exitCode == nil && signal == nil
    case .expiring: state == .succeeded || state == .expired
    default: state == .succeeded
    }
  }
}
