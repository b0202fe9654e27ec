// What tests make a program pretend, by its environment: read once, and only in debug builds. A release build has none of it.
// Also in `Shared`: `Protocol.version`. When adding one, also: `environment`, so that the runners of an agent that pretends do it too.

import Glibc

public enum Pretending {
  /// Another boot of this host.
  static let bootID: String? = value("MUSTER_PRETEND_BOOT")
  /// Records of a later version: with kinds and fields that this one does not know.
  static let laterRecords: Bool = value("MUSTER_PRETEND_RECORDS") != nil

  /// What a runner has to be given of it, "NAME=value".
  public static var environment: [[UInt8]] {
    ["MUSTER_PRETEND_BOOT", "MUSTER_PRETEND_RECORDS"].compactMap { name in value(name).map { Array("\(name)=\($0)".utf8) } }
  }

  public static func value(_ name: String) -> String? {
    #if DEBUG
      guard let text = getenv(name) else { return nil }
      return String(cString: text)
    #else
      return nil
    #endif
  }
}

extension RunnerRecord {
  /// A record of a kind that this version does not know.
  static var later: [UInt8] { RunnerRecord.framed(payload: [250, 1, 2, 0, 0, 0, 7, 7]) }
}
