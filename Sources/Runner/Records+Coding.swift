// Payloads of records as bytes. See Records.swift for the format and its rules.

extension RunnerRecord {
  public static let magic: [UInt8] = Array("MUSTRUN1".utf8)
  /// A longer payload is taken for damage.
  public static let maximumPayload = 4 << 20
  static let frameHeader = 8

  enum Kind {
    static let opened: UInt8 = 1
    static let begin: UInt8 = 2
    static let started: UInt8 = 3
    static let segments: UInt8 = 4
    static let layout: UInt8 = 5
    static let refused: UInt8 = 6
    static let exit: UInt8 = 7
  }

  /// What the first byte of a payload may be, newer kinds included: a cheap first look at bytes that may be no record.
  static let kinds: ClosedRange<UInt8> = 1...31

  /// The record with its length and checksum, as it stands in the file.
  public var framed: [UInt8] { RunnerRecord.framed(payload: payload) }

  static func framed(payload: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(payload.count + RunnerRecord.frameHeader)
    withUnsafeBytes(of: UInt32(truncatingIfNeeded: payload.count).littleEndian) { bytes.append(contentsOf: $0) }
    withUnsafeBytes(of: CRC32.of(payload).littleEndian) { bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: payload)
    return bytes
  }

  public var payload: [UInt8] {
    var fields = TLVWriter()
    switch self {
    case .opened(let record):
      fields.put(1, record.version)
      fields.put(2, Int64(record.process.pid))
      fields.put(3, record.process.startTime)
      fields.put(4, Array(record.process.bootID.utf8))
      fields.put(5, record.wallMilliseconds)
      if !record.controlGroup.isEmpty { fields.put(6, Array(record.controlGroup.utf8)) }
      return [Kind.opened] + fields.bytes
    case .begin(let record):
      fields.put(1, Array(record.run.utf8))
      fields.put(2, record.attempt)
      fields.put(3, record.outputPath)
      fields.put(4, record.cap)
      fields.put(5, record.wallMilliseconds)
      if record.monotonicNanoseconds > 0 {
        fields.put(6, record.timeoutMilliseconds)
        fields.put(7, record.graceMilliseconds)
        fields.put(8, record.monotonicNanoseconds)
      }
      return [Kind.begin] + fields.bytes
    case .started(let record):
      fields.put(1, Int64(record.pid))
      fields.put(2, record.wallMilliseconds)
      if record.bootNanoseconds > 0 {
        fields.put(3, record.bootNanoseconds)
        fields.put(4, record.bootNanosecondsAfter)
      }
      return [Kind.started] + fields.bytes
    case .segments(let list):
      fields.put(1, list.packed)
      return [Kind.segments] + fields.bytes
    case .layout(let layout):
      fields.put(1, layout.head)
      fields.put(2, layout.ring)
      fields.put(3, UInt64(layout.tail.rawValue))
      return [Kind.layout] + fields.bytes
    case .refused(let record):
      fields.put(1, Array(record.run.utf8))
      fields.put(2, record.attempt)
      fields.put(3, UInt64(record.reason.rawValue))
      fields.put(4, Int64(record.error))
      return [Kind.refused] + fields.bytes
    case .exit(let record):
      record.put(into: &fields)
      return [Kind.exit] + fields.bytes
    }
  }

