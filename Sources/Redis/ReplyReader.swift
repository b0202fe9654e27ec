// hiredis's protocol reader, made to build Swift values directly: bytes in, replies out, no I/O.
// Invariants: replies come out in the order of the bytes; a reader that threw is not used again; nothing is allocated on the
// word of the server (an array's announced length reserves nothing). Replies nest at most 7 deep (hiredis's limit).
import CHiredis

/// Not Sendable: used by the one thread that owns a connection.
final class ReplyReader {
  private let reader: UnsafeMutablePointer<redisReader>
  private let functions: UnsafeMutablePointer<redisReplyObjectFunctions>
  private let assembler = ReplyAssembler()
  /// hiredis moves the unread rest to the front after each KiB consumed: small slices keep that cheap.
  private static let slice = 16 * 1024

  /// Nil when memory ran out.
  init?() {
    functions = .allocate(capacity: 1)
    functions.initialize(to: ReplyAssembler.functions)
    guard let reader = redisReaderCreateWithFunctions(functions) else {
      functions.deallocate()
      return nil
    }
    self.reader = reader
    reader.pointee.privdata = Unmanaged.passUnretained(assembler).toOpaque()
  }

  deinit {
    redisReaderFree(reader)
    functions.deallocate()
  }

  /// Takes more bytes and hands over every reply that is now whole.
  func feed(_ bytes: UnsafeRawBufferPointer, _ take: (RedisValue) throws(RedisFault) -> Void) throws(RedisFault) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let slice = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.slice))
      rest = rest.dropFirst(Self.slice)
      guard redisReaderFeed(reader, slice.baseAddress?.assumingMemoryBound(to: CChar.self), slice.count) == REDIS_OK else {
        throw violation()
      }
      while true {
        var reply: UnsafeMutableRawPointer?
        guard redisReaderGetReply(reader, &reply) == REDIS_OK else { throw violation() }
        guard reply != nil, let value = assembler.takeFinished() else { break }
        try take(value)
      }
    }
  }

  private func violation() -> RedisFault {
    let message = withUnsafeBytes(of: reader.pointee.errstr) { bytes in String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    return .protocolViolation(message)
  }
}

/// Puts together what hiredis reports piece by piece: values in reading order, arrays announced before their elements.
private final class ReplyAssembler {
  private struct OpenArray {
    var missing: Int
    var values: [RedisValue]
  }

  private var open: [OpenArray] = []
  private var finished: RedisValue?

  func takeFinished() -> RedisValue? {
    defer { finished = nil }
    return finished
  }

  private func add(_ value: RedisValue) {
    var value = value
    while let last = open.indices.last {
      open[last].values.append(value)
      open[last].missing -= 1
      guard open[last].missing == 0 else { return }
      value = .array(open.removeLast().values)
    }
    finished = value
  }

  private func beginArray(_ count: Int) {
    if count > 0 { open.append(OpenArray(missing: count, values: [])) } else { add(.array([])) }
  }

  /// What hiredis gets for an object: it only looks whether there is one. Ours live in Swift, so nothing is ever freed by it.
  /// The pointer is never read through.
  private static var token: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: 1) }

  private static func of(_ task: UnsafePointer<redisReadTask>?) -> ReplyAssembler? {
    task?.pointee.privdata.map { Unmanaged<ReplyAssembler>.fromOpaque($0).takeUnretainedValue() }
  }

  static let functions = redisReplyObjectFunctions(
    createString: { task, text, length in
      guard let task, let assembler = of(task) else { return nil }
      let bytes = UnsafeRawBufferPointer(start: text, count: length)
      switch task.pointee.type {
      case REDIS_REPLY_STATUS: assembler.add(.status(String(decoding: bytes, as: UTF8.self)))
      case REDIS_REPLY_ERROR: assembler.add(.error(RedisReplyError(message: String(decoding: bytes, as: UTF8.self))))
      default: assembler.add(.bytes(Array(bytes)))
      }
      return token
    },
    createArray: { task, count in
      guard let assembler = of(task) else { return nil }
      assembler.beginArray(Int(count))
      return token
    },
    createInteger: { task, number in
      guard let assembler = of(task) else { return nil }
      assembler.add(.integer(number))
      return token
    },
    createNil: { task in
      guard let assembler = of(task) else { return nil }
      assembler.add(.null)
      return token
    },
    freeObject: { _ in }
  )
}
