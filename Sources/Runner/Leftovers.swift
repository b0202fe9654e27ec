// What a run left behind on the host although its runner was killed: nobody is its subreaper any more, so everybody has to be proved to
// be of this run before a signal goes out. A proof is any of these:
//   - it stands in the control group of the run's runner, in which nothing else was ever started;
//   - `MUSTER_RUN` in its environment names the run, and it began no earlier than the attempt;
//   - it is the attempt's leader (pid and time of start, both recorded), or shares the session of that living leader;
//   - it is the child of one that is proved, and no older than that.
// A process is named by pid and start time throughout, and signalled by pidfd after both were compared again.
// Not found: what took none of this along (another session, an empty environment, on a host without control groups).

import CSpawn
import Glibc

public struct Leftovers: Sendable {
  public struct Process: Sendable, Hashable {
    public let pid: Int32
    public let startTime: UInt64
  }

  private let mark: [UInt8]
  private let group: String
  private let leader: Int32
  /// Ticks since boot between which the leader began; nil where that is not known.
  private let leaderBegan: ClosedRange<UInt64>?
  private let noneBefore: UInt64

  /// - Parameters:
  ///   - run: the run's `auuid`.
  ///   - runner: the one that was killed; nil where not even that is known.
  ///   - controlGroup: as its records say; empty for none.
  ///   - started: the record of the attempt's start, where there is one.
  public init(run: String, runner: ProcessIdentity?, controlGroup: String, started: StartedRecord?) {
    mark = Array("MUSTER_RUN=\(run)".utf8)
    group = controlGroup
    var began: ClosedRange<UInt64>?
    if let started, started.pid > 0, started.bootNanoseconds > 0 {
      began =
        Leftovers.ticks(started.bootNanoseconds)...Leftovers.ticks(max(started.bootNanoseconds, started.bootNanosecondsAfter))
    }
    leader = started?.pid ?? 0
    leaderBegan = began
    noneBefore = max(runner?.startTime ?? 0, began?.lowerBound ?? 0)
  }

  /// Everybody who is there and proved. The caller's own process, those it descends from, and `others` are never among them, nor what
  /// these started: an agent may have been started by the very run that it looks after.
  public func look(except others: Set<Int32>) -> [Process] {
    let entries = ProcessTree.everybody()
    let table = Dictionary(entries.map { ($0.pid, $0) }) { $1 }
    var ancestry: Set<Int32> = []
    var own = getpid()
    while own > 0, ancestry.insert(own).inserted { own = table[own]?.parent ?? 0 }
    let spared = others.union(ancestry)
    let members = ControlGroup.members(of: group)
    let leaderLives = table[leader].map { entry in leaderBegan?.contains(entry.startTime) ?? false } ?? false
    var found: [ProcessEntry] = []
    for entry in entries where !entry.isDead && !spared.contains(entry.pid) {
      let isProved =
        members.contains(entry.pid) || (leaderLives && (entry.pid == leader || entry.session == leader))
        || (entry.startTime >= noneBefore && isMarked(entry.pid))
      if isProved { found.append(entry) }
    }
    var children: [Int32: [ProcessEntry]] = [:]
    for entry in entries { children[entry.parent, default: []].append(entry) }
    var known = Set(found.map(\.pid))
    var next = 0
    while next < found.count {
      let parent = found[next]
      next += 1
      for child in children[parent.pid] ?? []
      where child.startTime >= parent.startTime && !child.isDead && !spared.contains(child.pid) {
        if known.insert(child.pid).inserted { found.append(child) }
      }
    }
    return found.map { Process(pid: $0.pid, startTime: $0.startTime) }
  }

  /// Signals exactly this process, never a later one with its number; one that was stopped is woken to hear it.
  /// - Returns: an errno; ESRCH where it is gone.
  public static func signal(_ process: Process, _ signal: Int32) -> Int32 {
    guard let entry = ProcessEntry(pid: process.pid), entry.startTime == process.startTime else { return ESRCH }
    return ProcessTree.signalAndWake(entry, signal)
  }

  private func isMarked(_ pid: Int32) -> Bool {
    guard let environment = System.contents(of: "/proc/\(pid)/environ", limit: 1 << 20) else { return false }
    return environment.split(separator: 0).contains { $0.elementsEqual(mark) }
  }

  private static func ticks(_ nanoseconds: UInt64) -> UInt64 {
    nanoseconds / (1_000_000_000 / UInt64(max(1, sysconf(Int32(_SC_CLK_TCK)))))
  }
}