  /// Nil for an unknown kind and for fields that do not fit into their payload.
  public init?(payload: ArraySlice<UInt8>) {
    guard let kind = payload.first else { return nil }
    var reader = TLVReader(payload.dropFirst())
    var fields = Fields()
    while let field = reader.next() { fields.set(field) }
    guard reader.isWhole else { return nil }
    switch kind {
    case Kind.opened:
      let process = ProcessIdentity(pid: fields[2].small, startTime: fields[3].unsigned, bootID: fields[4].text)
      var record = OpenedRecord(process: process, wallMilliseconds: fields[5].signed)
      record.version = fields[1].unsigned
      record.controlGroup = fields[6].text
      self = .opened(record)
    case Kind.begin:
      var record = BeginRecord(
        run: fields[1].text, attempt: fields[2].unsigned, outputPath: fields[3].bytes, cap: fields[4].unsigned,
        wallMilliseconds: fields[5].signed)
      record.timeoutMilliseconds = fields[6].unsigned
      record.graceMilliseconds = fields[7].unsigned
      record.monotonicNanoseconds = fields[8].unsigned
      self = .begin(record)
    case Kind.started:
      var record = StartedRecord(pid: fields[1].small, wallMilliseconds: fields[2].signed)
      record.bootNanoseconds = fields[3].unsigned
      record.bootNanosecondsAfter = fields[4].unsigned
      self = .started(record)
    case Kind.segments:
      guard let list = SegmentList(packed: fields[1].value) else { return nil }
      self = .segments(list)
    case Kind.layout:
      self = .layout(SpoolLayout(head: fields[1].unsigned, ring: fields[2].unsigned, tail: fields[3].tail))
    case Kind.refused:
      let reason = RefusedRecord.Reason(rawValue: UInt8(truncatingIfNeeded: fields[3].unsigned)) ?? .other
      self = .refused(RefusedRecord(run: fields[1].text, attempt: fields[2].unsigned, reason: reason, error: fields[4].small))
    case Kind.exit:
      guard let record = ExitRecord(fields: fields) else { return nil }
      self = .exit(record)
    default: return nil
    }
  }
}

extension ExitRecord {
  /// The first field's number tells how it ended: 1 exited, 2 signalled, 3 could not start.
  func put(into fields: inout TLVWriter) {
    switch how {
    case .exited(let code):
      fields.put(1, UInt64(1))
      fields.put(2, Int64(code))
    case .signalled(let signal):
      fields.put(1, UInt64(2))
      fields.put(2, Int64(signal))
    case .couldNotStart(let error, let step):
      fields.put(1, UInt64(3))
      fields.put(2, Int64(error))
      fields.put(3, Int64(step))
    }
    fields.put(4, Array(run.utf8))
    fields.put(5, attempt)
    fields.put(6, UInt64(cause.rawValue))
    fields.put(7, signalled)
    fields.put(8, left)
    fields.put(9, notes.rawValue)
    fields.put(10, total)
    fields.put(11, stored)
    fields.put(12, layout.head)
    fields.put(13, layout.ring)
    fields.put(14, UInt64(layout.tail.rawValue))
    fields.put(15, startedWallMilliseconds)
    fields.put(16, finishedWallMilliseconds)
    fields.put(17, durationNanoseconds)
  }

  init?(fields: Fields) {
    switch fields[1].unsigned {
    case 1: how = .exited(fields[2].small)
    case 2: how = .signalled(fields[2].small)
    case 3: how = .couldNotStart(fields[2].small, step: fields[3].small)
    default: return nil
    }
    run = fields[4].text
    attempt = fields[5].unsigned
    cause = Cause(rawValue: UInt8(truncatingIfNeeded: fields[6].unsigned)) ?? .none
    signalled = fields[7].unsigned
    left = fields[8].unsigned
    notes = Notes(rawValue: fields[9].unsigned)
    total = fields[10].unsigned
    stored = fields[11].unsigned
    layout = SpoolLayout(head: fields[12].unsigned, ring: fields[13].unsigned, tail: fields[14].tail)
    startedWallMilliseconds = fields[15].signed
    finishedWallMilliseconds = fields[16].signed
    durationNanoseconds = fields[17].unsigned
  }
}

/// The last field of each tag below 32; missing ones read as empty, 0 or "".
struct Fields {
  private var values: [TLVReader.Field?] = Array(repeating: nil, count: 32)

  mutating func set(_ field: TLVReader.Field) {
    if Int(field.tag) < values.count { values[Int(field.tag)] = field }
  }

  func has(_ tag: UInt8) -> Bool { values[Int(tag)] != nil }

  subscript(_ tag: UInt8) -> TLVReader.Field { values[Int(tag)] ?? TLVReader.Field(tag: tag, value: []) }
}

extension TLVReader.Field {
  var text: String { String(decoding: value, as: UTF8.self) }
  var tail: SpoolLayout.Tail { SpoolLayout.Tail(rawValue: UInt8(truncatingIfNeeded: unsigned)) ?? .ring }
}
