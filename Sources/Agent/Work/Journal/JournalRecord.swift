// What stands in the journal, and how. The file: the magic "MUSTJNL1", then records. Record: length of the payload (4 bytes, little
// endian), CRC-32 of the payload (the same), payload. Payload: count (8 bytes, little endian, from 1, no gaps), a random nonce (8 bytes),
// the kind (one byte), then fields as Runner's TLV describes. Count and nonce together tell a journal that was rolled back from one that
// went on (rule `nonce`). Unknown kinds and tags are skipped: a newer agent may have written them.
// The first record is an identity. An attempt's first record, taken, tombstone or ended, holds for good (rule `first`).
// When adding a kind or field, also: the golden bytes in JournalKeepingTests. Nothing here is ever changed, only added to.

import Runner
import Shared

enum JournalRecord: Sendable, Equatable {
  /// Whose journal it is from here on. A second one: the journal lacked what Redis held of it, or its middle was unreadable.
  case identity(JournalID)
  /// A process began to use it, on this boot of the host.
  case opened(Incarnation, bootID: String)
  /// The inbox entry as it was.
  case taken(AttemptID, entry: [UInt8], number: SendNumber, wallMilliseconds: Int64)
  /// Never to be taken.
  case tombstone(AttemptID, EndCause, number: SendNumber, wallMilliseconds: Int64)
  /// A runner is about to get it. Not synced: a crash of the agent does not lose it, and after one of the host the output file tells.
  /// `start`: where in the records its own begin is, or would be; 0: not known.
  case handedOff(AttemptID, records: [UInt8], runner: ProcessIdentity, start: UInt64 = 0)
  /// Synced before it is reported.
  case ended(AttemptID, Ending)
  /// The dashboard has committed the end and all of the output, and the result hash is written. Not synced.
  case acknowledged(AttemptID)
  /// The newest id whose records were dropped.
  case forgotten(ULID)
  /// The first of a file that was written anew without what nobody needs: counts up to this one have gaps. Stands outside the counting.
  case compacted(through: UInt64, sends: SendNumber)
  /// So many hours has this journal been in use, by the monotonic clocks of its agents. What is settled after it is of that hour.
  case hour(UInt32)
  /// Its end waits for a dashboard and for nothing else: the result hash is written. Where its records stand. Not synced.
  case parked(AttemptID, records: [UInt8], start: UInt64)

  struct Ending: Sendable, Equatable, Codable {
    var verdict: Verdict
    var plain: PlainTask?
    /// The journal had never taken it: the verdict of a tombstone, or of an id that is not newer than what was forgotten.
    var untaken: Bool?
  }

  var attempt: AttemptID? {
    switch self {
    case .identity, .opened, .forgotten, .compacted, .hour: nil
    case .taken(let id, _, _, _), .tombstone(let id, _, _, _), .handedOff(let id, _, _, _), .ended(let id, _),
      .acknowledged(let id), .parked(let id, _, _):
      id
    }
  }

  /// May use the room that is kept back on a full disk: what ends something, or must be known before anything else.
  var isEssential: Bool {
    switch self {
    case .ended, .opened, .identity: true
    default: false
    }
  }
}

extension JournalRecord {
  static let magic = Array("MUSTJNL1".utf8)
  static let frameHeader = 8
  /// What is longer is no record: none is written.
  static let maximumPayload = 32 << 20
  /// So many bytes of an inbox entry are taken, with everything else that stands in its record.
  static let longestEntry = maximumPayload - 4096

