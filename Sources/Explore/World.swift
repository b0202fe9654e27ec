// One state of everything: the store, Redis, the host's disk, the processes, what is still in the network, what is left of the fault budget, and
// what the properties have to remember. Small numbers throughout; `Names` turns them into the identities that the real functions take.
// One run X without retries, one dashboard, one host. When adding a field: its width in `visit`, or the search would merge states that differ.

/// Where a run stands in the store. The order is that of `Names.states`.
enum At {
  static let queued: UInt8 = 0, sent: UInt8 = 1, running: UInt8 = 2, succeeded: UInt8 = 3, lost: UInt8 = 4, killed: UInt8 = 5
  static let cancelled: UInt8 = 6, rejected: UInt8 = 7
}

/// The journal's last word on X.
enum Word {
  static let none: UInt8 = 0, taken: UInt8 = 1, tombstone: UInt8 = 2, succeeded: UInt8 = 3, lost: UInt8 = 4, killed: UInt8 = 5
  static let cancelled: UInt8 = 6, rejected: UInt8 = 7
}

/// What a report says.
enum Saying {
  static let hello: UInt8 = 1, taken: UInt8 = 2, running: UInt8 = 3, unknown: UInt8 = 4, tombstone: UInt8 = 5,
    succeeded: UInt8 = 6
  static let lost: UInt8 = 7, killed: UInt8 = 8, cancelled: UInt8 = 9, rejected: UInt8 = 10
  static let ofWord: [UInt8] = [0, taken, tombstone, succeeded, lost, killed, cancelled, rejected]
}

/// Control messages, one bit each.
enum Asked {
  static let cancel: UInt8 = 1, close: UInt8 = 2
}

/// SQLite: may be restored from a copy.
struct StoreState: Equatable {
  var state: UInt8 = At.queued
  var wantsEnd: UInt8 = 0
  var reported: UInt8 = 0
  var closing: UInt8 = 0
  /// The journal that spoke last, and its process.
  var journal: UInt8 = 1
  var incarnation: UInt8 = 0
  /// The committed sequence of that incarnation.
  var sequence: UInt8 = 1
  /// One bit for each incarnation of that journal before it.
  var former: UInt8 = 0
  var fence: UInt8 = 0
  var number: UInt8 = 0
  /// Rule `tombFirst` left out: a tombstone is still to be written.
  var tombOwed: UInt8 = 0
}

/// One report in the stream. 0: none.
struct Report: Equatable {
  var bits: UInt32 = 0
  init() {}
  init(_ kind: UInt8, journal: UInt8, incarnation: UInt8, sequence: UInt8, behind: UInt8) {
    bits = UInt32(kind) | UInt32(journal) << 4 | UInt32(incarnation) << 7 | UInt32(sequence) << 11 | UInt32(behind) << 16
  }
  var kind: UInt8 { UInt8(bits & 15) }
  var journal: UInt8 { UInt8(bits >> 4 & 7) }
  var incarnation: UInt8 { UInt8(bits >> 7 & 15) }
  var sequence: UInt8 {
    get { UInt8(bits >> 11 & 31) }
    set { bits = bits & ~(31 << 11) | UInt32(newValue) << 11 }
  }
  /// How far it is from the oldest that its sender still kept.
  var behind: UInt8 { UInt8(bits >> 16 & 7) }
  var isThere: Bool { bits != 0 }
}

/// Redis: may be flushed, or fall back to an earlier point. `RedisMirror` holds its scripts.
struct RedisState: Equatable {
  /// 1 + the journal that the envelope is meant for.
  var inbox: UInt8 = 0
  var inboxNumber: UInt8 = 0
  /// The control list: which kinds of messages wait (`Asked`), and the address that they name. One with another address replaces them.
  var asked: UInt8 = 0
  var askedOf: UInt8 = 0
  var lease: UInt8 = 0
  var positionJournal: UInt8 = 0
  var positionCount: UInt8 = 0
  var positionEpoch: UInt8 = 0
  var tomb: UInt8 = 0
  var fence: UInt8 = 0
  /// One bit for each journal.
  var fenced: UInt8 = 0
  var sends: UInt8 = 0
  var fenceOfAll: UInt8 = 0
  /// The highest number that a hello in the stream says.
  var told: UInt8 = 0
  var stream0 = Report()
  var stream1 = Report()
  var stream2 = Report()

  var isFull: Bool { stream2.isThere }
  mutating func push(_ report: Report) {
    if !stream0.isThere { stream0 = report } else if !stream1.isThere { stream1 = report } else { stream2 = report }
  }
  mutating func pop() { (stream0, stream1, stream2) = (stream1, stream2, Report()) }
}

/// The host's disk: may be new, or rolled back.
struct Disk: Equatable {
  var journal: UInt8 = 1
  /// Records so far. Those up to `branch` carry the nonces of an earlier life, the others those of this `epoch`.
  var count: UInt8 = 0
  var epoch: UInt8 = 0
  var branch: UInt8 = 0
  var word: UInt8 = Word.none
  /// The last record has reached the disk.
  var synced: UInt8 = 1
  /// The hand-off is recorded (not synced).
  var handed: UInt8 = 0
  /// Booted, or renamed, since the taking.
  var reboot: UInt8 = 0
  /// Output file: 1 made by a runner, 2 by the agent (rule `plainFile` left out).
  var file: UInt8 = 0
  /// Exit record: 1 ended with 0, 2 killed.
  var exit: UInt8 = 0
  /// Its end is acknowledged: settled.
  var acknowledged: UInt8 = 0
  /// Older than 30 days, forgotten.
  var forgot: UInt8 = 0
  /// The highest send number read.
  var sends: UInt8 = 0
}

