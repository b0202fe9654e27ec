// Messages as bytes. See Messages.swift for the format and its rules.

/// Cuts a byte stream into frames (`kind` and fields), whatever pieces it arrives in.
public struct FrameBuffer: Sendable {
  /// A longer frame is a fault: the stream cannot be trusted any more.
  public static let maximum = 64 << 20

  private var bytes: [UInt8] = []
  private var start = 0
  public private(set) var isBroken = false

  public init() {}

  public mutating func append(_ piece: some Collection<UInt8>) { bytes.append(contentsOf: piece) }

  /// The next whole frame, without its length.
  public mutating func next() -> ArraySlice<UInt8>? {
    guard !isBroken else { return nil }
    guard bytes.count - start >= 4 else { return compact() }
    var length = 0
    for index in (0..<4).reversed() { length = length << 8 | Int(bytes[start + index]) }
    guard length >= 1, length <= FrameBuffer.maximum else {
      isBroken = true
      return nil
    }
    guard bytes.count - start - 4 >= length else { return compact() }
    let frame = bytes[start + 4..<start + 4 + length]
    start += 4 + length
    return frame
  }

  private mutating func compact() -> ArraySlice<UInt8>? {
    if start == bytes.count {
      if bytes.capacity > 65536 { bytes = [] } else { bytes.removeAll(keepingCapacity: true) }
      start = 0
    } else if start > 65536 {
      bytes.removeSubrange(0..<start)
      start = 0
    }
    return nil
  }

  static func framed(_ kind: UInt8, _ fields: TLVWriter) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(fields.bytes.count + 5)
    withUnsafeBytes(of: UInt32(truncatingIfNeeded: fields.bytes.count + 1).littleEndian) { bytes.append(contentsOf: $0) }
    bytes.append(kind)
    bytes.append(contentsOf: fields.bytes)
    return bytes
  }
}

extension RunnerOrder {
  enum Kind {
    static let attempt: UInt8 = 1
    static let kill: UInt8 = 2
    static let retire: UInt8 = 3
  }

  /// The frame as it goes over the socket.
  public var framed: [UInt8] {
    var fields = TLVWriter(reserving: 512)
    switch self {
    case .attempt(let order):
      order.put(into: &fields)
      return FrameBuffer.framed(Kind.attempt, fields)
    case .kill(let run, let signal, let grace):
      fields.put(1, Int64(signal))
      fields.put(2, grace)
      fields.put(3, Array(run.utf8))
      return FrameBuffer.framed(Kind.kill, fields)
    case .retire: return FrameBuffer.framed(Kind.retire, fields)
    }
  }

  /// Nil for an unknown kind and for fields that do not fit.
  public init?(frame: ArraySlice<UInt8>) {
    guard let kind = frame.first else { return nil }
    let body = frame.dropFirst()
    switch kind {
    case Kind.attempt:
      guard let order = AttemptOrder(fields: body) else { return nil }
      self = .attempt(order)
    case Kind.kill:
      guard let fields = Fields(body) else { return nil }
      self = .kill(run: fields[3].text, signal: fields[1].small, graceMilliseconds: fields[2].unsigned)
    case Kind.retire: self = .retire
    default: return nil
    }
  }
}

extension AttemptOrder {
  func put(into fields: inout TLVWriter) {
    fields.put(1, Array(run.utf8))
    fields.put(2, attempt)
    fields.put(3, executable)
    for argument in arguments { fields.put(4, argument) }
    for variable in environment { fields.put(5, variable) }
    fields.put(6, directory)
    if let standardInput { fields.put(7, standardInput) }
    fields.put(8, timeoutMilliseconds)
    fields.put(9, graceMilliseconds)
    fields.put(10, cap)
    fields.put(11, outputPath)
    if let fileMask { fields.put(12, UInt64(fileMask)) }
    if let ids {
      fields.put(13, UInt64(ids.user))
      fields.put(14, UInt64(ids.group))
      for group in ids.groups { fields.put(15, UInt64(group)) }
    }
    for limit in limits {
      var inner = TLVWriter()
      inner.put(1, Int64(limit.resource))
      inner.put(2, limit.soft)
      inner.put(3, limit.hard)
      fields.put(16, inner.bytes)
    }
  }

