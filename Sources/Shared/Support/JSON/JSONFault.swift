// Why a text is no JSON, and where. The HTTP error `bad_json` and the settings' faults are worded from this.

/// The first fault of a JSON text.
public struct JSONFault: Error, Sendable, Equatable {
  public enum Kind: Sendable, Equatable {
    /// The text breaks the grammar.
    case grammar
    /// A key stands twice in one object.
    case repeatedKey(String)
    /// Objects and lists are nested deeper than allowed.
    case tooDeep
    /// Bytes or escapes that are no Unicode text.
    case encoding
    /// A number that no 64-bit float can hold.
    case outOfRange
  }

  public let kind: Kind
  /// From 1; lines end with LF, CR LF or CR.
  public let line: Int
  /// From 1, counted in Unicode scalars.
  public let column: Int
  /// In bytes, from 0.
  public let offset: Int
  /// Without place; a sentence without its full stop.
  public let message: String
  /// The keys of the objects around the fault, outermost first (list indices are left out).
  public internal(set) var path: [String]

  init(_ kind: Kind, at offset: Int, in bytes: UnsafeBufferPointer<UInt8>, _ message: String) {
    var line = 1
    var column = 1
    var index = 0
    while index < min(offset, bytes.count) {
      switch bytes[index] {
      case UInt8(ascii: "\n"):
        line += 1
        column = 1
      case UInt8(ascii: "\r"):
        if index + 1 < bytes.count, bytes[index + 1] == UInt8(ascii: "\n") { break }
        line += 1
        column = 1
      case 0x80..<0xC0: break
      default: column += 1
      }
      index += 1
    }
    self.kind = kind
    self.line = line
    self.column = column
    self.offset = offset
    self.message = message
    self.path = []
  }

  func inside(_ key: String) -> JSONFault {
    var fault = self
    fault.path.insert(key, at: 0)
    return fault
  }
}

extension JSONFault: CustomStringConvertible {
  /// "line 3, column 7: expected …"
  public var description: String { "line \(line), column \(column): \(message)" }
}
