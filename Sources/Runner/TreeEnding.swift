// Ends a command and everything it started: a signal to all, a grace period, KILL, and again until the kernel says that no child
// is left (then nobody is: every descendant hangs on a child of this subreaper), or until what is left cannot be ended.

import CSpawn
import Glibc

struct TreeEnding {
  /// After KILL, how long what does not die (uninterruptible, or not ours to signal) is waited for once the leader has exited.
  static let patienceMilliseconds: UInt64 = 5000

  let cause: ExitRecord.Cause
  private let leader: Int32
  private var killAt: UInt64
  private var isKilling = false
  private var giveUpAt = UInt64.max
  private var nextLookAt = UInt64.max
  private var lookInterval: UInt64 = 5
  private var fruitlessLooks = 0
  private var signalledProcesses: Set<Key> = []
  private(set) var left: UInt64 = 0
  private(set) var isOver = false

  private struct Key: Hashable {
    let pid: Int32
    let startTime: UInt64
  }

  var signalled: UInt64 { UInt64(signalledProcesses.count) }
  /// When `proceed` has something to do even if nothing happens.
  var wakeAt: UInt64 { isOver ? .max : (isKilling ? nextLookAt : killAt) }

  init(cause: ExitRecord.Cause, leader: Int32, signal: Int32, graceMilliseconds: UInt64, leaderIsAlive: Bool, now: UInt64) {
    self.cause = cause
    self.leader = leader
    killAt = .max
    strike(signal: signal, graceMilliseconds: graceMilliseconds, leaderIsAlive: leaderIsAlive, now: now)
  }

  /// A signal to everybody; KILL when the grace is over, or what is left of an earlier one.
  mutating func strike(signal: Int32, graceMilliseconds: UInt64, leaderIsAlive: Bool, now: UInt64) {
    guard !isOver, !isKilling else { return }
    killAt = min(killAt, System.after(now, milliseconds: graceMilliseconds))
    if signal == SIGKILL { killAt = now }
    if killAt > now { _ = signalAll(signal, leaderIsAlive: leaderIsAlive) }
  }

  /// To be called whenever something happened or `wakeAt` has come. `nobodyLeft`: the kernel said that there is no child.
  mutating func proceed(now: UInt64, leaderIsAlive: Bool, nobodyLeft: Bool) {
    guard !isOver else { return }
    if nobodyLeft {
      left = 0
      isOver = true
      return
    }
    if !isKilling, now >= killAt {
      isKilling = true
      giveUpAt = System.after(now, milliseconds: TreeEnding.patienceMilliseconds)
      nextLookAt = now
    }
    guard isKilling, now >= nextLookAt else { return }
    let (alive, refused) = signalAll(SIGKILL, leaderIsAlive: leaderIsAlive)
    fruitlessLooks = alive == refused ? fruitlessLooks + 1 : 0
    if !leaderIsAlive, now >= giveUpAt || (alive > 0 && fruitlessLooks >= 3) {
      left = UInt64(alive)
      isOver = true
    }
    nextLookAt = System.after(now, milliseconds: lookInterval)
    lookInterval = min(lookInterval * 2, 100)
  }

  /// How many are alive, and how many of these may not be signalled.
  private mutating func signalAll(_ signal: Int32, leaderIsAlive: Bool) -> (alive: Int, refused: Int) {
    let everybody = ProcessTree.livingDescendants()
    var refused = 0
    // The group's number is the leader's; while the leader was not waited for, or a member of its session is there, it is no other group.
    let group = everybody.filter { ProcessTree.isMember($0, of: leader) }
    let groupError = leaderIsAlive || !group.isEmpty ? (kill(-leader, signal) == 0 ? 0 : errno) : ESRCH
    for entry in everybody {
      // A group takes the signal if one of its members may be sent it, so this member has to be asked for.
      let wasSentWithGroup = groupError == 0 && ProcessTree.isMember(entry, of: leader)
      let error = wasSentWithGroup ? (kill(entry.pid, 0) == 0 ? 0 : errno) : ProcessTree.signal(entry, signal)
      if error == 0 {
        signalledProcesses.insert(Key(pid: entry.pid, startTime: entry.startTime))
        ProcessTree.wake(entry, after: signal)
      } else if error != ESRCH {
        refused += 1
      }
    }
    return (everybody.count, refused)
  }
}

extension ProcessTree {
  /// Whether it is still in the group and session that the leader was started with.
  static func isMember(_ entry: ProcessEntry, of leader: Int32) -> Bool { entry.group == leader && entry.session == leader }
}