/// The dashboard's process: all of it is forgotten with it.
struct DashboardState: Equatable {
  var up: UInt8 = 1
  var compared: UInt8 = 1
  var fence: UInt8 = 0
  /// 1 + the journal that X was marked for, until it is handed to the send script; and its number.
  var marked: UInt8 = 0
  var markedNumber: UInt8 = 0
  var denied: UInt8 = 0
  var tombstoned: UInt8 = 0
  /// Rule `mark` left out: sent by this process; then still to be marked.
  var sentUnmarked: UInt8 = 0
  /// Another run is marked and waits for its send.
  var more: UInt8 = 0
}

/// The agent's process.
struct AgentState: Equatable {
  /// 0 down, 1 up, 2 up and holds the lease as far as it knows.
  var up: UInt8 = 2
  var incarnation: UInt8 = 0
  /// 1 + the number of the envelope that was read and is not yet journaled.
  var seen: UInt8 = 0
  /// X goes into the next confirm.
  var unconfirmed: UInt8 = 0
  var confirmed: UInt8 = 0
  /// 1 the hand-off is recorded, 2 a runner of this process has it, 3 given but not recorded, 4 made the file itself.
  var hand: UInt8 = 0
  /// Its hand-off came to nothing: to be handed over again.
  var again: UInt8 = 0
  /// Rule `order` left out: has looked for the exit record.
  var looked: UInt8 = 0
  var saidRunning: UInt8 = 0
  var saidEnded: UInt8 = 0
  // Reports that are not acknowledged: the oldest one's sequence, what they say, how many were sent.
  var oldest: UInt8 = 2
  var say0: UInt8 = 0
  var say1: UInt8 = 0
  var say2: UInt8 = 0
  var say3: UInt8 = 0
  var cursor: UInt8 = 0

  var count: UInt8 { say0 == 0 ? 0 : say1 == 0 ? 1 : say2 == 0 ? 2 : say3 == 0 ? 3 : 4 }
  func saying(_ index: UInt8) -> UInt8 {
    switch index {
    case 0: say0
    case 1: say1
    case 2: say2
    default: say3
    }
  }
  func says(_ kind: UInt8) -> Bool { say0 == kind || say1 == kind || say2 == kind || say3 == kind }
  mutating func append(_ kind: UInt8) {
    switch count {
    case 0: say0 = kind
    case 1: say1 = kind
    case 2: say2 = kind
    default: say3 = kind
    }
  }
  mutating func dropFirst() {
    (say0, say1, say2, say3) = (say1, say2, say3, 0)
    oldest += 1
    cursor = cursor > 0 ? cursor - 1 : 0
  }
}

/// What is executed late.
struct NetworkState: Equatable {
  var send: UInt8 = 0
  var sendFence: UInt8 = 0
  var sendNumber: UInt8 = 0
  var confirm: UInt8 = 0
  var confirmCount: UInt8 = 0
  var confirmEpoch: UInt8 = 0
}

struct World: Equatable {
  var store = StoreState()
  var copy = StoreState()
  var hasCopy: UInt8 = 0
  var dashboard = DashboardState()
  var redis = RedisState()
  var redisCopy = RedisState()
  var hasRedisCopy: UInt8 = 0
  var disk = Disk()
  var diskCopy = Disk()
  var hasDiskCopy: UInt8 = 0
  var nextJournal: UInt8 = 2
  var agent = AgentState()
  /// 1 it has the attempt, 2 it runs the command.
  var runner: UInt8 = 0
  var network = NetworkState()
  /// An old host that was cut off: 1 taken there, 2 confirmed there, 3 confirmed without the lease; and its address.
  var twin: UInt8 = 0
  var twinAddress: UInt8 = 0

  // For the properties alone.
  var starts: UInt8 = 0
  var ended: UInt8 = 0
  /// The first verdict ever committed.
  var verdict: UInt8 = 0
  /// There was an end in the store alone.
  var alone: UInt8 = 0
  var bad: UInt8 = 0
  var past: UInt8 = 0
  /// 1 the agent was removed before it could have confirmed, 2 after.
  var removed: UInt8 = 0
  var left = Faults()
}

/// What has happened so far.
enum Past {
  static let kill: UInt8 = 1, reboot: UInt8 = 2, journal: UInt8 = 4, redis: UInt8 = 8, restore: UInt8 = 16, rollback: UInt8 = 32
  static let twin: UInt8 = 64, forgot: UInt8 = 128
}

/// What was seen to be wrong.
enum Bad {
  static let contradicted: UInt8 = 1, late: UInt8 = 2, lostThoughExit: UInt8 = 4, lostForNothing: UInt8 = 8, removed: UInt8 = 16
}
