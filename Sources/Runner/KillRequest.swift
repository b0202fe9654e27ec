// How an agent asks for a kill of a runner that is not its child: signal and grace stand in a file beside the records, then the runner gets
// SIGTERM and reads it. A runner without this file, or of an earlier version, ends its attempt with TERM and the attempt's own grace; one whose
// file names another run only was meant by mistake, and goes on.
// The file holds `RunnerOrder.kill` frames as they would go over the socket; it is replaced whole, and goes with the records.

import Glibc

public enum KillRequest {
  /// Where the request about the attempt stands whose records are in that file.
  public static func path(_ records: [UInt8]) -> [UInt8] { records + Array(".kill".utf8) }

  /// - Returns: 0 or an errno.
  public static func write(run: String, signal: Int32, graceMilliseconds: UInt64, records: [UInt8]) -> Int32 {
    let bytes = RunnerOrder.kill(run: run, signal: signal, graceMilliseconds: graceMilliseconds).framed
    let target = System.cString(path(records))
    let fresh = System.cString(path(records) + Array(".new".utf8))
    do {
      guard let file = Descriptor(open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)) else { return errno }
      let (_, error) = bytes.withUnsafeBytes { System.write(file.raw, at: 0, $0) }
      if error != 0 { return error }
    }
    return rename(fresh, target) == 0 ? 0 : errno
  }

  enum Asked: Equatable {
    /// Nothing readable: whoever sent the signal means the attempt at work.
    case nothing
    case kill(signal: Int32, graceMilliseconds: UInt64)
    /// Another run is named, and this one is not.
    case another
  }

  /// What was asked about this run.
  static func read(run: String, records: [UInt8]) -> Asked {
    guard let bytes = System.contents(of: String(decoding: path(records), as: UTF8.self)) else { return .nothing }
    var frames = FrameBuffer()
    frames.append(bytes)
    var found = Asked.nothing
    while let frame = frames.next() {
      guard case .kill(let named, let signal, let grace)? = RunnerOrder(frame: frame) else { continue }
      if named == run { found = .kill(signal: signal, graceMilliseconds: grace) } else if found == .nothing { found = .another }
    }
    return found
  }

  public static func remove(_ records: [UInt8]) { unlink(System.cString(path(records))) }
}
