// Between the explorer's small numbers and the identities, states and words that the real functions take.
import Shared

enum Names {
  static let task = ULID.max
  static func journal(_ number: UInt8) -> JournalID { Nonce(UInt64(number) + 1) }
  static func journal(_ id: JournalID) -> UInt8 { UInt8(truncatingIfNeeded: id.value) - 1 }
  static func incarnation(_ number: UInt8) -> Incarnation { Nonce(UInt64(number) + 101) }
  static func incarnation(_ id: Incarnation) -> UInt8 { UInt8(truncatingIfNeeded: id.value) - 101 }

  static func incarnations(_ bits: UInt8) -> [Incarnation] {
    bits == 0 ? [] : (0..<8).filter { bits >> $0 & 1 == 1 }.map { incarnation(UInt8($0)) }
  }
  static func incarnations(_ ids: [Incarnation]) -> UInt8 {
    ids.reduce(0) { bits, id in
      precondition(incarnation(id) < 8, "more starts of an agent than the explorer counts")
      return bits | 1 << incarnation(id)
    }
  }

  /// Send numbers: the fence in the bits above 2.
  static func number(_ small: UInt8) -> SendNumber { SendNumber(fence: Fence(small >> 2), count: Int64(small & 3)) }
  static func number(_ number: SendNumber) -> UInt8 {
    let count = number.raw & 0xffff_ffff
    precondition(count < 4, "more marks under one fence than the explorer counts")
    return UInt8(truncatingIfNeeded: number.raw >> 32) << 2 | UInt8(truncatingIfNeeded: count)
  }

  @inline(__always) static func address(_ journal: UInt8, _ incarnation: UInt8) -> UInt8 { 1 + journal << 4 + incarnation }
  static func addressJournal(_ address: UInt8) -> UInt8 { (address - 1) >> 4 }
  static func addressIncarnation(_ address: UInt8) -> UInt8 { (address - 1) & 15 }
  static func address(_ small: UInt8) -> AgentAddress {
    AgentAddress(journal: journal(addressJournal(small)), incarnation: incarnation(addressIncarnation(small)))
  }

  static let states: [RunState] = [.queued, .sent, .running, .succeeded, .lost, .killed, .cancelled, .rejected]
  static func state(_ state: RunState) -> UInt8 {
    switch state {
    case .queued: At.queued
    case .sent, .unknown: At.sent
    case .running: At.running
    case .succeeded, .failed, .timedOut: At.succeeded
    case .lost: At.lost
    case .killed: At.killed
    case .cancelled, .expired: At.cancelled
    case .rejected: At.rejected
    }
  }

  static func record(_ word: UInt8) -> AttemptRecord {
    switch word {
    case Word.none: .none
    case Word.taken: .taken
    case Word.tombstone: .tombstone(.cancelled)
    default: .ended
    }
  }

  /// What the dashboard makes of each kind of report: the real function, asked once.
  static let words: [AgentWord?] = {
    let id = AttemptID(task: task)
    func ended(_ state: RunState, tombstone: Bool? = nil) -> AgentWord? {
      AgentWord(ReportEvent(.ended, attempt: id, verdict: Verdict(state: state), tombstone: tombstone))
    }
    return [
      nil, nil, AgentWord(ReportEvent(.taken, attempt: id)), AgentWord(ReportEvent(.running, attempt: id)),
      AgentWord(ReportEvent(.unknown, attempt: id)), ended(.cancelled, tombstone: true), ended(.succeeded), ended(.lost),
      ended(.killed), ended(.cancelled), ended(.rejected),
    ]
  }()
}
