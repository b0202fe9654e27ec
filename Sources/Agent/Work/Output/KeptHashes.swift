// SHA-256 of the kept bytes of each stream. Short outputs are hashed where they are; long ones are read from the spool on a queue of
// their own, for that takes its time. A verdict never waits for output: what is not hashed within `patience`, or cannot be read whole, has none.

import Crypto
import Dispatch
import Runner

enum KeptHashes {
  /// About 32 MiB are hashed in a tenth of this, where the disk is not busy.
  static let patience = Duration.seconds(1)
  private static let queue = DispatchQueue(label: "hashes")

  static func of(_ bytes: [UInt8], _ segments: SegmentList) -> (stdout: String, stderr: String) {
    var streams = StreamHashes()
    var start = 0
    for segment in segments.segments {
      let end = min(bytes.count, start + Int(clamping: segment.length))
      streams.add(segment.stream, bytes[start..<end])
      start = end
    }
    return streams.finish()
  }

  /// Reads the records from the place given and the spool of an attempt that has ended. Nil where that is given up.
  static func of(run: String, attempt: UInt64, records: [UInt8], offset: UInt64, spool: [UInt8]) async -> (
    stdout: String, stderr: String
  )? {
    let deadline = MonotonicTime.now + patience
    return await withCheckedContinuation { continuation in
      queue.async {
        continuation.resume(returning: read(run, attempt, RecordsReader(path: records, offset: offset), spool, deadline))
      }
    }
  }

  private static func read(
    _ run: String, _ attempt: UInt64, _ reader: RecordsReader, _ spool: [UInt8], _ deadline: MonotonicTime
  ) -> (stdout: String, stderr: String)? {
    // Twice over the records: the layout is only known at the end.
    var first = reader
    var state = RecordedAttempt()
    guard walk(&first, run, attempt, { state.apply($0) }) else { return nil }
    var streams = StreamHashes()
    var second = reader
    let final = state
    var isWhole = true
    // Gigabytes of a dropped middle are a hundred thousand records: no look at the file for each of them.
    var gone: UInt64 = 0
    let isRead = walk(&second, run, attempt) { record in
      guard isWhole, case .segments(let list) = record else { return }
      var offset = list.offset
      for segment in list.segments {
        let end = offset + segment.length
        while offset < end {
          if offset < gone {
            offset = min(end, gone)
            continue
          }
          guard MonotonicTime.now < deadline else {
            isWhole = false
            return
          }
          switch SpoolReader.read(path: spool, from: offset, limit: Int(clamping: min(end - offset, 1 << 18)), state: { final }) {
          case .bytes(let bytes):
            streams.add(segment.stream, bytes[...])
            offset += UInt64(bytes.count)
          case .gone(let until): gone = max(until, offset + 1)
          case .end: offset = end
          case .failed:
            isWhole = false
            return
          }
        }
      }
    }
    return isRead && isWhole ? streams.finish() : nil
  }

  /// - Returns: whether all of the attempt's records could be read.
  private static func walk(
    _ reader: inout RecordsReader, _ run: String, _ attempt: UInt64, _ body: (RunnerRecord) -> Void
  ) -> Bool {
    var isOurs = false
    while true {
      switch reader.next() {
      case .damaged: if isOurs { return false }
      case .end, .failed: return false
      case .record(let record):
        if case .begin(let begin) = record { isOurs = begin.run == run && begin.attempt == attempt }
        if isOurs { body(record) }
        if isOurs, case .exit = record { return true }
      }
    }
  }
}

private struct StreamHashes {
  private var stdout = SHA256()
  private var stderr = SHA256()

  mutating func add(_ stream: Runner.OutputStream, _ bytes: ArraySlice<UInt8>) {
    bytes.withUnsafeBytes { raw in
      if stream == .stderr { stderr.update(bufferPointer: raw) } else { stdout.update(bufferPointer: raw) }
    }
  }

  consuming func finish() -> (stdout: String, stderr: String) { (hex(stdout.finalize()), hex(stderr.finalize())) }

  private func hex(_ digest: SHA256.Digest) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }
}