  /// The payload, count and nonce included.
  func payload(count: UInt64, nonce: Nonce) throws -> [UInt8] {
    var head: [UInt8] = []
    withUnsafeBytes(of: count.littleEndian) { head.append(contentsOf: $0) }
    withUnsafeBytes(of: nonce.value.littleEndian) { head.append(contentsOf: $0) }
    head.append(kind)
    var fields = TLVWriter()
    if let attempt { fields.put(1, Array(attempt.description.utf8)) }
    switch self {
    case .identity(let id): fields.put(2, id.value)
    case .opened(let incarnation, let bootID):
      fields.put(2, incarnation.value)
      fields.put(3, Array(bootID.utf8))
    case .taken(_, let entry, let number, let wall):
      fields.put(2, entry)
      fields.put(3, number.raw)
      fields.put(4, wall)
    case .tombstone(_, let cause, let number, let wall):
      fields.put(2, Array(cause.rawValue.utf8))
      fields.put(3, number.raw)
      fields.put(4, wall)
    case .handedOff(_, let records, let runner, let start):
      fields.put(2, records)
      fields.put(3, Int64(runner.pid))
      fields.put(4, runner.startTime)
      fields.put(5, Array(runner.bootID.utf8))
      if start > 0 { fields.put(6, start) }
    case .ended(_, let ending): fields.put(2, try JSONCoder.encode(ending))
    case .acknowledged: break
    case .forgotten(let id): fields.put(2, Array(id.description.utf8))
    case .compacted(let through, let sends):
      fields.put(2, through)
      fields.put(3, sends.raw)
    case .hour(let hour): fields.put(2, UInt64(hour))
    case .parked(_, let records, let start):
      fields.put(2, records)
      fields.put(3, start)
    }
    return head + fields.bytes
  }

  private var kind: UInt8 {
    switch self {
    case .identity: 1
    case .opened: 2
    case .taken: 3
    case .tombstone: 4
    case .handedOff: 5
    case .ended: 6
    case .acknowledged: 7
    case .forgotten: 8
    case .compacted: 9
    case .hour: 10
    case .parked: 11
    }
  }

  /// Nil for an unknown kind and for fields that do not fit.
  init?(kind: UInt8, fields bytes: ArraySlice<UInt8>) {
    var fields: [UInt8: TLVReader.Field] = [:]
    var reader = TLVReader(bytes)
    while let field = reader.next() { fields[field.tag] = field }
    guard reader.isWhole else { return nil }
    func text(_ tag: UInt8) -> String { String(decoding: fields[tag]?.value ?? [], as: UTF8.self) }
    func number(_ tag: UInt8) -> UInt64 { fields[tag]?.unsigned ?? 0 }
    func signed(_ tag: UInt8) -> Int64 { fields[tag]?.signed ?? 0 }
    switch kind {
    case 1:
      self = .identity(Nonce(number(2)))
      return
    case 2:
      self = .opened(Nonce(number(2)), bootID: text(3))
      return
    case 8:
      guard let id = ULID(text(2)) else { return nil }
      self = .forgotten(id)
      return
    case 9:
      self = .compacted(through: number(2), sends: SendNumber(raw: signed(3)))
      return
    case 10:
      self = .hour(UInt32(clamping: number(2)))
      return
    default: break
    }
    guard let id = AttemptID(text(1)) else { return nil }
    switch kind {
    case 3: self = .taken(id, entry: fields[2]?.bytes ?? [], number: SendNumber(raw: signed(3)), wallMilliseconds: signed(4))
    case 4:
      self = .tombstone(
        id, EndCause(rawValue: text(2)) ?? .cancelled, number: SendNumber(raw: signed(3)), wallMilliseconds: signed(4))
    case 5:
      self = .handedOff(
        id, records: fields[2]?.bytes ?? [],
        runner: ProcessIdentity(pid: fields[3]?.small ?? 0, startTime: number(4), bootID: text(5)), start: number(6))
    case 6:
      guard let ending = try? JSONCoder.decode(Ending.self, from: fields[2]?.bytes ?? []) else { return nil }
      self = .ended(id, ending)
    case 7: self = .acknowledged(id)
    case 11: self = .parked(id, records: fields[2]?.bytes ?? [], start: number(3))
    default: return nil
    }
  }
}
