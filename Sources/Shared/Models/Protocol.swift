// The language of envelopes, control messages and reports, by a number. A program speaks its own version N and N-1; so two programs
// understand each other if their numbers differ by one at most, and the later one then speaks the earlier's. What is further apart is
// refused in words and loses nothing: envelopes stay in the inbox, reports stay in the agent's journal.
//
// Who says it: reports and hellos in `protocol`; envelopes and control messages in a field of that name from version 2 on (no field: 1).
// When raising it: what version N-1 does not know may only be sent to who said N; a line in CHANGELOG.md.

import Glibc

public enum Protocol {
  public static let version: Int = {
    #if DEBUG
      // A test's build that pretends to be a later one (docs/decisions/0011).
      if let text = getenv("MUSTER_PRETEND_PROTOCOL"), let number = Int(String(cString: text)) { return number }
    #endif
    return 1
  }()

  /// As envelopes and control messages say it: version 1 did not.
  public static var marked: Int? { version > 1 ? version : nil }

  public static func speaks(_ other: Int) -> Bool { (version - 1...version + 1).contains(other) }

  /// - Parameter mark: what the message said; nil: nothing.
  public static func check(_ mark: Int?, of sender: @autoclosure () -> String) throws(ProtocolFault) {
    let other = mark ?? 1
    if !speaks(other) { throw ProtocolFault(other: other, sender: sender()) }
  }
}

/// Who said something speaks another protocol than this program.
public struct ProtocolFault: Error, Equatable, Sendable, CustomStringConvertible {
  public let other: Int
  public let sender: String

  public var description: String {
    let own = Protocol.version
    return
      "\(sender) speaks protocol \(other), this program \(own)\(own > 1 ? " and \(own - 1)" : ""): upgrade the \(other > own ? "program that reads this" : "sender")"
  }
}
