// SHA-256 of the kept bytes of each stream. Short outputs are hashed where they are; long ones are read from the spool on a queue of
// their own, for that takes its time.

import Crypto
import Dispatch
import Runner

enum KeptHashes {
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

  /// Reads the records from the place given and the spool of an attempt that has ended.
  static func of(run: String, attempt: UInt64, records: [UInt8], offset: UInt64, spool: [UInt8]) async -> (
    stdout: String, stderr: String
  ) {
    await withCheckedContinuation { continuation in
      queue.async { continuation.resume(returning: read(run, attempt, RecordsReader(path: records, offset: offset), spool)) }
    }
  }

  private static func read(_ run: String, _ attempt: UInt64, _ reader: RecordsReader, _ spool: [UInt8]) -> (
    stdout: String, stderr: String
  ) {
    // Twice over the records: the layout is only known at the end.
    var first = reader
    var state = RecordedAttempt()
    walk(&first, run, attempt) { state.apply($0) }
    var streams = StreamHashes()
    var second = reader
    let final = state
    walk(&second, run, attempt) { record in
      guard case .segments(let list) = record else { return }
      var offset = list.offset
      for segment in list.segments {
        let end = offset + segment.length
        while offset < end {
          switch SpoolReader.read(path: spool, from: offset, limit: Int(clamping: min(end - offset, 1 << 18)), state: { final }) {
          case .bytes(let bytes):
            streams.add(segment.stream, bytes[...])
            offset += UInt64(bytes.count)
          case .gone(let until): offset = min(end, max(until, offset + 1))
          case .end, .failed: offset = end
          }
        }
      }
    }
    return streams.finish()
  }

  private static func walk(_ reader: inout RecordsReader, _ run: String, _ attempt: UInt64, _ body: (RunnerRecord) -> Void) {
    var isOurs = false
    while true {
      switch reader.next() {
      case .damaged: continue
      case .end, .failed: return
      case .record(let record):
        if case .begin(let begin) = record { isOurs = begin.run == run && begin.attempt == attempt }
        if isOurs { body(record) }
        if isOurs, case .exit = record { return }
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