  init?(fields body: ArraySlice<UInt8>) {
    var reader = TLVReader(body)
    var single = Fields()
    var arguments: [[UInt8]] = []
    var environment: [[UInt8]] = []
    var groups: [UInt32] = []
    var limits: [Limit] = []
    while let field = reader.next() {
      switch field.tag {
      case 4: arguments.append(field.bytes)
      case 5: environment.append(field.bytes)
      case 15: groups.append(UInt32(truncatingIfNeeded: field.unsigned))
      case 16:
        guard let inner = Fields(field.value) else { return nil }
        limits.append(Limit(resource: inner[1].small, soft: inner[2].unsigned, hard: inner[3].unsigned))
      default: single.set(field)
      }
    }
    guard reader.isWhole, single.has(1), single.has(3), single.has(11), !arguments.isEmpty else { return nil }
    self.init(
      run: single[1].text, attempt: single[2].unsigned, executable: single[3].bytes, arguments: arguments,
      outputPath: single[11].bytes)
    self.environment = environment
    directory = single[6].bytes
    if single.has(7) { standardInput = single[7].bytes }
    timeoutMilliseconds = single[8].unsigned
    if single.has(9) { graceMilliseconds = single[9].unsigned }
    if single.has(10) { cap = single[10].unsigned }
    if single.has(12) { fileMask = UInt32(truncatingIfNeeded: single[12].unsigned) }
    if single.has(13) {
      ids = Ids(
        user: UInt32(truncatingIfNeeded: single[13].unsigned), group: UInt32(truncatingIfNeeded: single[14].unsigned),
        groups: groups)
    }
    self.limits = limits
  }
}

extension RunnerMessage {
  private enum Kind {
    static let records: UInt8 = 65
    static let began: UInt8 = 66
    static let output: UInt8 = 67
    static let ended: UInt8 = 68
    static let refused: UInt8 = 69
    static let idle: UInt8 = 70
    static let retiring: UInt8 = 71
  }

  /// The frame as it goes over the socket.
  public var framed: [UInt8] {
    var fields = TLVWriter()
    switch self {
    case .records(let path, let process):
      fields.put(1, path)
      fields.put(2, Int64(process.pid))
      fields.put(3, process.startTime)
      fields.put(4, Array(process.bootID.utf8))
      return FrameBuffer.framed(Kind.records, fields)
    case .began(let run, let attempt, let pid, let wallMilliseconds):
      fields.put(1, Array(run.utf8))
      fields.put(2, attempt)
      fields.put(3, Int64(pid))
      fields.put(4, wallMilliseconds)
      return FrameBuffer.framed(Kind.began, fields)
    case .output(let run, let attempt, let list):
      fields.put(1, Array(run.utf8))
      fields.put(2, attempt)
      fields.put(3, list.packed)
      return FrameBuffer.framed(Kind.output, fields)
    case .ended(let message):
      fields.put(1, RunnerRecord.exit(message.exit).payload)
      fields.put(2, message.segments.packed)
      if let output = message.output { fields.put(3, output) }
      return FrameBuffer.framed(Kind.ended, fields)
    case .refused(let record):
      fields.put(1, RunnerRecord.refused(record).payload)
      return FrameBuffer.framed(Kind.refused, fields)
    case .idle: return FrameBuffer.framed(Kind.idle, fields)
    case .retiring: return FrameBuffer.framed(Kind.retiring, fields)
    }
  }

  /// Nil for an unknown kind and for fields that do not fit.
  public init?(frame: ArraySlice<UInt8>) {
    guard let kind = frame.first, let fields = Fields(frame.dropFirst()) else { return nil }
    switch kind {
    case Kind.records:
      self = .records(
        path: fields[1].bytes,
        process: ProcessIdentity(pid: fields[2].small, startTime: fields[3].unsigned, bootID: fields[4].text))
    case Kind.began:
      self = .began(
        run: fields[1].text, attempt: fields[2].unsigned, pid: fields[3].small, wallMilliseconds: fields[4].signed)
    case Kind.output:
      guard let list = SegmentList(packed: fields[3].value) else { return nil }
      self = .output(run: fields[1].text, attempt: fields[2].unsigned, list)
    case Kind.ended:
      guard case .exit(let exit) = RunnerRecord(payload: fields[1].value),
        let segments = SegmentList(packed: fields[2].value)
      else { return nil }
      self = .ended(EndedMessage(exit: exit, segments: segments, output: fields.has(3) ? fields[3].bytes : nil))
    case Kind.refused:
      guard case .refused(let record) = RunnerRecord(payload: fields[1].value) else { return nil }
      self = .refused(record)
    case Kind.idle: self = .idle
    case Kind.retiring: self = .retiring
    default: return nil
    }
  }
}

extension Fields {
  init?(_ body: ArraySlice<UInt8>) {
    var reader = TLVReader(body)
    while let field = reader.next() { set(field) }
    guard reader.isWhole else { return nil }
  }
}
