// From the runner's exit record to the run's verdict. Pure.

import Runner
import Shared

enum VerdictMaking {
  /// - Parameter hashes: of the kept bytes of each stream, hexadecimal.
  static func verdict(_ exit: ExitRecord, hashes: (stdout: String, stderr: String)?) -> Verdict {
    var verdict = Verdict(state: .failed)
    var notes: [String] = []
    switch exit.how {
    case .exited(let code):
      verdict.exitCode = Int(code)
      verdict.state = code == 0 ? .succeeded : .failed
    case .signalled(let number): verdict.signal = SystemNames.signal(number)
    case .couldNotStart(let code, let step):
      verdict.reason = SystemNames.error(code)
      notes.append("\(failed(step)): \(systemErrorText(code))")
    }
    switch exit.cause {
    case .none: break
    case .deadline: verdict.state = .timedOut
    case .kill: verdict.state = .killed
    }
    if case .couldNotStart = exit.how {
    } else {
      verdict.startedAt = exit.startedWallMilliseconds
      verdict.stdoutSha256 = hashes?.stdout
      verdict.stderrSha256 = hashes?.stderr
    }
    verdict.finishedAt = exit.finishedWallMilliseconds
    verdict.outputBytes = Int64(clamping: exit.total)
    verdict.droppedBytes = Int64(clamping: exit.dropped)
    verdict.signalled = Int(clamping: exit.signalled)
    verdict.left = Int(clamping: exit.left)
    if exit.dropped > 0 {
      verdict.droppedFrom = Int64(clamping: min(exit.layout.head, exit.stored))
      if verdict.reason == nil { verdict.reason = exit.notes.contains(.storeFailed) ? "output_lost" : "output_cap" }
    }
    if exit.notes.contains(.storeFailed) { notes.append("a part of the output could not be stored on the agent's disk") }
    if exit.notes.contains(.pipeHeld) { notes.append("something that it left behind still held its output when it ended") }
    if exit.notes.contains(.core) { notes.append("it dumped core") }
    if !notes.isEmpty { verdict.note = notes.joined(separator: "; ") }
    return verdict
  }

  /// An end without a start.
  static func unstarted(_ state: RunState, reason: String? = nil, note: String? = nil, at wall: Int64) -> Verdict {
    Verdict(state: state, reason: reason, note: note, finishedAt: wall)
  }

  /// What `CSPAWN_STEP_*` means to a user.
  private static func failed(_ step: Int32) -> String {
    switch step {
    case 1: "no process could be made"
    case 4: "a resource limit could not be set"
    case 5: "the user or group could not be taken on"
    case 6: "the working folder could not be entered"
    case 8: "the program could not be executed"
    default: "it could not be started"
    }
  }
}

extension Verdict {
  /// As the seeds' result hash has it: 128 + n for signal n.
  var exitNumber: Int? {
    if let exitCode { return exitCode }
    return signal.flatMap { SystemNames.signal(named: $0) }.map { 128 + Int($0) }
  }
}
