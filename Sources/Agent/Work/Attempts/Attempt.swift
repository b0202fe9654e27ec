// One attempt as the agent knows it while it is of concern: from its taking (or its tombstone) until the dashboard has acknowledged its
// end and its output and the result hash is written. Belongs to the `Worker`.

import Runner
import Shared

final class Attempt {
  enum Stage {
    /// Taken; not with a runner.
    case waiting
    /// A runner has it, or may have it.
    case working
    /// Its end is known and on its way into the journal.
    case ending
    /// Its end is durable.
    case ended
  }

  struct Kill {
    var signal: Int32
    var graceMilliseconds: UInt64
    var at: MonotonicTime
    /// When whatever is left gets KILL.
    var hardAt: MonotonicTime { signal == SystemNames.kill ? at : at + .milliseconds(Int64(clamping: graceMilliseconds)) }

    /// Whether it asks for more than one that was asked for before: another signal, or an earlier end. A hint that is merely repeated does not.
    func adds(to earlier: Kill?) -> Bool {
      guard let earlier else { return true }
      if earlier.signal == SystemNames.kill { return false }
      return signal != earlier.signal || hardAt < earlier.hardAt
    }
  }

  let id: AttemptID
  let run: RunID
  var knowledge: AttemptKnowledge
  /// How often its records could not be read when it was to be judged.
  var failedLooks = 0
  /// The hashes of its output are being made, and its end waits for them.
  var awaitsHashes = false
  var stage: Stage
  /// Nil for what was never taken.
  var spec: TaskSpec?
  var plain: PlainTask?
  /// Redis's clock, milliseconds.
  var startBefore: Int64?
  var handOff: JournalContents.HandOff?
  /// How often a runner was lost, or was unable, before the command was started.
  var failedStarts = 0
  /// Wall clock, milliseconds.
  var startedAt: Int64?
  /// A kill was asked for; kept for a runner that is not listening yet, and so that a repeated message is told from a harder one.
  var killAsked: Kill?
  /// What the agent holds its runner to (`Worker+Backstop`).
  var backstop = Backstop()
  /// Its runner is gone, and what that left behind is being ended (`Worker+Leftovers`).
  var clearing: Clearing?

  /// Which record of the journal is its first; 0: one that an earlier process wrote. Not confirmed before that is durable.
  var firstCount: UInt64 = 0
  var ending: JournalRecord.Ending?
  /// Which record of the journal holds the end.
  var endCount: UInt64?

  // What was said.
  var saidTaken = false
  var saidRunning = false
  var saidEnded = false
  /// The dashboard has committed a report that introduces a task of the plain hash.
  var isIntroduced: Bool
  var isEndAcknowledged = false

  // Output.
  var feed: OutputFeed?
  /// All of the output is with the dashboard, or on its way in an event.
  var isOutputDone = false
  /// All of the output, while it is short and the result hash was not written with it.
  var shortOutput: [UInt8]?
  /// Of which streams it is.
  var shortSegments: SegmentList?

  // The result hash.
  var resultDue = MonotonicTime.never
  var resultWrittenAt = MonotonicTime.distantPast
  var isResultDone = false

  init(
    id: AttemptID, run: RunID, knowledge: AttemptKnowledge, stage: Stage, spec: TaskSpec?, plain: PlainTask?, startBefore: Int64?
  ) {
    self.id = id
    self.run = run
    self.knowledge = knowledge
    self.stage = stage
    self.spec = spec
    self.plain = plain
    self.startBefore = startBefore
    isIntroduced = plain == nil
  }

  /// The agent knows nothing more that anybody waits for.
  var isSettled: Bool { stage == .ended && isEndAcknowledged && isOutputDone && isResultDone }
  var isWithRunner: Bool { stage == .working }
  var verdict: Verdict? { ending?.verdict }
}

/// Makes attempts of what stands in an inbox.
enum InboxReading {
  /// What an entry says, or why it is left alone.
  static func attempt(_ field: [UInt8], _ bytes: [UInt8], agent: AgentID, wall: Int64) -> Result<Reading, FrameFault> {
    guard let id = AttemptID(String(decoding: field, as: UTF8.self)) else { return .failure(FrameFault("its field is no id")) }
    do throws(FrameFault) {
      switch try InboxEntry(bytes: bytes) {
      case .envelope(let envelope):
        guard envelope.id == id, envelope.agent == agent else {
          throw FrameFault("it belongs to \(envelope.agent), \(envelope.id)")
        }
        return .success(
          Reading(
            id: id, meantFor: envelope.journal, number: envelope.number, spec: envelope.spec, plain: nil,
            startBefore: envelope.startBefore, entry: bytes))
      case .plain(var name, var command):
        var entry = bytes
        if name.count > Resolution.longest || command.count > Resolution.longest {
          // Nobody runs it. Cut right behind the limit: enough to be refused for, and every record of it is read back.
          name = Array(name.prefix(Resolution.longest + 1))
          command = Array(command.prefix(Resolution.longest + 1))
          entry = Frame(kind: .plain, header: name, body: command).bytes
        }
        let spec = TaskSpec(taskname: String(decoding: name, as: UTF8.self), command: Base64Bytes(command))
        return .success(
          Reading(
            id: id, meantFor: nil, number: .zero, spec: spec, plain: PlainTask(name: name, command: command, takenAt: wall),
            startBefore: nil, entry: entry))
      }
    } catch {
      return .failure(error)
    }
  }

  struct Reading {
    var id: AttemptID
    var meantFor: JournalID?
    var number: SendNumber
    var spec: TaskSpec
    var plain: PlainTask?
    var startBefore: Int64?
    /// As it is journaled.
    var entry: [UInt8]
  }
}

extension PlainTask {
  /// By which name its newest run is found besides its own. None without a name: that would be the agent's own key.
  var alias: [UInt8]? { name.bytes.isEmpty || name.bytes.count > Resolution.longest ? nil : name.bytes }
}
